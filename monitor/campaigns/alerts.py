"""Statements: what is said of campaigns, in alerts and in decisions on their members.

An alert opens with the verdict, is updated when there are more members or when it becomes severer,
never less, and resolves when the campaign is over. A decision applies to members who are named, not
to those who may belong and not to bystanders; it is made again at half of its time for as long as a
member is active.
"""

from __future__ import annotations

from monitor.alerting.alerts import Alert, Severity, State, Subject, alert_id
from monitor.alerting.decisions import Decision, action_for, duration
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.population import Population
from monitor.config import Settings
from monitor.records.profile import HOUR

KIND = "campaign"
SILENT = 6 * HOUR  # from a key's last fingerprint until it counts as gone
_CRITICAL = 10  # members from which on a pager rings
_LISTED = 20_000  # members in an alert at the most


class CampaignAlerts:
    """What a round says.

    Args:
        settings: probabilities and decisions.
        people: the population.
        now: event time.
    """

    def __init__(self, settings: Settings, population: Population, now: float) -> None:
        self._settings = settings
        self._people = population
        self._now = now
        self.alerts: list[Alert] = []
        self.decisions: list[Decision] = []

    def speak(self, campaign: Campaign) -> bool:
        """Open the alert, or say that there is more to it; whether there was anything to say."""
        severity = self._severity(campaign)
        if campaign.opened and severity == campaign.severity and not campaign.untold:
            return False
        campaign.untold = False
        state: State = "update" if campaign.opened else "open"
        campaign.opened = campaign.opened or self._now
        campaign.severity = severity
        told = campaign.evidence
        what = (
            f"{told['members']:,.0f} keys act as one, {told['requests']:,.0f} requests and "
            f"{told['tokens']:,.0f} tokens so far; {campaign.reason}"
        )
        self.alerts.append(self._alert(campaign, state, what))
        return True

    def end(self, campaign: Campaign, why: str) -> None:
        """Resolve the alert; the campaign is over."""
        self.alerts.append(self._alert(campaign, "resolved", why))
        campaign.ended, campaign.opened, campaign.member = self._now, 0.0, {}

    def decide(self, campaign: Campaign) -> None:
        """Decide on members that are new or half over, for as long as they are active."""
        action = action_for(KIND, campaign.severity)
        seconds = duration(action, self._settings.decisions)
        reason = alert_id(campaign.id, KIND, campaign.opened)
        last = self._people.rows["said"]["ts"]
        for key in campaign.named:
            at = self._people.index(key)
            active = at is not None and self._now - last[at] < SILENT
            if active and self._now - campaign.decided.get(key, 0.0) >= seconds / 2:
                campaign.decided[key] = self._now
                self.decisions.append(
                    Decision(key, action, reason, self._now, seconds, origin=KIND)
                )

    def _severity(self, campaign: Campaign) -> Severity:
        improbable = campaign.evidence["probability"] <= self._settings.detection.critical
        many = len(campaign.named) >= _CRITICAL
        return "critical" if (many and improbable) or campaign.severity == "critical" else "warning"

    def _alert(self, campaign: Campaign, state: State, what: str) -> Alert:
        over = state == "resolved"
        return Alert(
            id=alert_id(campaign.id, KIND, campaign.opened),
            kind=KIND,
            state=state,
            severity=campaign.severity,
            score=0.0 if over else 1.0 - campaign.evidence["probability"],
            subject=Subject("campaign", campaign.id, sorted(campaign.named)[:_LISTED]),
            detected_at=self._now,
            window=(campaign.found, self._now),
            evidence=campaign.evidence,
            summary=f"{campaign.id}: {what}.",
            decision="observe" if over else action_for(KIND, campaign.severity),
        )

"""Alerts on campaigns, and decisions on their members.

An alert opens when a group becomes a campaign. It is updated when there are new members or the
severity rises; the severity never falls. It resolves when the campaign ends. Decisions apply to
named members only, not to probable members or bystanders. A decision is renewed after half of its
duration while the member is active.
"""

from __future__ import annotations

from collections.abc import Mapping

from monitor.alerting.alerts import (
    SEVERITIES,
    Action,
    Alert,
    OpenAlert,
    Severity,
    State,
    Subject,
    alert_id,
)
from monitor.alerting.decisions import Decision
from monitor.alerting.policy import LIMIT_OF_FEW, Policy, action_for
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.fingerprint import FEW_END_USERS, IS_ACCOUNT, ties, usual_hour
from monitor.campaigns.population import Population
from monitor.config import Settings
from monitor.records.profile import HOUR

KIND = "campaign"
SILENT = 6 * HOUR  # seconds after its last fingerprint that a key counts as inactive
_CRITICAL_MEMBERS = 10  # at least, for severity critical
_LISTED = 20_000  # members in an alert, at most


class CampaignAlerts:
    """The alerts and decisions of one round.

    Args:
        settings: probabilities and decisions.
        population: all keys.
        now: event time, epoch seconds.
        withdrawn: see `StreamOperator.withdraw`.
    """

    def __init__(
        self,
        settings: Settings,
        population: Population,
        now: float,
        withdrawn: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._withdrawn = withdrawn
        self._settings = settings
        self._policy = Policy(settings.decisions)
        self._population = population
        self._now = now
        self.alerts: list[Alert] = []
        self.decisions: list[Decision] = []

    def is_withdrawn(self, campaign: Campaign) -> bool:
        """Whether a person has found no attack in a campaign that is as severe as this one now."""
        level = self._withdrawn.get(campaign.id, {}).get(KIND, 0)
        return SEVERITIES.index(self._severity(campaign)) < level

    def publish(self, campaign: Campaign) -> bool:
        """Open or update a campaign's alert; `False` if nothing has changed."""
        severity = self._severity(campaign)
        if campaign.opened and severity == campaign.severity and not campaign.unreported:
            return False
        campaign.unreported = False
        state: State = "update" if campaign.opened else "open"
        campaign.opened = campaign.opened or self._now
        campaign.severity = severity
        evidence = campaign.evidence
        what = (
            f"{evidence['members']:,.0f} coordinated keys, {evidence['requests']:,.0f} requests "
            f"and {evidence['tokens']:,.0f} tokens; {campaign.reason}"
        )
        self.alerts.append(self._alert(campaign, state, what))
        return True

    def resolve(self, campaign: Campaign, why: str) -> None:
        """Resolve the alert of a campaign that has ended."""
        self.alerts.append(self._alert(campaign, "resolved", why))
        campaign.ended, campaign.opened, campaign.membership = self._now, 0.0, {}

    def decide(self, campaign: Campaign) -> None:
        """Decide on active members whose last decision is half over, or who have none."""
        id = alert_id(campaign.id, KIND, campaign.opened)
        alerts = [OpenAlert(KIND, campaign.severity, id, campaign.opened)]
        fingerprints = self._population.rows["fingerprint"]
        for key in campaign.named:
            at = self._population.index(key)
            if at is None or self._now - fingerprints["ts"][at] >= SILENT:
                continue
            fingerprint = fingerprints[at]
            limit: Action = LIMIT_OF_FEW if fingerprint["flags"] & FEW_END_USERS else "block"
            decided = campaign.decided.get(key, 0.0)
            ruling = self._policy.due(alerts, decided, self._now, limit)
            if ruling is not None:
                campaign.decided[key] = self._now
                found = ties(fingerprint)
                before = campaign.ties.get(key, found)
                campaign.ties[key] = [tie for tie in found if tie in before]
                decision = self._policy.decision(
                    key,
                    ruling,
                    self._now,
                    origin=KIND,
                    scope="account" if fingerprint["flags"] & IS_ACCOUNT else "api_key",
                    ties=campaign.ties[key],
                    requests=usual_hour(fingerprint),
                )
                self.decisions.append(decision)

    def _severity(self, campaign: Campaign) -> Severity:
        improbable = campaign.evidence["probability"] <= self._settings.detection.critical
        many = len(campaign.named) >= _CRITICAL_MEMBERS
        return "critical" if (many and improbable) or campaign.severity == "critical" else "warning"

    def _alert(self, campaign: Campaign, state: State, what: str) -> Alert:
        resolved = state == "resolved"
        return Alert(
            id=alert_id(campaign.id, KIND, campaign.opened),
            kind=KIND,
            state=state,
            severity=campaign.severity,
            score=0.0 if resolved else 1.0 - campaign.evidence["probability"],
            subject=Subject("campaign", campaign.id, sorted(campaign.named)[:_LISTED]),
            detected_at=self._now,
            window=(campaign.found, self._now),
            evidence=campaign.evidence,
            summary=f"{campaign.id}: {what}.",
            decision="observe" if resolved else action_for(KIND, campaign.severity),
        )

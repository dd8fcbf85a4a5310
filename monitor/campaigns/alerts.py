"""Alerts on campaigns, and decisions on their members.

An alert opens when a group becomes a campaign. It is updated when there are new members or the
severity rises; the severity never falls. It resolves when the campaign ends. Decisions apply to
named members only, not to probable members or bystanders. A decision is renewed after half of its
duration while the member is active.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monitor.alerting.alerts import (
    SEVERITIES,
    Action,
    Alert,
    OpenAlert,
    Severity,
    State,
    Subject,
    alert_id,
    despite_withdrawal,
)
from monitor.alerting.decisions import Decision, mark_of
from monitor.alerting.enforcement import CAMPAIGN, Cleared
from monitor.alerting.policy import LIMIT_OF_FEW, Policy, action_for
from monitor.campaigns.campaign import CLEARED_MEMBERS, Campaign
from monitor.campaigns.fingerprint import FEW_END_USERS, IS_ACCOUNT, ties, usual_hour
from monitor.campaigns.population import Population
from monitor.config import Settings
from monitor.records.profile import DAY, HOUR

KIND = CAMPAIGN
SILENT = 6 * HOUR  # seconds after its last fingerprint that a key counts as inactive
_HOURS = DAY / HOUR  # of a day
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
        withdrawn: Mapping[str, Mapping[str, Cleared]],
    ) -> None:
        self._cleared = {
            subject: kinds[KIND] for subject, kinds in withdrawn.items() if KIND in kinds
        }
        self._counted: dict[str, int] = {}
        self._settings = settings
        self._policy = Policy(settings.decisions)
        self._population = population
        self._now = now
        self.alerts: list[Alert] = []
        self.decisions: list[Decision] = []

    def cleared(self, campaign: Campaign, evidence: Mapping[str, float]) -> set[str]:
        """The named keys of a campaign that a person has found to be no attack.

        A withdrawal is about its campaign, or about one member of it. The campaign may have another
        id by now: it is the same one if it shares most of the smaller one's keys. A withdrawal
        without members is about all keys of the campaign with its id.

        Args:
            evidence: of its present evaluation.
        """
        if not self._cleared:
            return set()
        named, found = campaign.named.keys(), set[str]()
        severity = SEVERITIES.index(self._severity(campaign, evidence)) + 1
        requests = _HOURS * evidence["requests_an_hour"]
        for subject, cleared in self._cleared.items():
            if not cleared.covers(severity, requests, is_open=campaign.opened > 0.0):
                continue
            if not cleared.members:
                found |= named if subject == campaign.id else set()
            elif cleared.is_of(named, self._active(subject)):
                found |= named & (cleared.members if subject.startswith("c_") else {subject})
        return found

    def _active(self, subject: str) -> int:
        """How many keys of the campaign that was withdrawn are active."""
        if subject not in self._counted:
            rows = self._population.rows_of(self._cleared[subject].members)
            ts = self._population.rows["fingerprint"]["ts"][rows]
            self._counted[subject] = int(np.count_nonzero(self._now - ts < SILENT))
        return self._counted[subject]

    def publish(self, campaign: Campaign) -> bool:
        """Open or update a campaign's alert; `False` if nothing has changed."""
        severity = self._severity(campaign, campaign.evidence)
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
        alert = self._alert(campaign, state, what)
        withdrawn = campaign.id in self._cleared or evidence.get(CLEARED_MEMBERS)
        self.alerts.append(despite_withdrawal(alert) if withdrawn else alert)
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
                    mark=mark_of(campaign.id),
                    requests=usual_hour(fingerprint),
                )
                self.decisions.append(decision)

    def _severity(self, campaign: Campaign, evidence: Mapping[str, float]) -> Severity:
        improbable = evidence["probability"] <= self._settings.detection.critical
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

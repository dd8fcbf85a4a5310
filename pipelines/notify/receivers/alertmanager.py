"""Alertmanager: groups, silences, inhibits and routes alerts.

It gets one alert per subject. Alertmanager identifies an alert by its labels, so these hold what
does not change while the incident lasts; what changes (kinds, evidence, decision) is an annotation,
and the last one sent applies. Two labels may change, because routes select by them. Alertmanager
takes that for another alert, so the request that sends it also ends the former one.

- `severity` rises, and falls only with the end of the incident.
- `incident` and `role`: a campaign or account that turns up later stands for the alerts on its
  members. Then `incident` is its subject instead of their own, and their `role` is `member`. An
  inhibition rule mutes members by `incident`. They stay visible in Alertmanager.

Alertmanager keeps alerts in memory, ends each at its `endsAt` and expects clients to repeat it
before. So open alerts are sent again every minute, each time with an end one hour ahead. A
restarted Alertmanager knows them within a minute. A monitor that restarts within the hour ends
none. If the monitor is removed, its alerts end by themselves. A member ends after five minutes
without a repetition: before its group waits no longer, so nobody is paged for an alert that has
lost the one that mutes it.

`startsAt` is when the incident reached its severity, by the wall clock. Alertmanager does not let
a group wait whose alerts are older than `group_wait`. The time of the events is an annotation.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Alert, Severity
from pipelines.notify import text
from pipelines.notify.incidents.links import NONE, Links
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import Endpoint

HELD = 3600.0  # seconds
MEMBER_HELD = 300.0  # seconds
SERVICE = "extraction-monitor"
REFRESH = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """POSTs to the v2 API below the endpoint's URL; its secret is a bearer token."""

    endpoint: Endpoint
    name: str = "alertmanager"
    links: Links = NONE
    batch: ClassVar[int] = 100
    groups: ClassVar[bool] = True
    inhibits: ClassVar[bool] = True
    takes_updates: ClassVar[bool] = True
    refresh_seconds: ClassVar[float] = REFRESH

    async def send(self, notices: list[Notice]) -> None:
        now = time.time()
        body = [each for notice in notices for each in self._translate(notice, now)]
        headers = {}
        if self.endpoint.secret:
            headers["Authorization"] = f"Bearer {self.endpoint.secret}"
        await self.endpoint.send(msgspec.json.encode(body), headers, "/api/v2/alerts")

    def _translate(self, notice: Notice, now: float) -> list[dict[str, Any]]:
        severity = notice.alert.severity
        known = notice.active or severity
        if notice.alert.state == "resolved":
            ended, begun = [(known, notice.incident)], []
        else:
            ended, begun = [], [self._posted(notice, severity, notice.incident, now)]
            if known != severity:
                ended.append((known, notice.incident))
        if notice.before:
            ended.append((known, notice.before))
        return [self._posted(notice, *each, now, ends=True) for each in ended] + begun

    def _posted(
        self, notice: Notice, severity: Severity, incident: str, now: float, *, ends: bool = False
    ) -> dict[str, Any]:
        """An alert as Alertmanager's API takes it.

        Args:
            incident: see `Notice`; empty: the subject.
            now: wall-clock time, epoch seconds.
            ends: whether it ends now.
        """
        subject = notice.alert.subject
        incident = incident or subject.id
        is_member = incident != subject.id
        begun = now if is_member else min(notice.begun or now, now)
        held = MEMBER_HELD if is_member else HELD
        return {
            "labels": {
                "alertname": alertname(notice.alert),
                "service": SERVICE,
                "severity": severity,
                "subject": subject.id,
                "subject_type": subject.type,
                "incident": incident,
                "role": "member" if is_member else "incident",
            },
            "annotations": self._annotations(notice, incident),
            # Alertmanager rejects an end before the start.
            "startsAt": text.rfc3339(begun),
            "endsAt": text.rfc3339(now if ends else now + held),
        }

    def _annotations(self, notice: Notice, incident: str) -> dict[str, str]:
        alert = notice.alert
        found = {_name(fact): value for fact, value in text.evidence(alert).items()}
        found |= {
            "summary": alert.summary,
            "description": text.next_step(alert),
            "kinds": ", ".join(notice.kinds or (alert.kind,)),
            "decision": alert.decision,
            "alert_id": alert.id,
            "since": text.utc(alert.window[0]),
            "detected": text.utc(alert.detected_at),
        }
        if alert.subject.members:
            found["members"] = str(len(alert.subject.members))
        if incident != alert.subject.id:
            found["part_of"] = incident
        return found | self.links.of(alert)


def _name(fact: str) -> str:
    """A name that Alertmanager accepts; it refuses a request with any other.

    >>> _name("tasks, log odds")
    'tasks_log_odds'
    """
    return re.sub(r"\W+", "_", fact, flags=re.ASCII)


def alertname(alert: Alert) -> str:
    """The name of the alerts on a type of subject: `ExtractionKey`, `ExtractionCampaign` …"""
    if alert.kind == "test":
        return "ExtractionTest"
    kind = alert.subject.type.removeprefix("api_")
    return "Extraction" + "".join(part.capitalize() for part in kind.split("_"))

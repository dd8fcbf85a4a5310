"""What one receiver has, and what it must get next.

A receiver that people read gets one incident per subject: it opens with the first alert on the
subject, rises with the most severe, and ends with the last. The alert of a campaign or account
stands for the alerts on its members. So a page is about a campaign, not about each of its keys.

Everything is derived from the alert book, which says which receiver has accepted which state of
which alert. A state that changes nothing for people is entered as accepted without a message.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from monitor.alerting.alerts import ACTIONS, SEVERITIES, Alert, Severity
from monitor.store.alert_book import Entry, Mark
from pipelines.notify.incidents.ledger import Ledger, rank
from pipelines.notify.incidents.membership import WHOLES
from pipelines.notify.incidents.notice import Notice, Receiver


class Span(NamedTuple):
    """The time for which a receiver has an alert, and the severities that it knew."""

    begin: float
    end: float
    severities: list[tuple[Severity, float]]


class View:
    """The alerts of a ledger as one receiver has them.

    Args:
        ledger: what was delivered before.
        receiver: the receiver.
    """

    def __init__(self, ledger: Ledger, receiver: Receiver) -> None:
        self._ledger, self._receiver = ledger, receiver
        self._name = receiver.name
        self._pending: dict[str, dict[Mark, float]] = {}
        self._incidents: dict[str, str] = {}  # of what was sent: subject → the whole, or itself

    def begin(self) -> None:
        """Begin to put a request together."""
        self._pending.clear()

    def plan(self, alert: Alert, now: float) -> None:
        """Count an alert as accepted by what the request sends after it."""
        mark = Mark(self._name, alert.state, alert.severity, alert.detected_at)
        self._pending.setdefault(alert.id, {})[mark] = now

    def marks(self, id: str) -> dict[Mark, float]:
        """What the receiver accepted or finally did not accept of an alert, the oldest first."""
        marks = self._ledger[id].marks if id in self._ledger else {}
        own = {mark: at for mark, at in marks.items() if mark.receiver == self._name}
        return own | self._pending.get(id, {})

    def latest(self, entry: Entry) -> Mark | None:
        """The latest state of an alert that the receiver accepted."""
        marks = {m for m in entry.marks if m.receiver == self._name and m.accepted}
        return max(marks | self._pending.get(entry.alert.id, {}).keys(), key=rank, default=None)

    def has(self, entry: Entry) -> bool:
        """Whether an alert is open at the receiver."""
        latest = self.latest(entry)
        return latest is not None and latest.state != "resolved"

    def state_of(self, alert: Alert) -> Alert:
        """A state of an alert as the receiver should have it."""
        if not self._receiver.groups or alert.state == "resolved":
            return alert
        whole = self._whole(alert)
        if whole is not None and not (self._receiver.inhibits and self.has(whole)):
            part = f"{alert.subject.id}: {alert.kind} is part of {whole.alert.subject.id}."
            return replace(alert, state="resolved", decision="observe", summary=part)
        if alert.subject.type in WHOLES:
            severity = self._ledger.severity(alert)
            if severity != alert.severity:
                return replace(alert, state="update", severity=severity)
        return alert

    def severity(self, subject: str) -> Severity | None:
        """The highest severity of the incident on a subject; `None` if it has none."""
        return max(
            (severity for span in self._spans(subject) for severity, _ in span.severities),
            key=SEVERITIES.index,
            default=None,
        )

    def notice(self, alert: Alert, since: float, now: float) -> Notice | None:
        """What to send about a state of an alert; `None` if it changes nothing for people.

        Args:
            since: when the alert was queued, wall-clock time, epoch seconds.
            now: wall-clock time.
        """
        if not self._receiver.groups:
            accepted = [mark.severity for mark in self.marks(alert.id) if mark.accepted]
            return Notice(alert, accepted[-1] if accepted else None, since)
        subject = alert.subject.id
        active = self.severity(subject)
        others = [
            each.alert
            for each in self._ledger.of_subject(subject)
            if each.alert.id != alert.id and self.has(each)
        ]
        if alert.state == "resolved":
            if others:
                return None
            ended = replace(alert, severity=_highest(alert.severity, active))
            return self._notice(ended, [alert], active, since, now)
        severity = _highest(alert.severity, active)
        if severity == active and not self._receiver.takes_updates:
            return None
        shown = replace(alert, state="update" if active else "open", severity=severity)
        return self._notice(shown, [alert, *others], active, since, now)

    def open_notices(self, now: float, *, moved: bool = False) -> list[Notice]:
        """The incidents that the receiver has, as it knows them; wholes come first.

        Args:
            moved: only those that have become part of another one, or no longer are.
        """
        subjects: dict[str, list[Alert]] = {}
        for entry in self._ledger.open_entries:
            alert = entry.alert
            if self.has(entry) and not self._ledger.withdrawal(alert):
                subjects.setdefault(alert.subject.id, []).append(alert)
        found = []
        for subject, alerts in subjects.items():
            if moved and self._incidents.get(subject) == self._incident(alerts[0]):
                continue
            active = self.severity(subject)
            assert active is not None
            shown = replace(alerts[0], state="update", severity=active)
            found.append(self._notice(shown, alerts, active, now, now))
        return sorted(found, key=lambda notice: notice.alert.subject.type not in WHOLES)

    def with_wholes(self, notices: list[Notice], now: float) -> list[Notice]:
        """Notices of members after those of what they are part of.

        A receiver that was just restarted may know neither, and must not tell people of members.
        """
        named = {notice.alert.subject.id for notice in notices}
        wanted = {notice.incident for notice in notices} - named - {""}
        if not self._receiver.inhibits or not wanted:
            return notices
        found = [each for each in self.open_notices(now) if each.alert.subject.id in wanted]
        return found + notices

    def sent(self, notices: Iterable[Notice]) -> None:
        """Note as part of what the receiver has incidents."""
        for notice in notices:
            subject = notice.alert.subject.id
            if notice.alert.state == "resolved":
                self._incidents.pop(subject, None)
            else:
                self._incidents[subject] = notice.incident

    def _notice(
        self, shown: Alert, alerts: list[Alert], active: Severity | None, since: float, now: float
    ) -> Notice:
        """A notice of an incident.

        Args:
            shown: its id, state, severity and times.
            alerts: that it consists of; the notice delivers the first.
        """
        of, strongest = alerts[0], max(alerts, key=_strength)
        subject, incident = shown.subject.id, self._incident(shown)
        if shown.state != "resolved":
            wholes = [each.alert for each in self._ledger.wholes_of(shown) if each.is_open]
            decision = max((each.decision for each in (*alerts, *wholes)), key=ACTIONS.index)
            shown = replace(
                strongest,
                state=shown.state,
                severity=shown.severity,
                detected_at=shown.detected_at,
                window=(min(each.window[0] for each in alerts), shown.window[1]),
                decision=decision,
            )
        before = self._incidents.get(subject, subject)
        begun = [
            at
            for span in self._spans(subject)
            for severity, at in span.severities
            if severity == shown.severity
        ]
        return Notice(
            shown,
            active,
            since,
            of=of,
            kinds=tuple(dict.fromkeys(a.kind for a in sorted(alerts, key=_strength)[::-1])),
            incident=incident,
            before=before if before != incident else "",
            begun=min(begun, default=now),
        )

    def _incident(self, alert: Alert) -> str:
        """The subject of the incident that an alert is part of."""
        whole = self._whole(alert)
        return alert.subject.id if whole is None else whole.alert.subject.id

    def _whole(self, alert: Alert) -> Entry | None:
        """The alert that stands for another one at the receiver.

        That is one that the receiver has. If it has ended there, it stands for the alerts that have
        not changed since.
        """
        changed_at = self._ledger[alert.id].changed_at if alert.id in self._ledger else math.inf
        for whole in self._ledger.wholes_of(alert):
            latest = self.latest(whole)
            if latest is not None and (
                latest.state != "resolved" or changed_at <= whole.marks.get(latest, 0.0)
            ):
                return whole
        return None

    def _spans(self, subject: str) -> list[Span]:
        """The alerts of the incident on a subject that is open at the receiver.

        An alert that has ended is one of them if another one went on.
        """
        spans = [
            span for each in self._ledger.of_subject(subject) if (span := self._span(each.alert.id))
        ]
        begin = min((span.begin for span in spans if span.end == math.inf), default=math.inf)
        while True:
            joined = [span for span in spans if span.end > begin]
            earliest = min((span.begin for span in joined), default=begin)
            if earliest >= begin:
                return joined
            begin = earliest

    def _span(self, id: str) -> Span | None:
        marks = {mark: at for mark, at in self.marks(id).items() if mark.accepted}
        if not marks:
            return None
        latest = max(marks, key=rank)
        end = marks[latest] if latest.state == "resolved" else math.inf
        known = [(mark.severity, at) for mark, at in marks.items()]
        return Span(min(marks.values()), end, known)


def _highest(severity: Severity, other: Severity | None) -> Severity:
    return max(severity, other or severity, key=SEVERITIES.index)


def _strength(alert: Alert) -> tuple[int, int, float]:
    severity, action = SEVERITIES.index(alert.severity), ACTIONS.index(alert.decision)
    return severity, action, alert.detected_at

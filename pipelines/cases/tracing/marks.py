"""The marks that were put on responses, and the keys that got them, as far as Redis knows.

The id of a mark follows from the campaign, or from the alert or the subject of the decision. So it
is found again from alerts, cases and decisions, and is kept nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import mark_of, mark_of_alert
from monitor.config import Settings
from monitor.errors import EvidenceError
from monitor.evidence.case import case_of
from monitor.evidence.chain import read_entry
from monitor.evidence.ring import Ring
from monitor.evidence.store import CaseStore
from monitor.store import inventory
from monitor.store.alert_book import AlertBook
from monitor.store.cluster import connect

_TIMEOUT = 5.0  # seconds


class IssuedMark(msgspec.Struct):
    """A mark and the campaign, key, account or end user whose responses have it.

    Attributes:
        since: when its first alert opened or its decision was made, epoch seconds.
        until: when its last alert was detected or its decision ends.
        cases: ids of the cases about the subject.
    """

    mark: str
    subject: str
    since: float
    until: float
    cases: list[str] = []


def issued_marks(settings: Settings) -> list[IssuedMark]:
    """All marks, the newest first.

    Raises:
        StoreError: if Redis does not answer.
    """
    found = dict[str, IssuedMark]()
    for mark, subject, since, until, case in _issued(settings):
        known = found.setdefault(mark, IssuedMark(mark, subject, since, until, []))
        known.since, known.until = min(known.since, since), max(known.until, until)
        if case and case not in known.cases:
            known.cases.append(case)
    return sorted(found.values(), key=lambda each: (-each.until, each.mark))


def _issued(settings: Settings) -> Iterator[tuple[str, str, float, float, str]]:
    """Mark, subject, begin, end and case of each; marks repeat."""
    for entry in AlertBook(settings.redis_url).entries():
        yield _of(entry.alert, "")
    cases = CaseStore(settings.redis_url, Ring())
    for row in cases.rows():
        try:
            case = case_of(map(read_entry, cases.lines(row.id)))
        except EvidenceError:
            continue  # `xm case verify` names it; an unreadable case must not hide the others
        for alert in case.alerts.values():
            yield _of(alert, row.id)
        if case.type == "campaign":
            yield mark_of(case.subject), case.subject, case.opened_at, case.changed_at, row.id
    for decision in inventory.decisions(connect(settings.redis_url, _TIMEOUT)):
        if decision.mark and decision.origin == "operator":
            yield decision.mark, decision.key, decision.made_at, decision.until, ""


def _of(alert: Alert, case: str) -> tuple[str, str, float, float, str]:
    subject = alert.subject.id
    is_campaign = alert.subject.type == "campaign"
    mark = mark_of(subject) if is_campaign else mark_of_alert(alert.id)
    return mark, subject, alert.window[0], alert.detected_at, case

"""What people do with cases: open, note, close, reopen. Each has an entry in the audit."""

from __future__ import annotations

import unicodedata
from typing import Literal, cast

import msgspec

from monitor.alerting.alerts import Alert
from monitor.alerting.changes import change_by, checked_text
from monitor.config import Settings
from monitor.errors import InputError
from monitor.evidence.case import Case, case_id, case_of
from monitor.evidence.chain import check, read_entry
from monitor.evidence.entries import AlertSeen, Closed, Entry, FactsTaken, Noted, Reopened
from monitor.evidence.facts import SubjectType
from monitor.evidence.links import Problem
from monitor.evidence.rows import CaseRow
from monitor.evidence.store import CaseStore
from monitor.identity import is_pseudonym
from monitor.store.alert_book import AlertBook
from pipelines.cases.collect import CAMPAIGN_PREFIX, Collector

LONGEST_NOTE = 20_000  # characters
_TYPES: dict[str, SubjectType] = {"k": "api_key", "a": "account", "u": "end_user", "c": "campaign"}
_OVERRIDES = {
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
}  # they reorder what is shown

Outcome = Literal["extraction", "not extraction", "unclear", "duplicate"]


class CaseView(msgspec.Struct, frozen=True):
    """A case as it is shown.

    Attributes:
        problems: what is wrong with its chain; then its entries are not to be relied on.
        copied: entries that Kafka has.
    """

    row: CaseRow
    case: Case
    problems: list[Problem]
    copied: int


def open_case(store: CaseStore, settings: Settings, subject: str, who: str, why: str) -> str:
    """Open a case on a subject, with its alerts and facts as they are known now; return its id.

    Raises:
        InputError: if it is no subject, or has an open case.
    """
    kind = _TYPES.get(subject[:1])
    if kind is None or not (is_pseudonym(subject) or subject.startswith(CAMPAIGN_PREFIX)):
        raise InputError(
            "The subject is not a campaign (c_…) or a pseudonym: k_, a_ or u_ and 24 hexadecimal "
            "digits, as in alerts."
        )
    if (known := store.open_case_of(subject)) is not None:
        raise InputError(f"{known} is open on {subject}: add to it with `xm case note`.")
    change = change_by(who, "case", subject, why)
    change = msgspec.structs.replace(change, after={"status": "open", "subject": subject})
    collector = Collector(settings)
    alerts = _alerts_on(AlertBook(settings.redis_url), subject)
    facts = collector.collect(subject)
    first = alerts[0].id if alerts else ""
    if store.row(case_id(subject, first)) is not None:  # a case that is closed begins with it
        first = ""
    case = store.open_case(subject, kind, why, who, alert=first, change=change)
    for alert in alerts:
        store.append(case, AlertSeen(alert), who)
    store.append(case, FactsTaken(facts), who)
    return case


def note(store: CaseStore, case: str, text: str, who: str) -> Entry:
    """Write a note into a case."""
    text = _checked_note(text)
    change = change_by(who, "case", case, "wrote a note")
    return store.append(case, Noted(text), checked_text(who, "name"), change=change)


def close(store: CaseStore, case: str, outcome: Outcome, who: str, why: str) -> Entry:
    """Close a case.

    Raises:
        InputError: if it is closed.
    """
    return _set_status(store, case, Closed(outcome, checked_text(why, "reason")), who, why)


def reopen(store: CaseStore, case: str, who: str, why: str) -> Entry:
    """Open a closed case again.

    Raises:
        InputError: if it is open, or its subject has another open case.
    """
    row = _row(store, case)
    other = store.open_case_of(row.subject)
    if other is not None and other != case:
        raise InputError(f"{other} is open on {row.subject}: close it first.")
    return _set_status(store, case, Reopened(checked_text(why, "reason")), who, why)


def view(store: CaseStore, case: str) -> CaseView:
    """A case with what is wrong with it."""
    row, lines = _row(store, case), store.lines(case)
    problems = check(lines, store.ring, case=case).problems
    found = _case_without_entries(row) if problems else case_of(map(read_entry, lines))
    return CaseView(row, found, problems, store.copied(case))


def listed(store: CaseStore, *, everything: bool, subject: str) -> list[CaseRow]:
    """The open cases, or all, the ones that changed last first."""
    return [
        row
        for row in store.rows()
        if (everything or row.status == "open") and subject in ("", row.subject)
    ]


def _set_status(store: CaseStore, case: str, body: Closed | Reopened, who: str, why: str) -> Entry:
    row, status = _row(store, case), "closed" if isinstance(body, Closed) else "open"
    if row.status == status:
        raise InputError(f"Case {case} is {status}.")
    after = {"status": status} | ({"outcome": body.outcome} if isinstance(body, Closed) else {})
    change = msgspec.structs.replace(
        change_by(who, "case", case, why), before={"status": row.status}, after=after
    )
    return store.append(case, body, checked_text(who, "name"), change=change)


def _row(store: CaseStore, case: str) -> CaseRow:
    row = store.row(case)
    if row is None:
        raise InputError(f"There is no case {case}: list them with `xm case list --all`.")
    return row


def _alerts_on(book: AlertBook, subject: str) -> list[Alert]:
    """The alerts on a subject in the book, the oldest first."""
    found = [entry.alert for entry in book.entries() if entry.alert.subject.id == subject]
    return sorted(found, key=lambda alert: alert.window)


def _case_without_entries(row: CaseRow) -> Case:
    return Case(
        row.id, row.subject, row.type, row.reason, row.opened_at, row.opened_by, row.changed_at,
        row.status,
    )  # fmt: skip


def _checked_note(text: str) -> str:
    """A note as a person wrote it, of any language, without what could forge a terminal."""
    text = "\n".join(line.rstrip() for line in text.strip().splitlines())
    for character in text:
        category = unicodedata.category(character)
        if character in _OVERRIDES or (category in ("Cc", "Cs") and character not in "\n\t"):
            raise InputError("The note has control characters: write plain text.")
    if not text or len(text) > LONGEST_NOTE:
        raise InputError(f"A note has 1 to {LONGEST_NOTE:,} characters.")
    return text


def outcome_of(text: str) -> Outcome:
    """The outcome that an option names."""
    return cast("Outcome", text.replace("-", " "))

"""The figures of a transparency report, from cases and the audit.

Nothing in them is personal, and small counts are not printed (`small_counts.py`). Alerts are
counted by the three grounds that letters give, not by detector: a public report must not say which
detector finds most.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from monitor.alerting.changes import Change
from monitor.alerting.enforcement import KILL, SHADOW, Control
from monitor.config import Settings
from monitor.evidence.case import Case, case_of
from monitor.evidence.entries import (
    AlertSeen,
    Appealed,
    Closed,
    Entry,
    Letter,
    Opened,
    Reopened,
    Ruled,
)
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases.access import case_store
from pipelines.cases.review.figures import Figure, FigureTable, Transparency
from pipelines.cases.review.small_counts import FEW, LEAST, figure_of, table_of

DAY = 86_400.0
_TYPES = {
    "campaign": "coordinated keys",
    "api_key": "single API keys",
    "account": "accounts",
    "end_user": "end users of an application",
}
_TOGETHER, _OTHER_HANDS, _USE = "coordinated use", "use by somebody else", "collecting answers"
_GROUNDS = {"campaign": _TOGETHER, "takeover": _OTHER_HANDS}
_MEASURES = {
    "throttle": "to slow down",
    "challenge": "to ask for an additional check",
    "block": "to refuse",
}
_OUTCOMES = ("extraction", "not extraction", "unclear", "duplicate")


def transparency(settings: Settings, since: float, until: float) -> Transparency:
    """The figures of a period.

    Args:
        settings: of the deployment.
        since, until: wall-clock time, epoch seconds; `until` is not included.

    Raises:
        StoreError: if Redis does not answer.
        EvidenceError: if a case was changed.
    """
    store, control = case_store(settings, sign=False), ControlStore(settings.redis_url)
    heads, cases = list[str](), list[list[Entry]]()
    for row in store.rows():
        if row.opened_at < until:
            cases.append(store.entries(row.id))
            later = next((each for each in cases[-1] if each.at >= until), None)
            heads.append(later.previous if later else row.head)
    audit = list(control.audit(0.0))
    setting = RedisStore(settings.redis_url, settings.record_seconds).shadow()
    notes = [
        *_notes(audit, settings, since, until),
        _shadow_note(control.read(), setting, audit, since, until),
    ]
    return figures(
        cases, audit, heads, since, until, answer_days=settings.cases.answer_days, notes=notes
    )


def figures(
    cases: Sequence[Sequence[Entry]],
    audit: Iterable[Change],
    heads: Iterable[str],
    since: float,
    until: float,
    *,
    answer_days: float,
    notes: Sequence[str] = (),
) -> Transparency:
    """The figures of a period, from the entries of each case and the audit.

    Args:
        heads: digest of the newest entry of each case, as of `until`.
        answer_days: in which an appeal is to be answered.
    """
    digest = hashlib.sha256("\n".join(sorted(heads)).encode()).hexdigest()[:16]
    of_cases, of_audit = f"signed cases, digest {digest}", "audit of changes"
    cases = [entries for entries in cases if entries[0].at < until]
    known = [case_of(each for each in entries if each.at < until) for entries in cases]
    changes = [each for each in audit if since <= each.at < until]
    within = [entry for entries in cases for entry in entries if since <= entry.at < until]
    return Transparency(
        since,
        until,
        [
            _opened(within, of_cases),
            _closed(known, within, of_cases),
            _found(within, of_cases),
            _measures(known, since, until, of_cases),
            _by_people(changes, of_audit),
            _letters(within, of_cases),
            *_appeals(known, since, until, answer_days, of_cases),
            _withdrawn(changes, of_audit),
        ],
        [*notes, f"Counts below {LEAST} are not printed, and neither is what they follow from."],
    )


def _opened(within: Iterable[Entry], source: str) -> FigureTable:
    types = Counter(each.body.type for each in within if isinstance(each.body, Opened))
    counts = {label: types[type] for type, label in _TYPES.items()}  # type: ignore[index]
    return table_of("Cases opened", counts, "cases", source)


def _closed(known: Sequence[Case], within: Iterable[Entry], source: str) -> FigureTable:
    outcomes = Counter[str]()
    for entry in within:
        if isinstance(entry.body, Closed):
            outcomes[entry.body.outcome] += 1
        elif isinstance(entry.body, Reopened):
            outcomes["reopened"] += 1
    reopened = outcomes.pop("reopened", 0)
    counts = {f"as {outcome}": outcomes[outcome] for outcome in _OUTCOMES}
    found = table_of("Cases closed", counts, "cases", source)
    still = sum(case.status == "open" for case in known)
    more = [
        figure_of("opened again", reopened, "cases", source),
        figure_of("open at the end of the period", still, "cases", source),
    ]
    return FigureTable(found.title, [*found.rows, *more])


def _found(within: Iterable[Entry], source: str) -> FigureTable:
    grounds = {
        each.body.alert.id: _GROUNDS.get(each.body.alert.kind, _USE)
        for each in within
        if isinstance(each.body, AlertSeen) and each.body.alert.state != "resolved"
    }
    return table_of("What was found", _by_ground(grounds.values()), "alerts", source)


def _by_ground(grounds: Iterable[str]) -> dict[str, int]:
    counted = Counter(grounds)
    return {label: counted[label] for label in (_USE, _TOGETHER, _OTHER_HANDS)}


def _measures(known: Iterable[Case], since: float, until: float, source: str) -> FigureTable:
    """Keys, accounts and end users by the strongest decision on each."""
    strongest: dict[str, str] = {}
    order = [*_MEASURES]
    for case in known:
        for decision in case.facts.decisions if case.facts else []:
            if since <= decision.at < until and decision.action in _MEASURES:
                before = strongest.get(decision.subject, order[0])
                strongest[decision.subject] = max(before, decision.action, key=order.index)
    counted = Counter(strongest.values())
    counts = {label: counted[action] for action, label in _MEASURES.items()}
    return table_of(
        "Decisions that the monitor recorded", counts, "keys, accounts or end users", source
    )


def _by_people(changes: Iterable[Change], source: str) -> FigureTable:
    actions = Counter[str]()
    for change in changes:
        if change.what == "decide" and isinstance(change.after, dict):
            actions[str(change.after.get("action"))] += 1
    counts = {label: actions[action] for action, label in _MEASURES.items()}
    counts["to lift a decision"] = actions["observe"]
    return table_of("Decisions of people", counts, "decisions", source)


def _letters(within: Iterable[Entry], source: str) -> FigureTable:
    letters = sum(isinstance(each.body, Letter) for each in within)
    return FigureTable("Letters", [figure_of("letters to customers", letters, "letters", source)])


def _appeals(
    known: Iterable[Case], since: float, until: float, answer_days: float, source: str
) -> list[FigureTable]:
    """Appeals that were received in the period: what came of them, and how long it took."""
    results, days, overdue = Counter[str](), list[float](), 0
    for case in known:
        ruled = _rulings(case.entries)
        first = dict[str, Appealed]()
        for appeal in case.appeals:
            first.setdefault(appeal.reference, appeal)
        for reference, appeal in first.items():
            if not since <= appeal.received_at < until:
                continue
            entry = ruled.get(reference)
            if entry is None:
                results["waiting"] += 1
                overdue += appeal.received_at + answer_days * DAY < until
            else:
                results[entry.body.result if isinstance(entry.body, Ruled) else ""] += 1
                days.append((entry.at - appeal.received_at) / DAY)
    counts = {
        "decision upheld": results["upheld"],
        "decision overturned": results["overturned"],
        "without a ruling at the end of the period": results["waiting"],
    }
    enough = len(days) >= LEAST
    times = [
        _days("median time to the ruling", statistics.median(days) if enough else None, source),
        figure_of("overdue at the end of the period", overdue, "appeals", source),
    ]
    return [
        table_of("Appeals", counts, "appeals", source),
        FigureTable("Time to answer appeals", times),
    ]


def _rulings(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The first ruling on each letter."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if isinstance(entry.body, Ruled) and entry.body.reference:
            found.setdefault(entry.body.reference, entry)
    return found


def _days(label: str, value: float | None, source: str) -> Figure:
    if value is None:
        return Figure(label, None, "days", f"{FEW} rulings", source)
    return Figure(label, round(value, 1), "days", f"{value:.1f}", source)


def _withdrawn(changes: Iterable[Change], source: str) -> FigureTable:
    """Alerts that people found to be no attack, unless they changed their mind in the period."""
    grounds: dict[str, str] = {}
    for change in changes:
        if change.what == "withdraw" and isinstance(change.after, Mapping):
            if not change.after.get("for_one"):
                kind = str(change.after.get("kind"))
                grounds[change.subject] = _GROUNDS.get(kind, _USE)
        elif change.what == "reinstate":
            grounds.pop(change.subject, None)
    return table_of("False alarms withdrawn", _by_ground(grounds.values()), "alerts", source)


def _notes(audit: Sequence[Change], settings: Settings, since: float, until: float) -> list[str]:
    """What the figures cannot count."""
    found = ["Decisions of the monitor are counted if they are in a case."]
    if audit and audit[0].at > since:
        found.append(f"Changes by people are counted since {_day(audit[0].at)}.")
    kept = settings.cases.kept_days
    oldest = datetime.now(UTC).timestamp() - kept * DAY
    if since < oldest:
        found.append(
            f"Cases that were closed more than {kept:g} days ago are only in the archive and not "
            "counted."
        )
    if until > datetime.now(UTC).timestamp():
        found.append("The period is not over.")
    return found


def _shadow_note(
    control: Control, setting: bool | None, audit: Iterable[Change], since: float, until: float
) -> str:
    """Whether recorded decisions were enforced.

    Args:
        setting: of the running workers; `None` if none reports it, or they differ.
    """
    switch = control.switches.get(SHADOW)
    shadow = setting if switch is None else switch.on
    now = {True: "on", False: "off", None: "not known"}[shadow]
    changes = sum(
        each.what in (SHADOW, KILL) and not each.subject and since <= each.at < until
        for each in audit
    )
    changed = "One of them was" if changes else "None of them was"
    return (
        "In shadow mode, or while the kill switch is on, decisions are recorded and not enforced. "
        f"Shadow mode is {now} today. {changed} switched in the period."
    )


def _day(ts: float) -> str:
    found = datetime.fromtimestamp(ts, UTC)
    return f"{found.day} {found:%B %Y}"

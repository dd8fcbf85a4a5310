"""Compares the facts of a case with those of a replay, value by value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from monitor.evidence.facts import Facts, FindingFact
from pipelines.cases.facts.key import is_compared

Result = Literal["same", "different", "unknown"]
_TOLERANCE = 1e-6  # relative: processors round differently
_ABSENT = "none"
_FORGOTTEN = "only the end of the alert was known when the facts were taken"
_VERSIONS = ("program", "reference", "content", "tasks", "campaigns", "settings")


class Row(msgspec.Struct, frozen=True):
    """One value in the case and in the replay.

    Attributes:
        group: part of the facts: totals, members, a finding, ….
        result: `unknown` if they differ, but the replay cannot give the same, see `why`.
    """

    group: str
    name: str
    case: str
    replay: str
    result: Result
    why: str = ""


class Comparison(msgspec.Struct, frozen=True):
    """The facts of a case beside those of a replay.

    Attributes:
        notes: what could not be compared, and why, in sentences.
    """

    rows: list[Row]
    notes: list[str]

    @property
    def counts(self) -> Counter[Result]:
        """The number of rows by result."""
        return Counter(row.result for row in self.rows)


def compare(case: Facts, replay: Facts, excuses: Mapping[str, str]) -> list[Row]:
    """Compare facts.

    Args:
        excuses: by group, or "" for all, why a replay cannot give the same values.
    """
    forgotten = {group for group, each in _findings(case) if each.alert and not each.numbers}
    if forgotten:
        forgotten |= {"timeline", "decisions", "statement"}
    rows = []
    ours, theirs = (dict(_values(each)) for each in (case, replay))
    for group, name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get((group, name)), theirs.get((group, name))
        is_forgotten = bool(forgotten & {group, name})
        why = _FORGOTTEN if is_forgotten else excuses.get(group, excuses.get("", ""))
        result: Result = "same" if _equal(a, b) else "unknown" if why else "different"
        rows.append(Row(group, name, _text(a), _text(b), result, why * (result == "unknown")))
    return rows


def differing_versions(case: Facts, replay: Facts) -> list[str]:
    """The versions that a case and a replay do not have in common."""
    return [
        name for name in _VERSIONS if getattr(case.versions, name) != getattr(replay.versions, name)
    ]


def _values(facts: Facts) -> Iterator[tuple[tuple[str, str], Any]]:
    """Every value of some facts, under its group and name."""
    for name in _VERSIONS:
        yield ("versions", name), getattr(facts.versions, name)
    for name in ("type", "at", "severity", "statement", "requests", "tokens", "first_seen"):
        yield ("totals", name), getattr(facts, name)
    yield ("totals", "last_seen"), facts.last_seen
    for group, finding in _findings(facts):
        for name, value in _of_finding(finding):
            yield (group, name), value
    for each in facts.members:
        yield ("members", each.key), msgspec.structs.replace(each, nats={}, shares=[])
        if each.nats or each.shares:
            yield ("ties", each.key), {**each.nats, "shares": sorted(each.shares)}
    for shared in facts.shared:
        yield ("ties", shared.id), shared
    for number, moment in enumerate(facts.timeline):
        yield ("timeline", f"{number + 1}"), moment
    for decision in facts.decisions:
        yield ("decisions", f"{decision.subject} {decision.at:.0f} {decision.action}"), decision
    for alert in facts.alerts:
        yield ("alerts", alert.id), alert


def _findings(facts: Facts) -> Iterator[tuple[str, FindingFact]]:
    """The findings, each with the name of its group."""
    seen = Counter[str]()
    for finding in sorted(facts.findings, key=lambda each: (each.kind, each.opened_at)):
        seen[finding.kind] += 1
        nth = f" {seen[finding.kind]}" if seen[finding.kind] > 1 else ""
        yield f"finding {finding.kind}{nth}", finding


def _of_finding(finding: FindingFact) -> Iterator[tuple[str, Any]]:
    for name in ("severity", "statement", "probability", "opened_at", "confirmed_at", "alert"):
        yield name, getattr(finding, name)
    for number in finding.numbers:
        yield number.name, number.value
        if is_compared(finding.kind, number.name):
            yield f"{number.name}, ordinary", (number.median, number.p999)


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are the same, with numbers up to rounding."""
    if isinstance(a, msgspec.Struct | Mapping | list | tuple):
        one, other = _plain(a), _plain(b)
        if type(one) is not type(other) or len(one) != len(other):
            return False
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
        return all(map(_equal, one, other))
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-9) or (a != a and b != b)
    return bool(a == b)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        return value
    return f"{value:.10g}" if isinstance(value, float) else msgspec.json.encode(value).decode()

"""A case with what its documents cite: each entry's number and the SHA-256 of its stored line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from monitor.evidence.case import Case, case_of
from monitor.evidence.entries import (
    AlertSeen,
    Appealed,
    Body,
    Changed,
    Closed,
    Entry,
    Exported,
    FactsTaken,
    Letter,
    Noted,
    Opened,
    Reopened,
    Ruled,
    Traced,
)
from monitor.evidence.facts import Facts
from pipelines.reports import words
from pipelines.reports.blocks import Source, Sources

_Body = TypeVar("_Body", bound=Body)

_WHAT: dict[type[Body], str] = {
    Opened: "case opened",
    AlertSeen: "alert",
    FactsTaken: "facts",
    Changed: "change of a decision",
    Noted: "note",
    Letter: "letter to the customer",
    Appealed: "appeal of the customer",
    Ruled: "ruling on the decision",
    Traced: "test of a suspect model",
    Exported: "export of the case",
    Closed: "case closed",
    Reopened: "case reopened",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A case, and the digest of each entry, hexadecimal, by the entry's number."""

    case: Case
    digests: dict[int, str]

    @property
    def facts(self) -> Facts | None:
        """The facts as last collected."""
        return self.case.facts

    @property
    def facts_source(self) -> Sources:
        """The entry of these facts."""
        return self.last(FactsTaken)

    @property
    def whole_facts(self) -> tuple[Facts | None, Sources]:
        """The last facts that say what members share, and their entry; else the last ones.

        The monitor collects less while it records a case live.
        """
        found = self.facts, self.facts_source
        for entry, taken in self.of(FactsTaken):
            if taken.facts.shared:
                found = taken.facts, (entry.number,)
        return found

    @property
    def opening(self) -> Sources:
        """The first entry."""
        return (self.case.entries[0].number,)

    @property
    def head(self) -> Entry:
        """The last entry."""
        return self.case.entries[-1]

    def of(self, body: type[_Body]) -> Iterator[tuple[Entry, _Body]]:
        """All entries of a kind, in order."""
        for entry in self.case.entries:
            if isinstance(entry.body, body):
                yield entry, entry.body

    def last(self, body: type[Body]) -> Sources:
        """The last entry of a kind; empty without one."""
        return tuple(entry.number for entry, _ in self.of(body))[-1:]

    def alert_sources(self) -> dict[str, Sources]:
        """The entry of each alert's latest state, by alert id."""
        return {seen.alert.id: (entry.number,) for entry, seen in self.of(AlertSeen)}

    def sources(self, numbers: Iterable[int]) -> list[Source]:
        """What the entries say that a document cites."""
        wanted = set(numbers)
        return [
            Source(entry.number, describe(entry), self.digests[entry.number])
            for entry in self.case.entries
            if entry.number in wanted
        ]


def evidence_of(entries: Sequence[tuple[Entry, str]]) -> Evidence:
    """The case that entries add up to.

    Args:
        entries: each with the SHA-256 of its stored line, hexadecimal.

    Raises:
        InputError: if the first entry does not open a case.
    """
    case = case_of(entry for entry, _ in entries)
    return Evidence(case, {entry.number: digest for entry, digest in entries})


def describe(entry: Entry) -> str:
    """The kind of an entry, its time and its author."""
    return f"{what(entry)}, {words.moment(entry.at)}, {entry.who}"


def what(entry: Entry) -> str:
    """What an entry is."""
    return _WHAT.get(type(entry.body), "entry")

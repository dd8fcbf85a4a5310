"""Verifies a case in Redis, and compares it with the topic of cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from monitor.errors import EvidenceError, InputError
from monitor.evidence import dsse
from monitor.evidence.chain import check, open_entry
from monitor.evidence.entries import Entry
from monitor.evidence.links import PAYLOAD_TYPE, Problem, Report, digest, read_head
from monitor.evidence.ring import Ring


class CaseReport(msgspec.Struct, frozen=True):
    """The result of a verification.

    Attributes:
        chain: of the entries in Redis.
        on_topic: entries of Redis that the topic has, too; `None` if it was not read.
        strangers: messages under this case on the topic that no key of the ring signed.
        problems: of the chain, and differences from the topic.
    """

    chain: Report
    on_topic: int | None
    strangers: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_case(
    case: str,
    lines: Sequence[bytes],
    copies: Iterable[bytes] | None,
    ring: Ring,
    *,
    through: str = "",
    each: bool | None = None,
) -> CaseReport:
    """Verify a case.

    Args:
        case: its id.
        lines: its entries in Redis, oldest first.
        copies: everything on the topic of cases; `None` to leave it out.
        through, each: see `chain.check`.

    Raises:
        InputError: if neither Redis nor the topic has the case.
    """
    chain = check(lines, ring, case=case, through=through, each=each)
    if copies is None:
        if not lines:
            raise _no_case(case)
        return CaseReport(chain, None, 0, chain.problems)
    present = {digest(line): line for line in lines}
    copied: set[str] = set()
    others: dict[str, Entry] = {}
    strangers = 0
    for line in copies:
        if _case_of(line) != case:
            continue
        found = digest(line)
        if found in present:
            copied.add(found)
        elif found not in others:
            try:
                others[found] = open_entry(line, ring)
            except EvidenceError:
                strangers += 1
    if not lines and not others:
        raise _no_case(case)
    problems = [*chain.problems] if lines else []
    problems += _lost(lines, list(others.values()))
    return CaseReport(chain, len(copied), strangers, problems)


def _lost(lines: Sequence[bytes], others: list[Entry]) -> list[Problem]:
    """Entries of the topic that Redis has lost.

    After a failover an entry may have been written again under another number. It is not lost.
    """
    if not others:
        return []
    kept: set[bytes] = set()
    for line in lines:
        try:
            kept.add(_meaning(msgspec.json.decode(_payload(line), type=Entry)))
        except (EvidenceError, msgspec.MsgspecError):
            continue
    return [
        Problem("lost", entry.number, "The topic has this entry, but Redis does not.")
        for entry in sorted(others, key=lambda entry: entry.number)
        if _meaning(entry) not in kept
    ]


def _meaning(entry: Entry) -> bytes:
    """An entry without its place in the chain."""
    return msgspec.json.encode((entry.case, entry.at, entry.who, entry.source, entry.body))


def _payload(line: bytes) -> bytes:
    return dsse.decode(line, PAYLOAD_TYPE).payload


def _case_of(line: bytes) -> str | None:
    try:
        return read_head(dsse.decode(line, PAYLOAD_TYPE)).case
    except EvidenceError:
        return None


def _no_case(case: str) -> InputError:
    return InputError(f"There is no case {case}: list them with `xm case list --all`.")

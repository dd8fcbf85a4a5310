"""What is wrong with a chain, entry by entry.

Every signature is verified first, so that only what a signer wrote counts: an entry with a wrong
signature is reported as changed and its number and links are ignored. Then the numbers show what is
missing, doubled or moved, and the digests show what was replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from monitor.errors import EvidenceError
from monitor.evidence import dsse
from monitor.evidence.links import (
    PAYLOAD_TYPE,
    Head,
    Problem,
    Report,
    digest,
    read_head,
    untimely,
)
from monitor.evidence.ring import Ring


class _Line(NamedTuple):
    """A line of the chain; `head` is `None` if its signature does not hold."""

    number: int
    digest: str
    head: Head | None


def diagnose(lines: Sequence[bytes], ring: Ring, case: str, through: str) -> Report:
    """Find everything that is wrong with a chain.

    Args:
        lines, ring, case, through: as of `chain.check`.
    """
    if not lines:
        problem = Problem("truncated", 1, "The case has no entries.")
        return Report(case, 0, 0, "", [], [problem])
    read, keys, problems = _read(lines, ring)
    case = case or next((each.head.case for each in read if each.head), "")
    problems += _of_other_cases(read, case)
    problems += _out_of_sequence(read)
    problems += _missing(read)
    problems += _replaced(read)
    if through and all(each.digest != through for each in read):
        last = max(each.number for each in read)
        text = (
            f"The entry with the expected digest {through} is missing: the chain ends at entry "
            f"{last}, or was replaced."
        )
        problems.append(Problem("truncated", last + 1, text))
    return Report(
        case,
        len(lines),
        len(lines),
        read[-1].digest,
        keys,
        sorted(set(problems), key=lambda each: each.entry),
    )


def _read(lines: Sequence[bytes], ring: Ring) -> tuple[list[_Line], list[str], list[Problem]]:
    read: list[_Line] = []
    keys: dict[str, None] = {}
    problems: list[Problem] = []
    latest = 0.0
    for line in lines:
        number = read[-1].number + 1 if read else 1
        try:
            envelope = dsse.decode(line, PAYLOAD_TYPE)
            kid = envelope.signature.keyid
            keys.setdefault(kid)
            head = read_head(envelope)
        except EvidenceError as error:
            problems.append(Problem("changed", number, str(error)))
            read.append(_Line(number, digest(line), None))
            continue
        if ring.get(kid) is None:
            text = f"The key {kid}, which it names, is not in the ring."
            problems.append(Problem("key", number, text))
            read.append(_Line(number, digest(line), None))
            continue
        try:
            dsse.verify(envelope, ring)
        except EvidenceError as error:
            kind = "key" if "signed it." in str(error) else "changed"
            problems.append(Problem(kind, number, str(error)))
            read.append(_Line(number, digest(line), None))
            continue
        latest = max(latest, head.at)
        if wrong := untimely(kid, head.at, latest, ring):
            problems.append(Problem("key", head.number, wrong))
        read.append(_Line(head.number, digest(line), head))
    return read, list(keys), problems


def _of_other_cases(read: list[_Line], case: str) -> list[Problem]:
    return [
        Problem("other case", each.number, f"It belongs to {each.head.case}, not to {case}.")
        for each in read
        if each.head is not None and each.head.case != case
    ]


def _out_of_sequence(read: list[_Line]) -> list[Problem]:
    """Entries that stand twice, that share a number, or that stand before an older one."""
    problems: list[Problem] = []
    by_number: dict[int, str] = {}
    highest = 0
    for each in read:
        known = by_number.get(each.number)
        if known is None:
            by_number[each.number] = each.digest
            if each.number < highest:
                text = f"It stands after entry {highest}."
                problems.append(Problem("reordered", each.number, text))
            highest = max(highest, each.number)
        elif known == each.digest:
            problems.append(Problem("repeated", each.number, "It stands in the chain twice."))
        elif each.head is not None:
            problems.append(Problem("forked", each.number, "Two entries have this number."))
    return problems


def _missing(read: list[_Line]) -> list[Problem]:
    numbers = sorted({each.number for each in read})
    problems: list[Problem] = []
    for before, after in zip([0, *numbers], numbers, strict=False):
        if after == before + 2:
            problems.append(Problem("dropped", before + 1, "It is missing."))
        elif after > before + 2:
            text = f"Entries {before + 1:,} to {after - 1:,} are missing."
            problems.append(Problem("dropped", before + 1, text))
    return problems


def _replaced(read: list[_Line]) -> list[Problem]:
    """Entries with a valid signature that are not those on which the next ones were signed."""
    by_number = {each.number: each for each in reversed(read)}
    problems: list[Problem] = []
    for each in read:
        if each.head is None:
            continue
        if each.number == 1:
            if each.head.previous:
                text = "It refers to an entry before it, so it is not the first."
                problems.append(Problem("dropped", 1, text))
            continue
        before = by_number.get(each.number - 1)
        if before is not None and before.head and each.head.previous != before.digest:
            text = f"It is not the entry on which entry {each.number} was signed."
            problems.append(Problem("forked", before.number, text))
    return problems

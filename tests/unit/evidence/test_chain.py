"""The chain of a case: what was done to it is named."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import EvidenceError
from monitor.evidence.chain import check, open_entry, seal
from monitor.evidence.entries import Entry, Noted
from monitor.evidence.links import digest
from monitor.evidence.ring import Ring
from tests.support.chains import CASE, START, chain_of, new_signer

SIGNER, OTHER = new_signer(), new_signer()
RING = Ring([SIGNER.public, OTHER.public])
LINES = chain_of([SIGNER] * 6)


def found(lines: list[bytes], ring: Ring = RING, **options: str) -> list[tuple[str, int]]:
    return [(each.kind, each.entry) for each in check(lines, ring, **options).problems]


def altered(line: bytes, old: bytes, new: bytes) -> bytes:
    """A line whose payload was changed, with its old signature."""
    envelope = msgspec.json.decode(line)
    payload = base64.b64decode(envelope["payload"])
    assert old in payload
    envelope["payload"] = base64.b64encode(payload.replace(old, new)).decode()
    return msgspec.json.encode(envelope)


def test_whole_chain_has_no_problems():
    report = check(LINES, RING)
    assert report.ok
    assert (report.case, report.entries, report.head) == (CASE, 6, digest(LINES[-1]))


def test_entry_reads_as_written():
    entry = open_entry(LINES[1], RING)
    assert (entry.number, entry.body) == (2, Noted("note 2"))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(LINES[2]) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(position: int, change: int):
    line = bytearray(LINES[2])
    line[position] ^= change
    assert {entry for _, entry in found([*LINES[:2], bytes(line), *LINES[3:]])} == {3}
    assert {entry for _, entry in found([*LINES[:2], bytes(line)])} == {3}
    with pytest.raises(EvidenceError):
        open_entry(bytes(line), RING)


def test_changed_text_is_found_at_its_entry():
    assert found([LINES[0], altered(LINES[1], b"note 2", b"NOTE 2"), *LINES[2:]]) == [
        ("changed", 2)
    ]


def test_changed_number_is_found_at_its_entry():
    line = altered(LINES[2], b'"number":3', b'"number":9')
    assert found([*LINES[:2], line, *LINES[3:]]) == [("changed", 3)]


def test_dropped_entry_is_found():
    assert found([*LINES[:2], *LINES[3:]]) == [("dropped", 3)]


def test_dropped_first_entry_is_found():
    assert found(LINES[1:]) == [("dropped", 1)]


def test_several_dropped_entries_are_found_together():
    problems = check([LINES[0], *LINES[4:]], RING).problems
    assert [each.text for each in problems] == ["Entries 2 to 4 are missing."]


def test_reordered_entries_are_found():
    assert found([*LINES[:2], LINES[3], LINES[2], *LINES[4:]]) == [("reordered", 3)]


def test_repeated_entry_is_found():
    assert found([*LINES[:3], LINES[2], *LINES[3:]]) == [("repeated", 3)]


def test_truncated_chain_is_found_with_its_head():
    assert found(LINES[:4]) == []
    assert found(LINES[:4], through=digest(LINES[-1])) == [("truncated", 5)]
    assert found(LINES, through=digest(LINES[3])) == []


def test_empty_chain_is_truncated():
    assert found([]) == [("truncated", 1)]


def test_unknown_key_is_found():
    lines = chain_of([SIGNER, new_signer(), SIGNER])
    assert found(lines) == [("key", 2)]


def test_wrong_key_is_named():
    line = LINES[2].replace(SIGNER.kid.encode(), OTHER.kid.encode())
    (problem,) = check([*LINES[:2], line], RING).problems
    assert (problem.kind, problem.entry) == ("key", 3)
    assert SIGNER.kid in problem.text


def test_entry_signed_over_with_another_key_is_found():
    """A stolen key of the ring cannot rewrite what another key signed."""
    entry = Entry(CASE, 2, digest(LINES[0]), START + 2, "analyst", Noted("forged"))
    assert found([LINES[0], seal(entry, OTHER), *LINES[2:]]) == [("forked", 2)]


def test_retired_key_cannot_sign_with_an_early_time():
    old = new_signer()
    retired = msgspec.structs.replace(old.public, retired=START + 1000)
    ring = Ring([retired, SIGNER.public])
    assert check(chain_of([old, SIGNER]), ring).ok
    lines = chain_of([SIGNER], start=START + 5000)
    entry = Entry(CASE, 2, digest(lines[0]), START, "analyst", Noted("back-dated"))
    assert found([*lines, seal(entry, old)], ring) == [("key", 2)]


def test_key_cannot_sign_before_it_was_made():
    signer = new_signer(START + 10_000)
    assert found(chain_of([signer]), Ring([signer.public])) == [("key", 1)]


def test_entry_of_another_case_is_found():
    other = chain_of([SIGNER] * 3, "case_fedcba9876543210")
    assert ("other case", 3) in found([*LINES[:2], other[2]])


def test_long_chain_verifies_one_signature_per_run_of_a_key():
    lines = chain_of([SIGNER] * 4 + [OTHER] * 3 + [SIGNER] * 2)
    assert check(lines, RING, each=False).signatures == 3
    assert check(lines, RING, each=True).signatures == 9


def test_long_chain_names_the_changed_entry():
    line = altered(LINES[1], b"note 2", b"NOTE 2")
    assert [each.entry for each in check([LINES[0], line, *LINES[2:]], RING, each=False).problems]
    forged = check([LINES[0], line], RING, each=False)
    assert [(each.kind, each.entry) for each in forged.problems] == [("changed", 2)]

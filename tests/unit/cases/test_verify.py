"""A case in Redis beside its topic."""

from __future__ import annotations

import pytest

from monitor.errors import InputError
from monitor.evidence.chain import seal
from monitor.evidence.entries import Entry, Noted
from monitor.evidence.links import digest
from monitor.evidence.ring import Ring
from pipelines.cases.verify import verify_case
from tests.support.chains import CASE, START, chain_of, new_signer

SIGNER = new_signer()
RING = Ring([SIGNER.public])
LINES = chain_of([SIGNER] * 4)
OTHERS = chain_of([SIGNER] * 2, "case_fedcba9876543210")


def test_same_case_on_the_topic_has_no_problems():
    report = verify_case(CASE, LINES, [LINES[0], OTHERS[0], *LINES, OTHERS[1]], RING)
    assert report.ok
    assert report.on_topic == 4


def test_newest_entry_may_not_be_copied_yet():
    report = verify_case(CASE, LINES, LINES[:3], RING)
    assert report.ok
    assert report.on_topic == 3


def test_entry_that_redis_lost_is_named():
    report = verify_case(CASE, LINES[:3], LINES, RING)
    assert [(each.kind, each.entry) for each in report.problems] == [("lost", 4)]


def test_entry_that_was_written_again_is_not_lost():
    entry = Entry(CASE, 3, digest(LINES[1]), START + 4, "analyst", Noted("note 4"))
    lines = [*LINES[:2], seal(entry, SIGNER)]
    report = verify_case(CASE, lines, [*LINES[:2], LINES[3], *lines], RING)
    assert report.ok


def test_case_that_redis_lost_altogether_is_named():
    report = verify_case(CASE, [], LINES, RING)
    assert [each.entry for each in report.problems] == [1, 2, 3, 4]


def test_message_that_nobody_signed_is_ignored():
    forged = chain_of([new_signer()], text="forged")
    report = verify_case(CASE, LINES, [*LINES, *forged, b"{}"], RING)
    assert report.ok
    assert report.strangers == 1


def test_unknown_case_is_refused():
    with pytest.raises(InputError, match="no case"):
        verify_case(CASE, [], OTHERS, RING)

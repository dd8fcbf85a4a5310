"""State, rows and fingerprints that earlier versions wrote."""

import base64
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.campaigns.campaign import Campaign, TimelineEntry
from monitor.campaigns.fingerprint import (
    FINGERPRINT,
    FINGERPRINT_V2,
    FINGERPRINT_V3,
    FINGERPRINT_VERSION,
    USE,
    from_messages,
    join,
    split,
    to_messages,
)
from monitor.campaigns.population import ROW, Population
from monitor.errors import StoreRefusedError
from tests.support.crowd import population

# Written by version 1: a row of the population, and a message with the same fingerprint.
ROW_V1 = (
    "c-muRU}CUg0D~8HnYSE)w2CQ&W?<;p>|g+9BslD0dhn-(nPC7ygFTRN03sl60OAD>>_7oZuu(HRLy}q)k{u!"
    "pq71?WUBbk`h*g{$O7lQzUMS56rTL+>0F+iFV2=_3d2SryJUGO8aftKb5a-7sE<nIt0CZLmga"
)
MESSAGE_V1 = (
    "c-muRU}CUg0D~8HnYSE)w2CQ&W?<;p>|g+9BslD0dhn-(nPC7ygFTRN03sl60OAD>>_7oZuu(HRLy}q)k{u!"
    "pq71?WUBbk`h*g{$O7lQzUMS56rTL+>0F+iFV2=_3`RsT@0PM*TE&"
)


def unpacked(text):
    return zlib.decompress(base64.b85decode(text))


def check(fingerprint):
    assert fingerprint["version"] == FINGERPRINT_VERSION
    assert (fingerprint["severity"], fingerprint["requests"], fingerprint["sketch_prompts"]) == (
        2,
        60,
        48,
    )
    assert (fingerprint["ts"], fingerprint["first_seen"]) == (1_772_420_000.0, 1_772_410_000.0)
    assert (fingerprint["tokens"], fingerprint["surprisal"]) == (5_000.0, 3.5)
    assert fingerprint["content"][:4].tolist() == [700, -800, 900, 0]
    assert fingerprint["lists"].tolist()[:6] == [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]
    assert (fingerprint["long_head"], fingerprint["middle_head"]) == (492_338, 5_908_066)
    assert fingerprint["long_requests"][5:8].tolist() == [20, 21, 19]
    assert fingerprint["middle_requests"][:2].tolist() == [2, 1]
    assert fingerprint["ids"].tolist() == [11, 12, 13, 14, 15, 16]
    assert fingerprint["distinct"][:, 0].tolist() == [33, 34]


def test_row_of_version_1_is_migrated():
    restored = Population(10)
    restored.load({"k_1": unpacked(ROW_V1)})
    (row,) = restored.rows
    check(row["fingerprint"])
    assert row["identifiers"][:, 0].tolist() == [11, 12, 13, 14, 15, 16]


def test_migrated_row_is_written_in_the_new_layout():
    restored = Population(10)
    restored.load({"k_1": unpacked(ROW_V1)})
    restored.update(restored.rows["fingerprint"].copy(), ["k_1"])
    data = restored.snapshot()["k_1"]
    again = Population(10)
    again.load({"k_1": data})
    assert len(data) == ROW.itemsize
    assert again.rows.tobytes() == restored.rows.tobytes()


@pytest.mark.parametrize("data", [b"", b"\x09\x00", np.zeros(1, ROW).tobytes()[:-1]])
def test_row_of_unknown_layout_is_refused_with_the_fix(data):
    with pytest.raises(StoreRefusedError, match=r"row of k_1 .*Run all workers with the newest"):
        Population(10).load({"k_1": data})


def test_message_of_version_1_is_read_among_others():
    crowd = population(2)
    new = to_messages(crowd.fingerprints(), crowd.names)
    found, keys, which = from_messages([new[0], b"", unpacked(MESSAGE_V1), b"\x09\x00no", new[1]])
    assert (keys, which) == ([crowd.names[0], "k_1", crowd.names[1]], [0, 2, 4])
    assert np.array_equal(found[[0, 2]], crowd.fingerprints())
    check(found[1])


def test_use_is_unknown_in_a_message_of_version_2():
    new = population(1).fingerprints()
    old = np.zeros(1, FINGERPRINT_V2)
    for name in {*FINGERPRINT_V2.names} - {"lists"}:
        old[name] = new[name]
    old["version"] = 2
    found, keys, _ = from_messages([old.tobytes() + b"k_1"])
    assert keys == ["k_1"]
    assert found["version"] == FINGERPRINT_VERSION
    assert np.array_equal(found["content"], new["content"])
    assert all(np.isnan(found[name][0]) for name in USE)


def test_account_and_prompts_are_unknown_in_a_message_and_a_row_of_version_3():
    new = population(1).fingerprints()
    old = np.zeros(1, FINGERPRINT_V3)
    for name in {*FINGERPRINT_V3.names} - {"novelty"}:
        old[name] = new[name]
    old["version"] = 3
    new["account"], new["prompt_surprisal"] = 0, np.nan
    found, keys, _ = from_messages([old.tobytes() + b"k_1"])
    assert keys == ["k_1"]
    assert found.tobytes() == new.tobytes()
    row = np.zeros(1, ROW)
    row["tried"] = 7
    restored = Population(10)
    restored.load({"k_1": old.tobytes() + row.tobytes()[FINGERPRINT.itemsize :]})
    assert restored.rows["fingerprint"].tobytes() == new.tobytes()
    assert restored.rows["tried"].tolist() == [7]


def test_fingerprints_survive_a_round_trip():
    crowd = population(30)
    found, keys, which = from_messages(to_messages(crowd.fingerprints(), crowd.names))
    assert found.dtype == FINGERPRINT
    assert np.array_equal(found, crowd.fingerprints())
    assert (keys, which) == (crowd.names, list(range(30)))


@given(st.lists(st.binary(max_size=20), min_size=2))
def test_joined_messages_are_split_again(values):
    assert split(join(values)) == values


@given(st.lists(st.binary(max_size=20), min_size=2), st.integers(1, 100))
def test_message_that_is_cut_off_is_not_split(values, cut):
    message = join(values)[:-cut]
    assert split(message) == [message]


def test_single_fingerprint_has_the_earlier_form():
    (message,) = to_messages(population(1).fingerprints(), ["k_1"])
    assert join([message]) == message
    assert split(message) == [message]


def test_campaign_state_of_earlier_versions_loads():
    state = {
        "id": "c_1",
        "found": 1.0,
        "member": {"k_1": 0.99},
        "opened": 2.0,
        "upheld": 3.0,
        "severity": "critical",
        "named": {"k_1": 2.0},
        "untold": True,
        "decided": {"k_1": 2.5},
        "bystanders": ["k_2"],
        "evidence": {"probability": 1e-9},
        "reason": "most are accused by themselves",
        "timeline": [[2.0, "born", 1, ""]],
        "ended": 0.0,
    }
    data = msgspec.msgpack.encode(state)
    campaign = msgspec.msgpack.decode(data, type=Campaign)
    assert campaign == Campaign(
        "c_1",
        1.0,
        {"k_1": 0.99},
        opened=2.0,
        confirmed=3.0,
        severity="critical",
        named={"k_1": 2.0},
        unreported=True,
        decided={"k_1": 2.5},
        bystanders=["k_2"],
        evidence={"probability": 1e-9},
        reason="most are accused by themselves",
        timeline=[TimelineEntry(2.0, "born", 1)],
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(campaign)) == state | {
        "ties": {},
        "imported": [],
    }

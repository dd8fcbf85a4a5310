from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from stix2validator import ValidationOptions, validate_string

from pipelines.sharing.formats import stix
from pipelines.sharing.formats.shared import SharedSighting, rounded, stix_id
from pipelines.sharing.formats.stix_reader import read_objects
from pipelines.sharing.formats.tlp import LEVELS, may_pass_on, of_markings, of_tags
from tests.support.sharing import NOW, PARTNER, PARTNER_ID, shared_campaign

SALT = "0123abcd"


def objects(**changed: Any) -> list[dict[str, Any]]:
    return stix.to_json(stix.campaign_objects(shared_campaign(SALT, **changed), PARTNER))


def indicator(**changed: Any) -> dict[str, Any]:
    """An indicator with other properties; `None` leaves one out."""
    found = next(each for each in objects() if each["type"] == "indicator") | changed
    return {name: value for name, value in found.items() if value is not None}


def check_strictly(bundle: bytes, **options: bool) -> None:
    """Check a bundle with every recommendation of STIX as a rule."""
    checks = ValidationOptions(version="2.1", strict=True, **options)
    result = validate_string(bundle.decode(), checks)
    assert result.is_valid, [str(each) for each in result.errors]


@pytest.mark.parametrize("level", LEVELS[:-1])
def test_campaign_is_strictly_valid(level):
    campaign = msgspec.structs.replace(shared_campaign(SALT), tlp=level)
    check_strictly(stix.bundle(stix.campaign_objects(campaign, PARTNER)), enforce_refs=True)


def test_revoked_campaign_is_strictly_valid():
    campaign = msgspec.structs.replace(shared_campaign(SALT, revoked=True), revoked=True)
    check_strictly(stix.bundle(stix.campaign_objects(campaign, PARTNER)), enforce_refs=True)


def test_sightings_are_strictly_valid():
    indicator = stix_id("indicator", b"", "of a partner")
    sighting = SharedSighting(
        stix_id("sighting", b"", "1"), indicator, "amber", 3, NOW - 60, NOW, NOW, NOW
    )
    check_strictly(stix.bundle(stix.sighting_objects([sighting], PARTNER)))


def test_reader_gets_what_the_writer_wrote():
    campaign = shared_campaign(SALT)
    reading = read_objects(objects())
    assert (reading.problems, reading.invalid) == ([], 0)
    assert reading.names[PARTNER_ID] == PARTNER
    for hashed, found in zip(campaign.hashes, reading.indicators, strict=True):
        for name in ("id", "kind", "value", "salt", "confidence", "valid_from", "valid_until"):
            assert getattr(found, name) == getattr(hashed, name)
        assert (found.by, found.campaign, found.tlp) == (PARTNER_ID, campaign.id, "green")


def test_reader_counts_what_others_define():
    malware = {"type": "malware", "id": "malware--1"}
    pattern = "[ipv4-addr:value = '198.51.100.1']"
    foreign = indicator(pattern=pattern, extensions=None)
    reading = read_objects([malware, foreign])
    assert reading.others == {"malware": 1, "indicator": 1}
    assert not reading.indicators
    assert not reading.invalid


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"id": "indicator--1"}, "no id of the form"),
        ({"created_by_ref": None}, "no id of the form"),
        ({"pattern": "[x-extraction-monitor-hash:value = 'ff']"}, "not that of its hash"),
        ({"pattern": "x-extraction-monitor" * 100_000}, "not that of its hash"),
        ({"extensions": None}, "not in an extension"),
        ({"extensions": {stix.EXTENSION: "network"}}, "not in an extension"),
        ({"extensions": {stix.EXTENSION: {"kind": "email"}}}, "its kind is none of"),
        ({"valid_until": None}, "no end"),
        ({"valid_until": "soon"}, "valid_until"),
        ({"confidence": 101}, "confidence"),
        ({"confidence": "<script>alert(1)</script>"}, "confidence"),
        ({"modified": 5}, "modified"),
    ],
)
def test_object_that_cannot_be_used_is_named_and_the_others_are_read(changed, why):
    bad, good = indicator(**changed), indicator()
    reading = read_objects([bad, good])
    assert len(reading.indicators) == 1
    assert reading.invalid == 1
    assert why in reading.problems[0]
    assert reading.problems[0].isprintable()


@pytest.mark.parametrize("bad", [None, 1, "x", [], {}, {"type": 1}, {"type": "\x1b[2J"}])
def test_what_is_no_object_is_counted(bad):
    reading = read_objects([bad])
    assert reading.invalid + sum(reading.others.values()) == 1


def test_problems_are_bounded():
    reading = read_objects([indicator(id="x") for _ in range(50)])
    assert (reading.invalid, len(reading.problems)) == (50, 20)


def test_strictest_marking_counts():
    green, red = (f"marking-definition--{each}" for each in (
        "bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
    ))  # fmt: skip
    assert of_markings([green]) == "green"
    assert of_markings([green, red]) == "red"
    assert of_markings(["marking-definition--unknown"]) == "amber"
    assert of_tags(["tlp:GREEN", "tlp:amber+strict"]) == "amber+strict"


def test_granular_marking_counts():
    red = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
    marked = indicator(granular_markings=[{"marking_ref": red, "selectors": ["pattern"]}])
    assert read_objects([marked]).indicators[0].tlp == "red"


def test_only_clear_and_green_are_passed_on():
    allowed = {(a, b) for a in LEVELS for b in LEVELS if may_pass_on(a, b)}
    green_or_stricter = LEVELS[1:]
    assert allowed == {("clear", b) for b in LEVELS} | {("green", b) for b in green_or_stricter}


def test_shared_numbers_are_rounded():
    assert [rounded(each) for each in (0, 1, 9, 14, 1437, 96_000)] == [0, 1, 9, 10, 1000, 100_000]


def test_envelope_has_the_objects_of_the_bundle_except_the_definition():
    made = stix.campaign_objects(shared_campaign(SALT), PARTNER)
    bundle = json.loads(stix.bundle(made))["objects"]
    definition = [each for each in bundle if each["type"] == "extension-definition"]
    assert stix.to_json(made) == [each for each in bundle if each not in definition]
    assert len(definition) == 1

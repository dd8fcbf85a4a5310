from __future__ import annotations

from typing import Any

import pytest
from stix2validator import ValidationOptions, validate_string

from monitor.errors import InputError
from monitor.sharing.indicator import Indicator
from pipelines.sharing.collect import Extent, Leaving
from pipelines.sharing.export import Export, exporting, revoked
from pipelines.sharing.formats import stix
from pipelines.sharing.formats.shared import SharedCampaign
from tests.support.sharing import DAY, NOW, PARTNER

ONE, TWO = (Leaving("network", f"{i:032x}", 12, 2, NOW - DAY, NOW) for i in (1, 2))
EXTENT = Extent(43, 29_513, 0.998, NOW - 2 * DAY, NOW)


def export(
    *leaving: Leaving, before: SharedCampaign | None = None, now: float = NOW, **changed: Any
) -> Export:
    options = {
        "level": "green",
        "salt": "0123abcd",
        "key": b"key",
        "received": [],
        "valid_days": 90,
        **changed,
    }
    level = options.pop("level")
    made = exporting("c_1", EXTENT, leaving, level, before=before, now=now, **options)
    bundle = stix.bundle(stix.campaign_objects(made.campaign, PARTNER)).decode()
    result = validate_string(bundle, ValidationOptions(version="2.1", strict=True))
    assert result.is_valid, [str(each) for each in result.errors]
    return made


def versions(campaign: SharedCampaign) -> dict[str, tuple[float, bool]]:
    return {each.value: (each.modified, each.revoked) for each in campaign.hashes}


def received(leaving: Leaving, tlp: Any) -> Indicator:
    return Indicator(
        *("indicator--1", leaving.kind, leaving.value, "0123abcd", "identity--p", 80, tlp, "C7"),
        valid_from=NOW - DAY,
        valid_until=NOW + DAY,
    )


def test_numbers_are_rounded_and_confidence_is_never_full():
    campaign = export(ONE).campaign
    assert (campaign.keys, campaign.requests, campaign.confidence) == (40, 30_000, 95)
    assert campaign.hashes[0].confidence == round(95 * 12 / 14)
    assert campaign.hashes[0].keys == 10


def test_second_export_keeps_versions():
    first = export(ONE, TWO).campaign
    assert export(ONE, TWO, before=first, now=NOW + 60).campaign == first


def test_changed_hash_is_a_new_version_and_the_others_are_not():
    first = export(ONE, TWO).campaign
    second = export(ONE._replace(keys=40), TWO, before=first, now=NOW + 60).campaign
    assert versions(second) == {ONE.value: (NOW + 60, False), TWO.value: (NOW, False)}
    assert [each.id for each in second.hashes] == [each.id for each in first.hashes]


def test_hash_that_is_gone_is_taken_back_once():
    first = export(ONE, TWO).campaign
    second = export(ONE, before=first, now=NOW + 60).campaign
    assert versions(second) == {ONE.value: (NOW, False), TWO.value: (NOW + 60, True)}
    assert export(ONE, before=second, now=NOW + 120).campaign == second


def test_hash_that_comes_back_has_another_id():
    first = export(ONE, TWO).campaign
    second = export(ONE, before=first, now=NOW + 60).campaign
    third = export(ONE, TWO, before=second, now=NOW + 120).campaign
    ids = [each.id for each in third.hashes if each.value == TWO.value]
    assert len(ids) == len(set(ids)) == 2


def test_other_level_is_a_new_version_of_everything():
    first = export(ONE, TWO).campaign
    second = export(ONE, before=first, now=NOW + 60).campaign
    third = export(ONE, before=second, now=NOW + 120, level="amber").campaign
    assert versions(third) == {ONE.value: (NOW + 120, False), TWO.value: (NOW + 120, True)}


def test_expired_hash_is_left_out():
    old = TWO._replace(first_seen=NOW - 90 * DAY, last_seen=NOW - 89 * DAY)
    first = export(ONE, old).campaign
    assert versions(export(ONE, before=first, now=NOW + 2 * DAY).campaign) == {
        ONE.value: (NOW, False)
    }


def test_revoked_campaign_returns_as_another():
    first = export(ONE).campaign
    gone = revoked(first, NOW + 60)
    assert gone.revoked
    assert versions(gone) == {ONE.value: (NOW + 60, True)}
    again = export(ONE, before=gone, now=NOW + 120).campaign
    assert not again.revoked
    assert {again.id, again.hashes[0].id}.isdisjoint({first.id, first.hashes[0].id})


def test_ids_need_the_key_and_hide_the_campaign():
    first, other = export(ONE).campaign, export(ONE, key=b"other").campaign
    assert first.id != other.id
    assert "c_1" not in str(first)


@pytest.mark.parametrize(
    ("came", "leaves", "held"),
    [("clear", "clear", 0), ("green", "clear", 1), ("green", "green", 0), ("amber", "amber", 1)],
)
def test_what_came_under_tlp_leaves_as_it_allows(came, leaves, held):
    made = export(ONE, TWO, received=[received(ONE, came)], level=leaves)
    assert made.held_back == held


def test_strictest_of_several_partners_counts():
    both = [received(ONE, "clear"), received(ONE, "red")]
    assert export(ONE, TWO, received=both).held_back == 1


def test_nothing_that_may_leave_is_an_error():
    with pytest.raises(InputError, match="1 are held back"):
        export(ONE, received=[received(ONE, "red")])

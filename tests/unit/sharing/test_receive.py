from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from monitor.config import Settings
from monitor.errors import InputError
from monitor.store.indicators import IndicatorStore
from monitor.store.indicators import store as indicator_store
from pipelines.sharing.exchange import Exchange
from pipelines.sharing.formats import misp, stix
from pipelines.sharing.formats.shared import identity_id
from pipelines.sharing.receive import Import
from tests.support import sharing
from tests.support.sharing import DAY, NOW, PARTNER, PARTNER_ID, shared_campaign

OTHER = "Other Ltd"


@pytest.fixture
def here(redis_url: str, tmp_path: Path) -> Settings:
    return sharing.settings(redis_url, tmp_path, "Here Inc", partners={PARTNER_ID: "the partner"})


def file_of(settings: Settings, by: str = PARTNER, **changed: Any) -> bytes:
    """A bundle as a partner sends it, with four indicators."""
    campaign = shared_campaign(**{"salt": sharing.salt_id(settings), **changed})
    return stix.bundle(stix.campaign_objects(campaign, by))


def receive(settings: Settings, data: bytes, now: float = NOW) -> Import:
    return Exchange(settings).read_file(data, "partner.json", now)


def known(settings: Settings, now: float = NOW) -> list[str]:
    return [each.value for each in IndicatorStore(settings.redis_url).all(now)]


def test_import_keeps_kind_source_tlp_and_campaign(here):
    assert receive(here, file_of(here)).added == 4
    found = IndicatorStore(here.redis_url).all(NOW)
    assert {each.kind for each in found} == {"network", "tls", "system", "template"}
    assert {(each.source, each.source_name, each.tlp) for each in found} == {
        (PARTNER_ID, "the partner", "green")
    }
    assert {each.campaign for each in found} == {shared_campaign("").id}


def test_misp_is_imported_as_stix_is(here):
    campaign = shared_campaign(sharing.salt_id(here))
    receive(here, file_of(here))
    before = IndicatorStore(here.redis_url).all(NOW)
    again = receive(here, misp.event_json(campaign, PARTNER))
    assert (again.unchanged, again.added, again.problems) == (4, 0, [])
    with redis.from_url(here.redis_url) as client:
        client.flushdb()
    receive(here, misp.event_json(campaign, PARTNER))
    assert IndicatorStore(here.redis_url).all(NOW) == before


def test_same_again_changes_nothing_and_newer_renews(here):
    receive(here, file_of(here))
    assert receive(here, file_of(here)).unchanged == 4
    newer = receive(here, file_of(here, modified=NOW + 60, confidence=10))
    assert (newer.renewed, newer.added) == (4, 0)
    assert {each.confidence for each in IndicatorStore(here.redis_url).all(NOW)} == {10}


def test_import_restores_what_redis_lost(here):
    receive(here, file_of(here))
    store = IndicatorStore(here.redis_url)
    store.revoke(PARTNER_ID, [each.id for each in store.all(NOW)])
    assert receive(here, file_of(here)).renewed == 4
    assert len(known(here)) == 4


def test_import_works_on_a_cluster(cluster_url, tmp_path):
    here = sharing.settings(cluster_url, tmp_path, "Here Inc")
    assert receive(here, file_of(here)).added == 4
    assert receive(here, file_of(here, modified=NOW + 60, revoked=True)).revoked == 4
    exchange = Exchange(here)
    exchange.state.save_exported("c_1", shared_campaign(exchange.salt), "file")
    assert len(exchange.overview(NOW).exported) == 1


def test_weight_of_the_source_applies_to_what_is_there(here):
    receive(here, file_of(here))
    trusted = here.sharing.model_copy(update={"weights": {PARTNER_ID: 0.5}})
    result = receive(here.model_copy(update={"sharing": trusted}), file_of(here))
    assert (result.renewed, result.unchanged) == (4, 0)
    assert {each.weight for each in IndicatorStore(here.redis_url).all(NOW)} == {0.5}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"salt": "ffffffff"}, "under another salt"),
        ({"valid_until": NOW - 1}, "expired"),
        ({"modified": NOW + DAY}, "from the future"),
        ({"by": OTHER}, "of an identity that is no partner"),
        ({"by": "Here Inc"}, "own, came back"),
        ({"revoked": True}, "revoked, was not known"),
    ],
)
def test_import_skips_and_says_why(here, changed, why):
    result = receive(here, file_of(here, **changed))
    assert (result.added, result.skipped) == (0, {why: 4})
    assert not known(here)


def test_validity_is_capped(here):
    receive(here, file_of(here, valid_until=NOW + 3000 * DAY))
    assert {each.valid_until for each in IndicatorStore(here.redis_url).all(NOW)} == {
        NOW + 90 * DAY
    }


def test_revoked_indicator_is_gone_and_an_old_version_does_not_return(here):
    receive(here, file_of(here))
    assert receive(here, file_of(here, modified=NOW + 60, revoked=True)).revoked == 4
    assert not known(here)
    assert receive(here, file_of(here)).skipped == {"older than the known version": 4}
    assert not known(here)


def test_nobody_else_revokes_or_replaces_an_indicator(here):
    without_table = here.model_copy(
        update={"sharing": here.sharing.model_copy(update={"partners": {}})}
    )
    receive(without_table, file_of(here))
    attack = file_of(here, by=OTHER, modified=NOW + 60, revoked=True)
    assert receive(without_table, attack).skipped == {"with the id of another creator": 4}
    assert len(known(here)) == 4


def test_invented_identities_are_one_source(here):
    without_table = here.model_copy(
        update={"sharing": here.sharing.model_copy(update={"partners": {}})}
    )
    for name in ("One", "Two"):
        receive(without_table, file_of(here, by=name, name=name))
    found = IndicatorStore(here.redis_url).all(NOW)
    assert (len(found), {each.source for each in found}) == (8, {"file"})


def test_dropped_indicator_stays_away_whatever_the_partner_sends(here):
    receive(here, file_of(here))
    uuid = next(iter(IndicatorStore(here.redis_url).all(NOW))).id.removeprefix("indicator--")
    assert Exchange(here).drop([uuid[:12]], NOW) == 1
    assert receive(here, file_of(here, modified=NOW + 60)).skipped == {"dropped here": 1}
    assert len(known(here)) == 3


def test_full_store_imports_nothing_and_loses_nothing(here, monkeypatch):
    receive(here, file_of(here))
    monkeypatch.setattr(indicator_store, "MOST_PER_SOURCE", 5)
    with pytest.raises(InputError, match="Nothing was imported"):
        receive(here, file_of(here, name="c_2"))
    assert len(known(here)) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"<html>",
        b"[]",
        b"{}",
        b'{"objects": {}}',
        b'{"objects": "x"}',
        b'{"response": 5}',
        b'{"objects": ' + b"[" * 100_000,
    ],
)
def test_file_of_another_form_is_one_clear_error(here, data):
    receive(here, file_of(here))
    with pytest.raises(InputError) as error:
        receive(here, data)
    assert "partner.json" in str(error.value)
    assert len(known(here)) == 4


def test_huge_bundle_is_refused(here):
    with pytest.raises(InputError, match="several smaller"):
        receive(here, json.dumps({"objects": [{}] * 100_001}).encode())
    with pytest.raises(InputError, match="several smaller"):
        receive(here, b" " * 50_000_001)


@pytest.mark.parametrize("broken", [{"Object": 5}, {"Orgc": None}, {"uuid": "x"}, {"Tag": 7}])
def test_broken_misp_event_is_named(here, broken):
    event = json.loads(misp.event_json(shared_campaign(sharing.salt_id(here)), PARTNER))
    event["Event"] |= broken
    try:
        result = receive(here, json.dumps(event).encode())
    except InputError:
        return
    assert result.invalid
    assert not known(here)


def test_names_are_shown_as_one_printable_line(here):
    without_table = here.model_copy(
        update={"sharing": here.sharing.model_copy(update={"partners": {}})}
    )
    bundle = json.loads(file_of(here))
    for each in bundle["objects"]:
        if each["id"] == PARTNER_ID:
            each["name"] = "<script>\n\x1b[2J" + "x" * 500
    receive(without_table, json.dumps(bundle).encode())
    (name,) = {each.source_name for each in IndicatorStore(here.redis_url).all(NOW)}
    assert name.isprintable()
    assert len(name) <= 80


def test_partner_that_saw_an_indicator_is_counted(here):
    exchange = Exchange(here)
    own = shared_campaign(exchange.salt)
    exchange.state.save_exported("c_1", own, "file")
    seen = {
        "id": "sighting--5b1d7a3e-1f0d-4b3c-9c39-6e6f1f4f2f10",
        "type": "sighting",
        "spec_version": "2.1",
        "created": "2026-03-01T00:00:00.000Z",
        "modified": "2026-03-01T00:00:00.000Z",
        "created_by_ref": PARTNER_ID,
        "sighting_of_ref": own.hashes[0].id,
    }
    result = receive(here, json.dumps({"objects": [seen]}).encode())
    assert result.sighted == {own.hashes[0].id: 1}


def test_results_of_pages_add_up():
    total = Import()
    total.add(Import(added=1, problems=["x"] * 15, sighted={"i": 1}))
    total.add(msgspec.structs.replace(Import(), added=2, problems=["y"] * 15, sighted={"i": 2}))
    assert (total.added, len(total.problems), total.sighted) == (3, 20, {"i": 2})


def test_identity_follows_from_the_name():
    assert identity_id(PARTNER) == PARTNER_ID != identity_id(OTHER)

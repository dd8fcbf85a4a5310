"""Campaigns to partners and back over a TAXII server (medallion), and what never leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.imported import ImportSeen
from monitor.config import Settings
from monitor.errors import ConfigError, InputError
from monitor.store.control import ControlStore
from monitor.store.indicators import IndicatorStore
from monitor.store.redis import RedisStore
from pipelines.sharing import taxii
from pipelines.sharing.exchange import MISP, TAXII, Exchange
from pipelines.sharing.formats import stix
from pipelines.sharing.taxii import PartnerError, Taxii
from tests.support import campaigns, sharing
from tests.support.redis_servers import Authority
from tests.support.servers import Redis
from tests.support.sharing import DAY, NOW, SYSTEM_HASH, TEMPLATE_HASH
from tests.support.taxii import PASSWORD, READ_ONLY, USER, Medallion


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Medallion]:
    with Medallion(tmp_path_factory.mktemp("medallion"), page=3, most_bytes=20_000) as server:
        yield server


@pytest.fixture
def url(server: Medallion) -> str:
    """The URL of an empty collection."""
    return server.fresh()


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    return file


@pytest.fixture
def here(redis_url: str, tmp_path: Path, url: str, password: Path) -> Settings:
    """A deployment that has the campaign `c_fleet`."""
    found = deployment(redis_url, tmp_path, "Here Inc", url, password)
    sharing.save_campaign(found)
    return found


@pytest.fixture
def there(own_redis: Redis, tmp_path: Path, url: str, password: Path) -> Settings:
    """A partner's deployment."""
    with redis.from_url(own_redis.url) as client:
        client.flushdb()
    return deployment(own_redis.url, tmp_path, "There Ltd", url, password)


def deployment(
    redis_url: str, folder: Path, name: str, url: str, password: Path, **changed: Any
) -> Settings:
    login = {"taxii_url": url, "taxii_user": USER, "taxii_password_file": password}
    return sharing.settings(redis_url, folder, name, **{**login, **changed})


def imported(settings: Settings, now: float = NOW) -> dict[str, str]:
    """Imported hashes, by kind."""
    return {each.kind: each.value for each in IndicatorStore(settings.redis_url).all(now)}


def test_campaign_reaches_a_partner(here, there):
    sent = Exchange(here).export("c_fl", "green", TAXII, "stix", NOW)
    assert sent.hashes == {"system": 1, "template": 1}
    result = Exchange(there).poll(NOW)
    assert (result.added, result.problems) == (2, [])
    assert imported(there) == {"system": SYSTEM_HASH, "template": TEMPLATE_HASH}
    (campaign,) = {each.campaign for each in IndicatorStore(there.redis_url).all(NOW)}
    assert campaign == sent.id


def test_second_export_sends_nothing_new_and_second_poll_reads_little(here, there):
    Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW)
    assert Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW + 60).objects == 0
    Exchange(there).poll(NOW)
    state = Exchange(there).state
    with Taxii(there.sharing) as collection:
        assert state.position(collection.url, Exchange(there).salt)
    again = Exchange(there).poll(NOW + 60)
    assert (again.added, again.renewed) == (0, 0)


def test_poll_is_incremental(here, there, monkeypatch):
    monkeypatch.setattr(taxii, "_OVERLAP", taxii.timedelta(0))
    Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW)
    Exchange(there).poll(NOW)
    assert Exchange(there).poll(NOW).others.total() == 0
    assert Exchange(there).poll(NOW, everything=True).unchanged == 2


def test_own_objects_that_come_back_are_ignored(here):
    Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW)
    result = Exchange(here).poll(NOW)
    assert (result.added, result.skipped) == (0, {"own, came back": 2})


def test_revoked_campaign_disappears_at_the_partner(here, there):
    exchange = Exchange(here)
    exchange.export("c_fleet", "green", TAXII, "stix", NOW)
    Exchange(there).poll(NOW)
    exchange.revoke("c_fleet", TAXII, "stix", NOW + 60)
    assert Exchange(there).poll(NOW + 60).revoked == 2
    assert imported(there) == {}
    exchange.export("c_fleet", "green", TAXII, "stix", NOW + 120)
    assert Exchange(there).poll(NOW + 120).added == 2


def test_identifier_that_the_campaign_no_longer_has_is_taken_back(here, there):
    exchange = Exchange(here)
    exchange.export("c_fleet", "green", TAXII, "stix", NOW)
    Exchange(there).poll(NOW)
    with redis.from_url(here.redis_url) as client:
        for key in client.keys("xm:shared:templates:*"):
            client.delete(key)
    assert exchange.export("c_fleet", "green", TAXII, "stix", NOW + 60).hashes == {"system": 1}
    assert Exchange(there).poll(NOW + 60).revoked == 1
    assert imported(there) == {"system": SYSTEM_HASH}


def test_indicator_of_a_partner_is_passed_on_only_as_its_tlp_allows(here, there):
    Exchange(here).export("c_fleet", "amber", TAXII, "stix", NOW)
    sharing.save_campaign(there)
    exchange = Exchange(there)
    exchange.poll(NOW)
    with pytest.raises(InputError, match="2 are held back"):
        exchange.export("c_fleet", "clear", TAXII, "stix", NOW)
    Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW + 60)
    exchange.poll(NOW + 60)
    with pytest.raises(InputError, match="2 are held back"):
        exchange.export("c_fleet", "clear", TAXII, "stix", NOW + 60)
    assert exchange.export("c_fleet", "green", TAXII, "stix", NOW + 60).held_back == 0


def test_nothing_is_exported_as_red(here, tmp_path):
    out = tmp_path / "out.json"
    with pytest.raises(InputError, match="never exported"):
        Exchange(here).export("c_fleet", "red", str(out), "stix", NOW)
    assert not out.exists()


def test_withdrawn_campaign_is_not_exported(here, tmp_path):
    control = ControlStore(here.redis_url)
    control.withdraw("a_1", "c_fleet", "campaign", "critical", "ada", "a class of students")
    with pytest.raises(InputError, match="xm share revoke c_fleet"):
        Exchange(here).export("c_fleet", "amber", str(tmp_path / "out.json"), "stix", NOW)


def test_group_that_is_no_campaign_is_not_exported(here, tmp_path):
    with pytest.raises(InputError, match="no campaign"):
        Exchange(here).export("c_class", "amber", str(tmp_path / "out.json"), "stix", NOW)


def test_common_identifier_does_not_leave(redis_url, tmp_path):
    settings = sharing.settings(redis_url, tmp_path, "Here Inc")
    found = campaigns.partition(settings)
    system = IDENTIFIERS.index("system")
    ordinary = found.population.rows_of(campaigns.ORDINARY)
    found.population._rows["identifiers"][ordinary[:4], system, 1] = campaigns.SYSTEM
    campaigns.save(RedisStore(redis_url, 100), found)
    store = IndicatorStore(redis_url, salt=sharing.salt_id(settings))
    store.remember({("system", campaigns.SYSTEM): SYSTEM_HASH}, NOW)
    with pytest.raises(InputError, match="no identifier that may leave"):
        Exchange(settings).export("c_fleet", "amber", str(tmp_path / "x"), "stix", NOW)


def test_nothing_of_this_deployment_is_in_what_leaves(here, tmp_path):
    exchange, files = Exchange(here), [tmp_path / "out.json", tmp_path / "out.misp.json"]
    for file, format in zip(files, ("stix", "misp"), strict=True):
        exchange.export("c_fleet", "amber", str(file), format, NOW)
    exchange.export("c_fleet", "amber", TAXII, "stix", NOW)
    with Taxii(here.sharing) as collection:
        pushed = json.dumps([page.objects for page in collection.poll("")])
    for text in (*(file.read_text() for file in files), pushed):
        secrets = [*campaigns.FLEET, *campaigns.ORDINARY, "c_fleet", str(campaigns.PAYMENT)]
        assert not [each for each in (*secrets, here.redis_url, sharing.SALT.decode())
                    if each in text]  # fmt: skip
        assert not re.search(r"\b[kaupn]_[0-9a-f]{8,}|\bc_[0-9a-z]+", text)
        assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b", text.replace('"1.0.0', ""))


def test_login_and_collection_that_are_refused_are_named(here, tmp_path, server, url, password):
    wrong = tmp_path / "wrong"
    wrong.write_text("the wrong one")
    cases = {
        "refuses the login": {"taxii_password_file": wrong},
        "does not know the collection": {"taxii_url": url.replace("472c", "0000")},
        "does not allow": {"taxii_url": server.url(READ_ONLY)},
        "cannot be reached": {"taxii_url": "http://127.0.0.1:9/root/collections/x/"},
    }
    for why, changed in cases.items():
        settings = deployment(here.redis_url, tmp_path, "Here Inc", url, password, **changed)
        with pytest.raises(PartnerError, match=why) as error:
            Exchange(settings).export("c_fleet", "green", TAXII, "stix", NOW)
        assert "the wrong one" not in str(error.value)
        assert Exchange(settings).state.exported() == {}


def test_collection_over_tls_needs_the_right_ca(here, tmp_path, password):
    authority = Authority(tmp_path / "ca")
    folder = tmp_path / "tls"
    folder.mkdir()
    with Medallion(folder, certificate=authority.sign("localhost")) as server:
        url = server.fresh()
        untrusted = deployment(here.redis_url, tmp_path, "Here Inc", url, password)
        with pytest.raises(PartnerError, match="XM_SHARING__TAXII_CA_FILE"):
            Exchange(untrusted).poll(NOW)
        trusted = deployment(
            here.redis_url, tmp_path, "Here Inc", url, password,
            taxii_ca_file=authority.certificate,
        )  # fmt: skip
        Exchange(trusted).export("c_fleet", "green", TAXII, "stix", NOW)
        assert Exchange(trusted).poll(NOW).skipped == {"own, came back": 2}


def test_large_campaign_is_sent_in_parts(here):
    store = IndicatorStore(here.redis_url, salt=sharing.salt_id(here))
    values = [f"{i:032x}" for i in range(30)]
    store.add_templates({key: dict.fromkeys(values, NOW) for key in campaigns.FLEET})
    sent = Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW)
    assert sent.hashes["template"] == 31
    assert Exchange(here).poll(NOW).skipped == {"own, came back": 32}


def test_server_that_goes_away_loses_nothing(redis_url, own_redis, tmp_path, password):
    with redis.from_url(own_redis.url) as client:
        client.flushdb()
    with Medallion(tmp_path) as server:
        url = server.fresh()
        here = deployment(redis_url, tmp_path, "Here Inc", url, password)
        there = deployment(own_redis.url, tmp_path, "There Ltd", url, password)
        sharing.save_campaign(here)
        Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW)
        server.stop()
        with pytest.raises(PartnerError):
            Exchange(there).poll(NOW)
        server.start()  # medallion has lost its memory
        assert Exchange(there).poll(NOW).added == 0
        assert Exchange(here).export("c_fleet", "green", TAXII, "stix", NOW + 60).objects > 0
        assert Exchange(there).poll(NOW + 60).added == 2


def test_salt_and_name_are_required(here, tmp_path):
    unsalted = here.model_copy(
        update={"sharing": here.sharing.model_copy(update={"salt_file": None})}
    )
    with pytest.raises(ConfigError, match="XM_SHARING__SALT_FILE"):
        Exchange(unsalted)
    nameless = here.model_copy(update={"sharing": here.sharing.model_copy(update={"name": None})})
    with pytest.raises(ConfigError, match="XM_SHARING__NAME"):
        Exchange(nameless).export("c_fleet", "green", str(tmp_path / "x"), "stix", NOW)


def test_misp_needs_its_server(here):
    with pytest.raises(ConfigError, match="XM_SHARING__MISP_URL"):
        Exchange(here).export("c_fleet", "green", MISP, "misp", NOW)


def test_expired_campaign_is_not_exported(here, tmp_path):
    late = NOW + 2 * DAY
    with redis.from_url(here.redis_url) as client:
        client.delete(*client.keys("xm:shared:*"))
    with pytest.raises(InputError, match="no identifier that may leave"):
        Exchange(here).export("c_fleet", "green", str(tmp_path / "x"), "stix", late)


def see(settings: Settings, members: int = 12) -> None:
    """Let the campaign of a deployment have all imported indicators."""
    found = campaigns.partition(settings)
    found.rounds.campaigns[0].imported = [
        ImportSeen(
            each.id, each.kind, each.value, each.source, "", each.campaign,
            members, NOW - DAY, NOW, 1.0,
        )
        for each in IndicatorStore(settings.redis_url).all(NOW)
    ]  # fmt: skip
    campaigns.save(RedisStore(settings.redis_url, 100), found)


def test_sighting_reaches_the_partner_once(here, there):
    Exchange(here).export("c_fleet", "amber", TAXII, "stix", NOW)
    exchange = Exchange(there)
    exchange.poll(NOW)
    see(there)
    assert exchange.send_sightings(TAXII, NOW).hashes == {"system": 1, "template": 1}
    assert exchange.send_sightings(TAXII, NOW + 60).hashes == {}
    assert set(Exchange(here).poll(NOW + 60).sighted.values()) == {1}
    see(there, members=200)
    assert exchange.send_sightings(TAXII, NOW + 120).hashes == {"system": 1, "template": 1}


def test_sighting_of_what_came_as_amber_goes_back_the_way_it_came(here, there, tmp_path):
    Exchange(here).export("c_fleet", "amber", str(tmp_path / "amber.json"), "stix", NOW)
    exchange = Exchange(there)
    exchange.read_file((tmp_path / "amber.json").read_bytes(), "amber.json", NOW)
    see(there)
    assert exchange.send_sightings(TAXII, NOW).hashes == {}
    out = tmp_path / "sightings.json"
    assert exchange.send_sightings(str(out), NOW).tlp == "amber"
    assert Exchange(here).read_file(out.read_bytes(), "out", NOW).sighted


def test_what_came_as_red_is_never_reported(there, tmp_path):
    exchange = Exchange(there)
    campaign = msgspec.structs.replace(sharing.shared_campaign(exchange.salt), tlp="red")
    objects = stix.campaign_objects(campaign, sharing.PARTNER)
    assert exchange.read_file(stix.bundle(objects), "red.json", NOW).added == 4
    see(there)
    for target in (TAXII, str(tmp_path / "out.json")):
        assert exchange.send_sightings(target, NOW).hashes == {}

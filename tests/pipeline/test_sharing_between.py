"""Two deployments with secrets of their own see one fleet; one warns the other."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis

from monitor.identity import from_settings
from pipelines.sharing.exchange import Exchange
from pipelines.simulation.scenario import Scenario, Simulation
from tests.support.deployments import Deployment
from tests.support.servers import Redis

NOW = time.time()
BEGIN = NOW - 5 * 3_600.0


@pytest.fixture(scope="module")
def hour() -> list[dict[str, Any]]:
    """An hour with two fleets, and enough ordinary keys to show that a network is rare."""
    events = [*Simulation(Scenario(hours=1.0, keys=60, start=BEGIN)).events()]
    random = Random(3)
    events += [
        {
            "ts": BEGIN + 150.0 * (i + random.random()),
            "api_key": f"sk-{n}",
            "prompt": f"What about topic {random.random()} of {n} and {i}?",
            "ip": f"198.51.{n % 250}.{i}",
        }
        for n in range(300)
        for i in range(22)
    ]
    return sorted(events, key=lambda event: event["ts"])


def named(deployment: Deployment, events: list[dict[str, Any]]) -> list[set[str]]:
    """The API keys of the members of each campaign."""
    identity = from_settings(deployment.settings)
    names = {identity.key(event["api_key"]): event["api_key"] for event in events}
    return [{names[key] for key in campaign.named} for campaign in deployment.campaigns()]


def test_partner_recognises_what_another_deployment_has_seen(
    redis_url: str, own_redis: Redis, tmp_path: Path, hour: list[dict[str, Any]]
) -> None:
    salt, file = tmp_path / "salt", tmp_path / "campaign.json"
    salt.write_text("agreed between the partners")
    here = Deployment(redis_url, salt, "Here Inc")
    here.observe(hour)
    campaign = max(here.campaigns(), key=lambda each: len(each.named))
    Exchange(here.settings).export(campaign.id, "green", str(file), "stix", NOW)

    with redis.from_url(own_redis.url) as client:
        client.flushdb()
    there = Deployment(own_redis.url, salt, "There Ltd")
    received = Exchange(there.settings).read_file(file.read_bytes(), file.name, NOW)
    assert received.added > 0
    there.observe(hour)
    found = max(there.campaigns(), key=lambda each: len(each.named))
    assert {each.kind for each in found.imported} >= {"network"}
    assert max(each.nats for each in found.imported) > 1.0
    assert sorted(map(sorted, named(there, hour))) == sorted(map(sorted, named(here, hour)))
    assert not found.named.keys() & campaign.named.keys()  # pseudonyms differ

    shared = file.read_text()
    secrets = {*(event["api_key"] for event in hour), *campaign.named, campaign.id}
    secrets |= {event["ip"] for event in hour}
    secrets |= {text for event in hour if len(text := event.get("prompt", "")) > 20}
    assert not [each for each in secrets if each in shared]

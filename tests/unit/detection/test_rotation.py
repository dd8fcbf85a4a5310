"""Identifiers carry no meaning: consistently renamed identifiers give the same alerts."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from monitor.config import Settings
from monitor.engine import Batch, Engine
from monitor.identity import Identity
from monitor.store.memory import MemoryStore
from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.simulation.users import Event

SECRET = b"known to this test only"
SCENARIO = Scenario(hours=1.5, keys=80, attack_delay=120.0)
RELEASE = SCENARIO.start + 2400.0
FIELDS = (
    *("api_key", "account", "end_user", "payment", "user_agent", "tls_fingerprint"),
    *("model", "asn", "country"),
)
AlertRow = tuple[str, str, str, str, float]  # key, kind, state, severity, detected_at


class Renaming:
    """A random one-to-one renaming of identifiers."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._names: dict[tuple[str, object], str | int] = {}
        self._taken: set[tuple[str, str | int]] = set()

    def __call__(self, field: str, old: object) -> str | int:
        if (field, old) not in self._names:
            name = self._fresh(field)
            while (field, name) in self._taken:
                name = self._fresh(field)
            self._taken.add((field, name))
            self._names[field, old] = name
        return self._names[field, old]

    def _fresh(self, field: str) -> str | int:
        r = self._random
        if field == "asn":
            return r.randrange(1, 1 << 31)
        if field == "network":
            return ".".join(str(r.randrange(1, 255)) for _ in range(3))
        if field.startswith("host"):
            return r.randrange(256)
        return " ".join(f"{r.getrandbits(40):x}" for _ in range(r.randint(1, 4)))

    def rename(self, event: Event) -> Event:
        """The request with renamed identifiers; addresses that shared a network still do."""
        network, _, host = event["ip"].rpartition(".")
        address = f"{self('network', network)}.{self(f'host in {network}', host)}"
        names = {field: self(field, event[field]) for field in FIELDS if field in event}
        return {**event, **names, "ip": address}


@pytest.fixture(scope="module")
def traffic() -> list[Event]:
    """Traffic with a fleet that shares a system prompt and moves to a new model."""
    simulation = Simulation(SCENARIO)
    events = list(simulation.events())
    for event in events:
        if simulation.labels[event["api_key"]].kind == "cot":
            event["system"] = "You are an expert in everything."
            if event["ts"] > RELEASE:
                event["model"] = "meridian-3"
    return events


@pytest.fixture(scope="module")
def alerts(traffic: list[Event]) -> list[AlertRow]:
    return key_alerts(traffic)


def key_alerts(traffic: list[Event]) -> list[AlertRow]:
    """The alerts about keys, in order."""
    identity = Identity(SECRET)
    engine = Engine(Settings(), identity, MemoryStore())
    engine.assign("requests:0")
    values = [msgspec.json.encode(event) for event in traffic]
    alerts = engine.observe(Batch("requests:0", range(len(values)), values)).alerts
    named = {identity.key(event["api_key"]): event["api_key"] for event in traffic}
    return [
        (named[a.subject.id], a.kind, a.state, a.severity, a.detected_at)
        for a in alerts
        if a.subject.type == "api_key"
    ]


def flagged(alerts: list[AlertRow]) -> set[str]:
    return {key for key, _, _, severity, _ in alerts if severity != "info"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_renamed_identifiers_give_the_same_alerts(traffic, alerts, seed):
    renaming = Renaming(seed)
    renamed = key_alerts([renaming.rename(event) for event in traffic])
    assert renamed == [(renaming("api_key", key), *alert) for key, *alert in alerts]


def test_renaming_changes_every_identifier(traffic):
    renaming = Renaming(1)
    for event in traffic[:2_000]:
        renamed = renaming.rename(event)
        assert all(renamed[field] != event[field] for field in (*FIELDS, "ip") if field in event)
        assert renamed["prompt" if "prompt" in event else "messages"]


def test_alerts_are_of_several_kinds_and_keys(alerts):
    assert {kind for _, kind, *_ in alerts} >= {"burst", "elicitation", "pivot", "combined"}
    assert len(flagged(alerts)) > 15


def test_identifiers_changed_per_request_hide_no_key(traffic, alerts):
    fields = ("ip", "user_agent", "tls_fingerprint", "payment", "account", "system")
    changed = [
        {**event, **{field: f"{field} {i}" for field in fields}} for i, event in enumerate(traffic)
    ]
    assert flagged(key_alerts(changed)) >= flagged(alerts)

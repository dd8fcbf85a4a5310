"""Nobody is known by a name: other names for the same things give the same verdicts."""

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
NAMES = (
    *("api_key", "account", "end_user", "payment", "user_agent", "tls_fingerprint"),
    *("model", "system", "asn", "country"),
)
Verdict = tuple[str, str, str, str, float]  # key, kind, state, severity, detected_at


class Names:
    """Other names, by chance: what had one name has one, and what had two has two."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.new: dict[tuple[str, object], str | int] = {}
        self._taken: set[tuple[str, str | int]] = set()

    def __call__(self, field: str, old: object) -> str | int:
        if (field, old) not in self.new:
            name = self._fresh(field)
            while (field, name) in self._taken:
                name = self._fresh(field)
            self._taken.add((field, name))
            self.new[field, old] = name
        return self.new[field, old]

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
        """The request by other names. Who shared a network shares one."""
        network, _, host = event["ip"].rpartition(".")
        address = f"{self('network', network)}.{self(f'host in {network}', host)}"
        names = {field: self(field, event[field]) for field in NAMES if field in event}
        return {**event, **names, "ip": address}


@pytest.fixture(scope="module")
def traffic() -> list[Event]:
    """With a fleet that shares a system prompt and moves to a model on its release."""
    simulation = Simulation(SCENARIO)
    events = list(simulation.events())
    for event in events:
        if simulation.labels[event["api_key"]].kind == "cot":
            event["system"] = "You are an expert in everything."
            if event["ts"] > RELEASE:
                event["model"] = "meridian-3"
    return events


@pytest.fixture(scope="module")
def verdicts(traffic: list[Event]) -> list[Verdict]:
    return judged(traffic)


def judged(traffic: list[Event]) -> list[Verdict]:
    """What is said of keys, in its order."""
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


def accused(verdicts: list[Verdict]) -> set[str]:
    return {key for key, _, _, severity, _ in verdicts if severity != "info"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_names_give_the_same_verdicts_at_the_same_time(traffic, verdicts, seed):
    names = Names(seed)
    again = judged([names.rename(event) for event in traffic])
    assert again == [(names("api_key", key), *said) for key, *said in verdicts]


def test_a_rotation_leaves_no_name_as_it_was(traffic):
    names = Names(1)
    for event in traffic[:2_000]:
        renamed = names.rename(event)
        assert all(renamed[field] != event[field] for field in (*NAMES, "ip") if field in event)
        assert renamed["prompt" if "prompt" in event else "messages"]


def test_the_verdicts_are_of_many_kinds_and_keys(verdicts):
    assert {kind for _, kind, *_ in verdicts} >= {"burst", "elicitation", "pivot", "combined"}
    assert len(accused(verdicts)) > 15


def test_an_address_and_a_system_prompt_for_each_request_hide_nobody(traffic, verdicts):
    once = ("ip", "user_agent", "tls_fingerprint", "payment", "account", "system")
    changed = [
        {**event, **{field: f"{field} {i}" for field in once}} for i, event in enumerate(traffic)
    ]
    assert accused(judged(changed)) >= accused(verdicts)

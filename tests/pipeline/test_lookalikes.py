"""A day of ordinary keys with much in common: none of them is flagged."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.traffic import replay

DAY = Scenario(seed=3, hours=24.0, keys=300, attacks=False, lookalikes=True)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(DAY)


@pytest.fixture(scope="module")
def flagged(simulation: Simulation) -> dict[str, set[str]]:
    """Kinds of alert, warning or worse, by kind of key, on keys and campaigns."""
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    linker = Linker(Settings(), MemoryStore())
    offset = engine.assign("t:0").offset
    found: dict[str, set[str]] = defaultdict(set)
    for batch in messages(simulation.events(), 4_000):
        values = [message.value for message in batch]
        outcome = engine.observe(Batch("t:0", range(offset, offset + len(values)), values))
        offset += len(values)
        alerts = [*outcome.alerts, *replay.link(linker, outcome.fingerprints).alerts]
        for alert in alerts:
            for key in alert.subject.members or [alert.subject.id]:
                if alert.severity != "info":
                    found[simulation.labels[key].kind].add(alert.kind)
    return found


def test_simulation_has_the_documented_number_of_keys(simulation: Simulation) -> None:
    kinds = Counter(label.kind for label in simulation.labels.values())
    assert kinds["customer"] == 60
    assert kinds["classmate"] == kinds["correspondent"] == 40
    assert kinds["library_user"] == 200


@pytest.mark.parametrize("kind", ["customer", "classmate", "correspondent", "library_user"])
def test_lookalike_is_not_flagged(flagged: dict[str, set[str]], kind: str) -> None:
    assert flagged[kind] == set()


def test_lookalikes_share_what_is_documented(
    simulation: Simulation,
) -> None:
    shown: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for event in simulation.events():
        network = event["ip"].rpartition(".")[0]
        shown[simulation.labels[event["api_key"]].kind + " pays"].add((event["payment"], network))
        client = event["user_agent"], event.get("system", "")
        shown[simulation.labels[event["api_key"]].kind + " sends"].add(client)
        if event["ts"] > DAY.start + 3 * 3600:
            break
    assert len(shown["customer pays"]) == 1
    assert len(shown["library_user sends"]) == 1
    assert len(shown["chat_user sends"]) > 1

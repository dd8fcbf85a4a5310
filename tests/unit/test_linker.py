"""The linker: batches, restarts and repeats do not change its campaigns."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.alerting.alerts import Alert
from monitor.batch import Batch
from monitor.campaigns.fingerprint import from_messages, join, to_messages
from monitor.campaigns.population import Population
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import StoreRefusedError
from monitor.identity import Identity
from monitor.linker import Linker, LinkPartition
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from monitor.store.redis import RedisStore
from pipelines.simulation.scenario import Scenario, Simulation, messages

SIMULATION = Simulation(Scenario(hours=1.5, keys=120))
FLEETS = {
    kind: sorted(key for key, label in SIMULATION.labels.items() if label.kind == kind)
    for kind in ("cot", "grader")
}


@pytest.fixture(scope="module")
def stream():
    """The fingerprints of a simulated hour and a half."""
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    engine.assign("t:0")
    values = [message.value for batch in messages(SIMULATION.events()) for message in batch]
    outcome = engine.observe(Batch("t:0", range(len(values)), values))
    return [each.value for each in outcome.fingerprints]


def linker_on(store):
    linker = Linker(Settings(), store)
    linker.assign("f:0")
    return linker


def observe(linker, values, start=0):
    return linker.observe(Batch("f:0", range(start, start + len(values)), values))


def observe_until(linker, stream, end):
    """Observe the messages before `end` that the linker still needs."""
    start = linker.partitions["f:0"].offset
    return observe(linker, stream[start:end], start)


def checkpoint(linker, store):
    written = linker.snapshot()
    store.commit(written)
    linker.commit(written)
    linker.published(written)


@pytest.fixture(scope="module")
def uninterrupted(stream):
    """The outcome of one batch, and the store with its state."""
    store = MemoryStore()
    linker = linker_on(store)
    outcome = observe(linker, stream)
    checkpoint(linker, store)
    checkpoint(linker, store)
    return outcome, store


def kept(store):
    """State and rows, as the next linker would find them."""
    return store.claim("f:0")[1], store.rows("f:0")


def test_linker_finds_both_fleets_and_only_their_keys(uninterrupted):
    outcome, _ = uninterrupted
    members = {tuple(alert.subject.members) for alert in outcome.alerts}
    assert {tuple(FLEETS["cot"]), tuple(FLEETS["grader"])} <= members
    assert all(set(each) <= {*FLEETS["cot"], *FLEETS["grader"]} for each in members)


def test_campaign_alerts_survive_json(uninterrupted):
    outcome, _ = uninterrupted
    written = [msgspec.json.encode(alert) for alert in outcome.alerts]
    assert [msgspec.json.decode(value, type=Alert) for value in written] == outcome.alerts


def test_every_member_gets_a_decision(uninterrupted):
    outcome, _ = uninterrupted
    assert {each.key for each in outcome.decisions} == {*FLEETS["cot"], *FLEETS["grader"]}
    assert {each.origin for each in outcome.decisions} == {"campaign"}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 250), max_size=10), st.data())
def test_batches_and_restarts_do_not_change_campaigns(stream, uninterrupted, cuts, data):
    outcome, before = uninterrupted
    store = MemoryStore()
    linker, alerts, decisions = linker_on(store), [], []
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for end in edges[1:]:
        observed = observe_until(linker, stream, end)
        alerts += observed.alerts
        decisions += observed.decisions
        if data.draw(st.booleans()):
            checkpoint(linker, store)
            linker = linker_on(store)
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert alerts == outcome.alerts
    assert decisions == outcome.decisions
    assert kept(store) == kept(before)


def test_successor_observes_again_what_no_checkpoint_covers(stream, uninterrupted):
    _, before = uninterrupted
    half = len(stream) // 2
    store = MemoryStore()
    linker = linker_on(store)
    observe(linker, stream[:half])
    checkpoint(linker, store)
    observe(linker, stream[half:-20], half)  # lost with the worker
    linker = linker_on(store)
    start = linker.partitions["f:0"].offset - 30
    observe(linker, stream[start:], start)  # read again from an older offset
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert kept(store) == kept(before)


def test_joined_fingerprints_change_no_campaign(stream, uninterrupted):
    store = MemoryStore()
    linker = linker_on(store)
    sizes = itertools.cycle((1, 40, 7))
    rest, joined = list(stream), []
    while rest:
        size = next(sizes)
        joined.append(join(rest[:size]))
        del rest[:size]
    out = observe(linker, joined)
    assert out.alerts == uninterrupted[0].alerts
    assert out.events == len(stream)
    checkpoint(linker, store)
    assert store.rows("f:0") == uninterrupted[1].rows("f:0")


def test_invalid_part_of_a_joined_message_is_rejected_alone(stream):
    out = observe(linker_on(MemoryStore()), [stream[0], join([*stream[1:3], b"no", stream[3]])])
    assert [(each.offset, each.rejection.element) for each in out.rejected] == [(1, 2)]
    assert out.events == 4


def test_repeated_fingerprints_change_no_campaign(stream, uninterrupted):
    outcome, before = uninterrupted
    store = MemoryStore()
    linker = linker_on(store)
    twice = [*stream[:150], *stream[60:]]
    alerts = observe(linker, twice).alerts
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert alerts == outcome.alerts
    assert store.rows("f:0") == before.rows("f:0")


@pytest.mark.kafka
def test_redis_and_memory_store_the_same_campaigns(stream, uninterrupted, redis_url):
    _, before = uninterrupted
    store = RedisStore(redis_url, 100)
    for end in range(60, len(stream) + 60, 60):
        linker = linker_on(store)
        observe_until(linker, stream, end)
        checkpoint(linker, store)
    checkpoint(linker, store)
    assert kept(store) == kept(before)


def test_population_ignores_older_fingerprints(stream):
    fingerprints, keys, _ = from_messages(stream)
    latest = {key: at for at, key in enumerate(keys)}
    population = Population(1_000)
    population.update(fingerprints, keys)
    before = population.snapshot()
    old = [at for at, key in enumerate(keys) if at < latest[key]]
    population.update(fingerprints[old], [keys[at] for at in old])
    assert {**before, **population.snapshot()} == before


def test_population_takes_several_fingerprints_of_a_key(stream):
    fingerprints, keys, _ = from_messages(stream)
    together, singly = Population(1_000), Population(1_000)
    together.update(fingerprints, keys)
    for at in range(len(keys)):
        singly.update(fingerprints[at : at + 1], keys[at : at + 1])
    assert together.snapshot() == singly.snapshot()
    assert np.array_equal(together.direction, singly.direction)


def test_rollback_puts_everything_into_the_next_snapshot(stream, uninterrupted):
    _, before = uninterrupted
    store = MemoryStore()
    linker = linker_on(store)
    half = len(stream) // 2
    observe(linker, stream[:half])
    linker.rollback(linker.snapshot())
    observe(linker, stream[half:], half)
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert kept(store) == kept(before)


def test_unreadable_fingerprint_is_rejected_alone(stream, uninterrupted):
    outcome, _ = uninterrupted
    observed = observe(linker_on(MemoryStore()), [b"", *stream[:9], b"\x01\x00no", *stream[9:]])
    assert [each.offset for each in observed.rejected] == [0, 10]
    assert observed.alerts == outcome.alerts


def test_unknown_state_version_cannot_be_retried():
    store = MemoryStore()
    store.commit(Checkpoint(partitions={"f:0": msgspec.msgpack.encode([99, 0, 0.0])}))
    with pytest.raises(StoreRefusedError, match="f:0 in the store has version 99"):
        linker_on(store)


def test_state_of_version_1_is_restored():
    partition = LinkPartition("f:0", 1, Settings())
    partition.restore(msgspec.msgpack.encode([1, 7, 1_772_409_600.0, [], []]))
    assert (partition.offset, partition.watermark) == (7, 1_772_409_600.0)


def test_fingerprint_with_a_fast_clock_changes_no_campaign(stream, uninterrupted):
    fingerprints, _, _ = from_messages(stream)
    fast = fingerprints[-1:].copy()
    fast["ts"] += 6 * 3_600.0
    fast["sketch_prompts"] = 0  # not eligible as a member
    (message,) = to_messages(fast, ["sk-fast"])
    half = len(stream) // 2
    outcome = observe(linker_on(MemoryStore()), [*stream[:half], message, *stream[half:]])
    assert [(a.state, a.subject.members, a.detected_at) for a in outcome.alerts] == [
        (a.state, a.subject.members, a.detected_at) for a in uninterrupted[0].alerts
    ]

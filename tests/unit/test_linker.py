"""The linker: what comes of a stream of fingerprints, however it is cut and whoever is killed."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.alerting.alerts import Alert
from monitor.batch import Batch
from monitor.campaigns.fingerprint import from_messages
from monitor.campaigns.population import Population
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
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
    """What an engine says of the keys of a simulated hour and a half."""
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    engine.assign("t:0")
    values = [message.value for batch in messages(SIMULATION.events()) for message in batch]
    outcome = engine.observe(Batch("t:0", range(len(values)), values))
    return [said.value for said in outcome.fingerprints]


def linker_on(store):
    linker = Linker(Settings(), store)
    linker.assign("f:0")
    return linker


def observe(linker, values, start=0):
    return linker.observe(Batch("f:0", range(start, start + len(values)), values))


def checkpoint(linker, store):
    written = linker.snapshot()
    store.commit(written)
    linker.commit(written)
    linker.published(written)


@pytest.fixture(scope="module")
def undisturbed(stream):
    """What comes of it in one batch, and the store that holds it."""
    store = MemoryStore()
    linker = linker_on(store)
    outcome = observe(linker, stream)
    checkpoint(linker, store)
    checkpoint(linker, store)
    return outcome, store


def kept(store):
    """State and rows, as the next linker would find them."""
    return store.claim("f:0")[1], store.rows("f:0")


def test_the_fleets_are_campaigns_and_hold_their_keys_and_no_other(undisturbed):
    outcome, _ = undisturbed
    members = {tuple(alert.subject.members) for alert in outcome.alerts}
    assert {tuple(FLEETS["cot"]), tuple(FLEETS["grader"])} <= members
    assert all(set(each) <= {*FLEETS["cot"], *FLEETS["grader"]} for each in members)


def test_what_is_said_of_a_campaign_is_read_as_it_was_written(undisturbed):
    outcome, _ = undisturbed
    written = [msgspec.json.encode(alert) for alert in outcome.alerts]
    assert [msgspec.json.decode(value, type=Alert) for value in written] == outcome.alerts


def test_members_are_decided_on(undisturbed):
    outcome, _ = undisturbed
    assert {each.key for each in outcome.decisions} == {*FLEETS["cot"], *FLEETS["grader"]}
    assert {each.origin for each in outcome.decisions} == {"campaign"}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 250), max_size=10), st.data())
def test_neither_batches_nor_restarts_change_a_campaign(stream, undisturbed, cuts, data):
    outcome, before = undisturbed
    store = MemoryStore()
    linker, alerts, decisions = linker_on(store), [], []
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in itertools.pairwise(edges):
        observed = observe(linker, stream[start:end], start)
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


def test_what_is_not_in_the_checkpoint_is_observed_again_and_no_id_changes(stream, undisturbed):
    _, before = undisturbed
    half = len(stream) // 2
    store = MemoryStore()
    linker = linker_on(store)
    observe(linker, stream[:half])
    checkpoint(linker, store)
    observe(linker, stream[half:-20], half)  # lost with the worker
    linker = linker_on(store)
    observe(linker, stream[half - 30 :], half - 30)  # read again from an older offset
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert kept(store) == kept(before)


def test_fingerprints_that_a_killed_worker_sent_twice_change_no_campaign(stream, undisturbed):
    outcome, before = undisturbed
    store = MemoryStore()
    linker = linker_on(store)
    twice = [*stream[:150], *stream[60:]]
    alerts = observe(linker, twice).alerts
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert alerts == outcome.alerts
    assert store.rows("f:0") == before.rows("f:0")


@pytest.mark.kafka
def test_redis_gives_back_the_campaigns_that_memory_does(stream, undisturbed, redis_url):
    _, before = undisturbed
    store = RedisStore(redis_url, 100)
    for start in range(0, len(stream), 60):
        linker = linker_on(store)
        observe(linker, stream[start : start + 60], start)
        checkpoint(linker, store)
    checkpoint(linker, store)
    assert kept(store) == kept(before)


def test_a_fingerprint_that_comes_after_a_later_one_of_its_key_changes_nothing(stream):
    said, keys, _ = from_messages(stream)
    latest = {key: at for at, key in enumerate(keys)}
    population = Population(1_000)
    population.update(said, keys)
    before = population.snapshot()
    old = [at for at, key in enumerate(keys) if at < latest[key]]
    population.update(said[old], [keys[at] for at in old])
    assert {**before, **population.snapshot()} == before


def test_a_key_that_speaks_more_than_once_in_a_batch_is_taken_as_in_many(stream):
    said, keys, _ = from_messages(stream)
    together, singly = Population(1_000), Population(1_000)
    together.update(said, keys)
    for at in range(len(keys)):
        singly.update(said[at : at + 1], keys[at : at + 1])
    assert together.snapshot() == singly.snapshot()
    assert np.array_equal(together.direction, singly.direction)


def test_a_checkpoint_that_the_store_refuses_is_in_the_next(stream, undisturbed):
    _, before = undisturbed
    store = MemoryStore()
    linker = linker_on(store)
    half = len(stream) // 2
    observe(linker, stream[:half])
    linker.rollback(linker.snapshot())
    observe(linker, stream[half:], half)
    checkpoint(linker, store)
    checkpoint(linker, store)
    assert kept(store) == kept(before)


def test_what_is_no_fingerprint_is_rejected_and_costs_its_neighbours_nothing(stream, undisturbed):
    outcome, _ = undisturbed
    observed = observe(linker_on(MemoryStore()), [b"", *stream[:9], b"\x01\x00no", *stream[9:]])
    assert [each.offset for each in observed.rejected] == [0, 10]
    assert observed.alerts == outcome.alerts

"""Campaigns do not depend on which partition of requests is observed first."""

import random
from itertools import chain

import pytest

from monitor.batch import Batch
from monitor.campaigns.order.progress import PartitionProgress, Progress, encode
from monitor.campaigns.order.sources import GRACE
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.kafka.partitioner import partition_of
from pipelines.simulation.scenario import Scenario, Simulation, messages

COUNT, TOPIC = 4, "fingerprints:0"
START = 1_700_000_400.0  # a round


@pytest.fixture(scope="module")
def requests():
    """Simulated requests, the key of each with its value."""
    simulation = Simulation(Scenario(hours=1.5, keys=120))
    return [each for batch in messages(simulation.events()) for each in batch]


def observed(requests, numbers, size=150):
    """The fingerprints of partitions of requests, in batches, each with the progress after it."""
    batches = [[] for _ in range(numbers)]
    for number, batch in enumerate(batches):
        engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
        partition = engine.assign(f"requests:{number}")
        values = [each.value for each in requests if partition_of(each.key, numbers) == number]
        for start in range(0, len(values), size):
            part = values[start : start + size]
            out = engine.observe(Batch(partition.name, range(start, start + len(part)), part))
            caught_up = partition.offset == len(values)
            report = PartitionProgress(number, partition.watermark, partition.offset, caught_up)
            batch.append(([each.value for each in out.fingerprints], report))
    return batches


def link(order, numbers, store=None):
    """The campaign alerts of a linker that gets batches of partitions in some order."""
    linker, alerts, at = Linker(Settings(), store or MemoryStore()), [], 1_000.0
    last = {}
    values = [encode(Progress("requests", numbers, at, []))]
    for fingerprints, report in order:
        at, last[report.number] = at + 0.1, report
        values += [*fingerprints, encode(Progress("requests", numbers, at, [report]))]
    for _ in range(2):
        at += GRACE
        values.append(encode(Progress("requests", numbers, at, list(last.values()))))
    linker.assign(TOPIC)
    alerts = linker.observe(Batch(TOPIC, range(len(values)), values)).alerts
    return [(a.id, a.state, a.detected_at, a.subject.members, a.evidence) for a in alerts]


@pytest.fixture(scope="module")
def batches(requests):
    return observed(requests, COUNT)


@pytest.fixture(scope="module")
def replayed(requests):
    """The alerts of a single partition."""
    return link(chain.from_iterable(observed(requests, 1)), 1)


def by_turns(batches):
    """Batches of partitions as workers of the same speed observe them."""
    queues = [list(each) for each in batches]
    return [queue.pop(0) for _ in range(max(map(len, queues))) for queue in queues if queue]


def shuffled(batches):
    chosen, queues = random.Random(4), [list(each) for each in batches]
    while any(queues):
        yield chosen.choice([queue for queue in queues if queue]).pop(0)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(chain.from_iterable, id="one after the other"),
        pytest.param(lambda batches: chain.from_iterable(batches[::-1]), id="the last one first"),
        pytest.param(by_turns, id="by turns"),
        pytest.param(shuffled, id="shuffled"),
    ],
)
def test_campaigns_are_those_of_a_single_partition(batches, replayed, order):
    assert replayed
    assert link(order(batches), COUNT) == replayed

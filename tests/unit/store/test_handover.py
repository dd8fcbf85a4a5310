"""An upgrade in mid-stream: this version goes on with what the one before has left in the store.

The file was written by commit d87d63e (28 November 2026), see `tests.support.handover`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monitor.alerting.alerts import Alert
from monitor.campaigns.fingerprint import from_messages
from monitor.config import Settings
from monitor.linker import LinkPartition
from monitor.records.migrations import read
from monitor.store.memory import MemoryStore
from tests.support.handover import LINKED, PARTITION, Half, load, observe, stream

Sent = tuple[str, str, str, float]


@pytest.fixture(scope="module")
def values() -> list[bytes]:
    return stream()


@pytest.fixture
def half() -> Half:
    return load()


def sent(alerts: Sequence[Alert]) -> list[Sent]:
    return [(alert.id, alert.state, alert.severity, alert.detected_at) for alert in alerts]


def requests(store: MemoryStore) -> int:
    return sum(int(read(record)["requests"]) for record in store.records.values())


def test_earlier_release_has_left_records_and_open_alerts(half: Half):
    assert len(half.store.records) > 40
    assert len({alert.id for alert in half.alerts}) > 20


def test_upgrade_loses_and_repeats_no_alert(half: Half, values: list[bytes]):
    whole = observe(MemoryStore(), values, 0)
    rest = observe(half.store, values[half.offset :], half.offset)
    assert sorted(sent(half.alerts) + sent(rest.alerts)) == sorted(sent(whole.alerts))
    assert sent(rest.alerts)


def test_upgrade_counts_every_request_once(half: Half, values: list[bytes]):
    whole = MemoryStore()
    observe(whole, values, 0)
    observe(half.store, values[half.offset :], half.offset)
    assert requests(half.store) == requests(whole)


def test_upgrade_skips_requests_of_the_last_checkpoint(half: Half, values: list[bytes]):
    before = requests(half.store)
    again = half.offset - 1000
    rest = observe(half.store, values[again : half.offset], again)
    assert not rest.alerts
    assert requests(half.store) == before


def test_earlier_fingerprints_and_rows_are_read(half: Half):
    _, keys, which = from_messages(half.fingerprints)
    assert len(keys) == len(which) == len(half.fingerprints)
    shard = LinkPartition(LINKED, 0, Settings())
    shard.restore(half.store._partitions[LINKED])
    shard.population.load(half.store.rows(LINKED))
    assert len(shard.population) == len(half.store.rows(LINKED)) > 10
    assert PARTITION in half.store._partitions

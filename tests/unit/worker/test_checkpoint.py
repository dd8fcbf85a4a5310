"""Early checkpoints: alerts and decisions of a busy stream do not wait for its records."""

from __future__ import annotations

import time

import pytest

from monitor.config import Settings
from monitor.errors import FencedError, StoreUnavailableError
from pipelines.worker import checkpoint
from tests.support.requests import elicitor, request
from tests.support.stores import decision_in
from tests.support.watching import NAME, App, Event, Kafka, Unreliable, engine_on, watch_on

ROWS = 100  # in memory: one changed record is many enough to wait, 25 are too many


class Busy:
    """A worker with one full checkpoint, whose records may wait from now on.

    Attributes:
        events: that it has observed.
    """

    def __init__(self) -> None:
        self.kafka, self.store = Kafka(), Unreliable()
        self.app = App(self.kafka)
        self.engine = engine_on(self.store, rows=ROWS)
        self.watch = watch_on(self.app, self.store, self.engine)
        self.events: list[Event] = []
        self._offset = 0

    async def observe(self, *requests: bytes) -> None:
        self.events.append(Event(self._offset, list(requests), float(int(time.time()))))
        self._offset += len(requests)
        await self.watch.observe(self.events[-1])

    async def checkpoint(self) -> bool:
        return await self.watch.checkpoint(may_be_early=True)

    @property
    def alerts(self) -> list[bytes]:
        """Sent to Kafka."""
        return [each.value for each in self.kafka.sent if each.topic == Settings().topics.alerts]


@pytest.fixture
async def busy(monkeypatch: pytest.MonkeyPatch) -> Busy:
    monkeypatch.setattr(checkpoint, "RECORDS_SECONDS", 1e9)
    worker = Busy()
    await worker.observe(request("sk-1"))
    assert await worker.checkpoint()
    assert worker.store.records.keys() == {"sk-1"}
    return worker


async def test_early_checkpoint_has_alerts_and_decisions_but_no_records(busy: Busy) -> None:
    await busy.observe(*elicitor())
    assert await busy.checkpoint()
    assert busy.alerts
    assert decision_in(busy.store, "sk-cot") is not None
    assert busy.store.records.keys() == {"sk-1"}
    assert engine_on(busy.store).assign(NAME).offset == 1
    assert [event.acked for event in busy.events] == [True, False]


async def test_successor_repeats_what_an_early_checkpoint_sent(busy: Busy) -> None:
    await busy.observe(*elicitor())
    assert await busy.checkpoint()
    sent, decision = busy.alerts, decision_in(busy.store, "sk-cot")
    busy.kafka.sent.clear()
    successor = watch_on(busy.app, busy.store, engine_on(busy.store))
    await successor.observe(Event(1, elicitor(), float(int(time.time()))))
    assert await successor.checkpoint()
    assert busy.alerts == sent
    repeated = decision_in(busy.store, "sk-cot")
    assert decision is not None
    assert repeated is not None
    assert (repeated.action, repeated.made_at) == (decision.action, decision.made_at)


async def test_next_full_checkpoint_sends_no_alert_again(busy: Busy) -> None:
    await busy.observe(*elicitor())
    assert await busy.checkpoint()
    sent = busy.alerts
    assert await busy.watch.checkpoint()
    assert busy.alerts == sent
    assert busy.store.records.keys() == {"sk-1", "sk-cot"}
    assert all(event.acked for event in busy.events)
    assert engine_on(busy.store).assign(NAME).outbox == []


async def test_fenced_worker_sends_no_alert_early(busy: Busy) -> None:
    await busy.observe(*elicitor())
    busy.store.claim(NAME)
    assert not await busy.checkpoint()
    assert busy.alerts == []
    assert [type(error) for error in busy.app.crashes] == [FencedError]


async def test_failed_early_checkpoint_is_retried_in_full(busy: Busy) -> None:
    await busy.observe(*elicitor())
    busy.store.error = StoreUnavailableError("away")
    assert not await busy.checkpoint()
    assert busy.alerts == []
    busy.store.error = None
    assert await busy.checkpoint()
    assert busy.alerts
    assert decision_in(busy.store, "sk-cot") is not None
    assert busy.store.records.keys() == {"sk-1", "sk-cot"}


async def test_records_of_an_idle_stream_do_not_wait(busy: Busy) -> None:
    await busy.observe(request("sk-2"))
    for keys in ({"sk-1"}, {"sk-1", "sk-2"}):
        assert await busy.checkpoint()
        assert busy.store.records.keys() == keys


async def test_records_do_not_fill_the_memory_while_they_wait(busy: Busy) -> None:
    await busy.observe(*(request(f"sk-{n}") for n in range(ROWS // 4)))
    assert await busy.checkpoint()
    assert len(busy.store.records) == ROWS // 4


async def test_records_wait_no_longer_than_they_may(
    busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy.observe(request("sk-2"))
    monkeypatch.setattr(checkpoint, "RECORDS_SECONDS", 0.0)
    assert await busy.checkpoint()
    assert busy.store.records.keys() == {"sk-1", "sk-2"}

"""A worker knows what people have withdrawn before it observes anything."""

from __future__ import annotations

import asyncio

import pytest

from monitor.alerting.enforcement import Cleared
from monitor.config import Settings
from monitor.errors import StoreError, StoreRefusedError, StoreUnavailableError
from monitor.operator import Withdrawn
from monitor.store.memory import MemoryStore
from pipelines.worker.watch import Watch
from tests.support.requests import elicitor
from tests.support.watching import TOPIC, App, Event, Kafka, Stream, engine_on

EVERY_KIND = dict.fromkeys(("elicitation", "combined", "harvest", "automation"), Cleared(3))


async def alerts_after(*answers: Withdrawn | StoreError) -> set[str]:
    """The kinds of alerts of a worker that starts while Redis answers one after the other."""
    left, store = list(answers), MemoryStore()
    app = App(Kafka())
    engine = engine_on(store)

    def read() -> Withdrawn:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    watch = Watch(app, engine, store, Settings().topics, TOPIC, withdrawn=read)
    following = asyncio.create_task(watch.follow_withdrawals(0.01))
    await watch.consume(Stream([Event(0, elicitor(count=40))]))
    app.should_stop = True
    await following
    return {alert.kind for alert in engine.outputs().alerts}


async def test_new_worker_opens_no_withdrawn_alert() -> None:
    away = StoreUnavailableError("Redis is away.")
    assert await alerts_after(away, away, {"sk-cot": EVERY_KIND}) == set()


@pytest.mark.parametrize("answer", [{}, StoreRefusedError("A newer version wrote it.")])
async def test_worker_observes_once_redis_has_answered(answer: Withdrawn | StoreError) -> None:
    assert "elicitation" in await alerts_after(answer)

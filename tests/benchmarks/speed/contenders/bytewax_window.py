"""Bytewax counting by key in a window of one minute of event time.

Configuration: batches of 50,000 (with 20,000 keys four times as fast as the default of 1,000),
orjson, epochs of an hour and no recovery store, so that no state is copied, no wait for late events
(those of a key are in order), and one worker. The windows are discarded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from tests.benchmarks.speed.contenders.meter import Meter


class _Nowhere(StatelessSinkPartition[Any], DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Nowhere:
        return self

    def write_batch(self, items: list[Any]) -> None:
        pass


def run(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    def event_time(event: Any) -> datetime:
        meter.add()  # the window operator calls this once per event
        return datetime.fromtimestamp(event["ts"], UTC)

    def decoded(message: Any) -> Any:
        nonlocal begun
        if not begun:
            begun = True
            meter.to_the_end()
        return orjson.loads(message.value)

    begun = False
    flow = Dataflow("count")
    messages = op.input("kafka", flow, KafkaSource([kafka], [topic], batch_size=50_000))
    events = op.map("decode", messages, decoded)
    counts = windowing.count_window(
        "count",
        events,
        windowing.EventClock(event_time, wait_for_system_duration=timedelta(0)),
        windowing.TumblingWindower(timedelta(minutes=1), align_to=datetime(2026, 1, 1, tzinfo=UTC)),
        key=lambda event: event["api_key"],
    )
    op.output("nowhere", counts.down, _Nowhere())
    run_main(flow, epoch_interval=timedelta(hours=1))

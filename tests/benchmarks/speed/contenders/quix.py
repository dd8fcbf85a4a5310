"""Quix Streams counting by key in a window of one minute of event time, its state in RocksDB.

The fastest fair configuration: no changelog topic (state would not survive loss of the machine),
windows emitted when they close instead of on each update, nothing produced.
"""

from __future__ import annotations

import tempfile
import uuid
from datetime import timedelta
from typing import Any

from quixstreams import Application

from tests.benchmarks.speed.contenders.meter import Meter


def run(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    app = Application(
        kafka,
        consumer_group=f"quix-{uuid.uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="quix-"),
        use_changelog_topics=False,
        consumer_extra_config={"max.partition.fetch.bytes": 4 << 20},
        loglevel="WARNING",
    )

    def event_time(value: Any, headers: Any, timestamp: float, kind: Any) -> int:
        return int(value["ts"] * 1000)

    def done(value: Any) -> None:
        meter.add()

    requests = app.topic(topic, value_deserializer="json", timestamp_extractor=event_time)
    stream = app.dataframe(requests)
    stream.tumbling_window(timedelta(minutes=1)).count().final()
    stream.update(done)
    app.run()

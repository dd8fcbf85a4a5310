"""Live equals replay: workers that share eight partitions find what a replay finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from monitor.alerting.alerts import Alert
from monitor.identity import from_settings
from monitor.requests.decoder import Decoder
from pipelines.simulation.scenario import Scenario
from pipelines.traffic.producer import Message
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import replay_recording
from tests.support.programs import Worker
from tests.support.servers import Redis
from tests.support.workers import another_worker, fill, linker_results, read_topic, traffic


def facts(alert: Alert) -> tuple[Any, ...]:
    """What must be the same: the alert, its time and what it says."""
    return (alert.id, alert.state, alert.severity, alert.detected_at, alert.subject, alert.evidence)


def replayed(worker: Worker, stream: list[Message], file: Path) -> list[Alert]:
    """The alerts of a replay with the settings of a worker."""
    file.write_bytes(b"\n".join(message.value for message in stream))
    alerts: list[Alert] = []
    replay_recording(
        Recording([str(file)], Decoder.of(worker.settings)),
        worker.settings,
        from_settings(worker.settings),
        on_outcome=lambda outcome: alerts.extend(outcome.alerts),
    )
    return alerts


def test_workers_that_catch_up_find_what_a_replay_finds(
    kafka: str, own_redis: Redis, tmp_path: Path
) -> None:
    first = Worker(tmp_path / "first", kafka, own_redis.url, XM_TOPICS__PARTITIONS="8")
    stream = sorted(
        traffic(Scenario(hours=1.0, keys=120)),
        key=lambda each: msgspec.json.decode(each.value)["ts"],
    )
    with first:
        fill(first, stream[: len(stream) // 2])
        with another_worker(first, tmp_path / "second"):
            fill(first, stream[len(stream) // 2 :])
            linker_results(first)
            topic = read_topic(first, first.settings.topics.alerts)
    live = [msgspec.json.decode(record.value, type=Alert) for record in topic]
    expected = replayed(first, stream, tmp_path / "hour.jsonl")
    assert {alert.kind for alert in expected} >= {"campaign", "elicitation"}
    assert {msgspec.json.encode(facts(each)) for each in live} == {
        msgspec.json.encode(facts(each)) for each in expected
    }

"""A withdrawn alert resolves, stays closed, and its decision counts for nothing."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from monitor.alerting.alerts import Alert
from monitor.alerting.enforcement import effective
from monitor.identity import from_settings
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from tests.support import traffic
from tests.support.programs import Worker
from tests.support.workers import read_topic, requests_read, until


def alerts_on(worker: Worker, key: str) -> list[Alert]:
    records = read_topic(worker, worker.settings.topics.alerts)
    alerts = [msgspec.json.decode(record.value, type=Alert) for record in records]
    return [alert for alert in alerts if alert.subject.id == key]


def observe(worker: Worker, begin: float) -> None:
    """Send a minute of traffic and wait until the worker has observed it."""
    before, minute = requests_read(worker), traffic.minute(begin)
    traffic.send(worker.settings.kafka, worker.requests, minute)
    until(lambda: requests_read(worker) == before + len(minute) - 10)


def test_worker_resolves_a_withdrawn_alert_and_keeps_it_closed(
    kafka: str, redis_url: str, tmp_path: Path
) -> None:
    with Worker(tmp_path / "worker", kafka, redis_url) as worker:
        begin = time.time() - 300.0
        key = from_settings(worker.settings).key(traffic.EXTRACTING)
        store, control = RedisStore(redis_url, 100), ControlStore(redis_url)
        observe(worker, begin)
        until(lambda: {each.kind for each in alerts_on(worker, key)} >= {"elicitation"})
        opened = {alert.kind: alert for alert in alerts_on(worker, key)}
        for alert in opened.values():
            control.withdraw(alert.id, key, alert.kind, "critical", "ann", "An evaluation of ours.")
        applies = effective(store.in_force([key])[0], control.read(), time.time(), shadow=False)
        assert (applies.action, applies.would_be, applies.why) == ("observe", "block", "withdrawn")

        def resolved() -> set[str]:
            return {alert.id for alert in alerts_on(worker, key) if alert.state == "resolved"}

        until(lambda: resolved() == {alert.id for alert in opened.values()})
        observe(worker, begin + 60.0)
    later = [alert for alert in alerts_on(worker, key) if alert.kind in opened]
    assert later[-1].state == "resolved"

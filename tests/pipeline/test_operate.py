"""A worker in operation: its status, what the doctor finds, and a key that is erased."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from monitor.identity import from_settings
from monitor.records.migrations import read
from monitor.records.profile import blank
from monitor.store.alert_book import AlertBook
from monitor.store.redis import RedisStore
from pipelines.demo.embedded import free_port
from pipelines.health.kafka_checks import check_kafka
from pipelines.health.status import read_status
from pipelines.simulation.scenario import Simulation
from tests.support.commands import Xm
from tests.support.programs import Worker
from tests.support.servers import Redis
from tests.support.workers import HOUR, fill, requests_read, traffic, until

LABELS = Simulation(HOUR).labels
COT = next(name for name, label in LABELS.items() if label.kind == "cot")
ROLES = {"watch": 1, "link": 1, "deliver": 1, "decide": 1}


@pytest.fixture(scope="module")
def worker(
    kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker that has read an hour, and whose only receiver is away."""
    stream, folder = traffic(), tmp_path_factory.mktemp("operate") / "worker"
    away = f"http://127.0.0.1:{free_port()}"
    with Worker(folder, kafka, own_redis.url, XM_RECEIVERS__ALERTMANAGER_URL=away) as started:
        fill(started, stream)
        until(lambda: requests_read(started) == len(stream))
        yield started


def test_status_shows_a_running_worker(worker: Worker, xm: Xm) -> None:
    settings = worker.settings

    def reported() -> bool:
        found = read_status(settings)
        return (
            {role.role: role.alive for role in found.roles} == ROLES
            and "critical" in found.open_alerts.get("elicitation", {})
            and not all(receiver.up for receiver in found.receivers)
            and found.roles[0].clock > 0
        )

    until(reported)
    ended = xm("status", "--json", **worker.environment, XM_DECISIONS__SHADOW="false")
    assert ended.status == 1
    found = json.loads(ended.out)
    assert found["mode"].startswith("shadow mode")  # of the workers, not of this command
    assert found["verdict"].startswith("DEGRADED: The receiver alertmanager does not take alerts")
    assert found["roles"][0]["partitions"] == 1
    assert {each["group"] for each in found["processes"]} >= {settings.group}
    assert settings.identity_secret is not None
    assert settings.identity_secret.get_secret_value() not in ended.out


def test_doctor_finds_nothing_else_wrong(worker: Worker, xm: Xm) -> None:
    settings = worker.settings

    def offsets_are_committed() -> bool:
        states = {each.name: each.state for each in check_kafka(settings, None)}
        return states["role watch"] == states["role link"] == "ok"

    until(offsets_are_committed)
    ended = xm("doctor", "--json", **worker.environment)
    failed = {line["name"] for line in json.loads(ended.out) if line["state"] == "failed"}
    assert failed <= {"receiver alertmanager", "alertmanager", "role deliver"}
    assert "alertmanager" in failed
    assert ended.status == 1


def test_erased_key_is_forgotten_everywhere(worker: Worker, xm: Xm) -> None:
    settings = worker.settings
    key = from_settings(settings).key(COT)
    book, store = AlertBook(settings.redis_url), RedisStore(settings.redis_url, 100)
    until(lambda: any(entry.alert.subject.id == key for entry in book.entries()))
    ended = xm(
        "keys", "forget", key, "--why", "INC-7", "--who", "ann", "--wait", "2m", "--json",
        **worker.environment,
    )  # fmt: skip
    found = json.loads(ended.out)
    assert (ended.status, found["waiting"]) == (0, [])
    assert len(found["forgotten"]) == 2
    assert found["erased"]["records"] >= 1

    def left() -> list[str]:
        """Where the key is still."""
        (record,) = store.load([key])
        topics = settings.topics.requests, settings.topics.fingerprints
        states = {topic: store.state(f"{topic}:0") or b"" for topic in topics}
        found = [topic for topic, state in states.items() if key.encode() in state]
        found += ["record"] if record is not None and read(record) != blank() else []
        found += ["row"] if key in store.rows(f"{settings.topics.fingerprints}:0") else []
        return found + ["decision" for each in store.in_force([key])[0] if each]

    for _ in range(600):
        if not left():
            break
        time.sleep(0.1)
    assert left() == []
    audit = json.loads(xm("audit", "--json", **worker.environment).out)
    assert [each["what"] for each in audit if each["subject"] == key] == ["forget"]

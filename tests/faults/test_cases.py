"""Cases survive a kill -9, a rebalance and a failover: whole, and nothing is there twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
import redis
from kafka import KafkaProducer

from monitor.alerting.alerts import Alert
from monitor.alerting.changes import Change
from monitor.config import Cases
from monitor.evidence.chain import check, read_entry
from monitor.evidence.entries import AlertSeen, Changed, Noted
from monitor.evidence.keys import new_key, ring_of
from monitor.evidence.store import VERSION_KEY
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases.access import case_store
from pipelines.cases.archive import TURN_KEY
from tests.support import campaigns
from tests.support.cases import campaign_alert, key_alert
from tests.support.programs import Worker, compile_kernels
from tests.support.redis_servers import Redis
from tests.support.redis_store import Start
from tests.support.servers import Server
from tests.support.workers import another_worker, metrics, read_topic, until

FLEET = campaigns.FLEET


@pytest.fixture
def key(tmp_path: Path) -> Path:
    key = tmp_path / "case.pem"
    new_key(Cases(key_file=key))
    return key


def worker_on(kafka: Server, url: str, folder: Path, key: Path) -> Worker:
    """A worker that delivers, with a campaign in its Redis."""
    compile_kernels()
    campaigns.save(RedisStore(url, 100), campaigns.partition())
    return Worker(
        folder,
        kafka.address,
        url,
        options=["--role", "deliver"],
        XM_CASES__KEY_FILE=str(key),
        XM_TOPICS__FINGERPRINTS=campaigns.NAME.split(":")[0],
        XM_TOPICS__PARTITIONS="4",
    )


def opening() -> Alert:
    return campaign_alert(subject="c_fleet", members=FLEET)


def alerts_of_members(day: int) -> list[Alert]:
    """An alert on each member and on some others, other ones each day."""
    at = campaigns.NOW + 86_400.0 * day
    found = [key_alert(key, at=at) for key in (*FLEET, *campaigns.ORDINARY[:5])]
    return [msgspec.structs.replace(each, id=f"{each.id}_{day}") for each in found]


def send(worker: Worker, alerts: Iterable[Alert], *, times: int = 1) -> None:
    """Publish alerts, each several times, as a worker does that dies before it knows of it."""
    producer = KafkaProducer(bootstrap_servers=worker.settings.kafka)
    for alert in alerts:
        for _ in range(times):
            value = msgspec.json.encode(alert)
            producer.send(worker.settings.topics.alerts, value, alert.subject.id.encode())
    producer.flush()
    producer.close()


def lines_of(worker: Worker) -> list[bytes]:
    """The only case of a worker, in Redis."""
    store = case_store(worker.settings)
    ids = list(store.cases())
    assert len(ids) <= 1
    return store.lines(ids[0]) if ids else []


def on_topic(worker: Worker) -> list[bytes]:
    return [each.value for each in read_topic(worker, worker.settings.topics.cases)]


def alerts_in(lines: Iterable[bytes]) -> Counter[str]:
    bodies = [read_entry(line).body for line in lines]
    return Counter(body.alert.id for body in bodies if isinstance(body, AlertSeen))


def check_case(worker: Worker, alerts: Iterable[Alert]) -> list[bytes]:
    """Wait until the case has all alerts on members, then check that it is as it should be."""
    wanted = {alert.id for alert in alerts if alert.subject.id in (*FLEET, "c_fleet")}
    until(lambda: set(alerts_in(lines_of(worker))) >= wanted, what="in the case")
    until(lambda: on_topic(worker) == lines_of(worker), what="on the topic")
    lines = lines_of(worker)
    assert alerts_in(lines) == Counter(wanted)
    assert check(lines, ring_of(worker.settings)).problems == []
    kinds = Counter(read_entry(line).body.__struct_config__.tag for line in lines)
    assert (kinds["opened"], kinds["facts"]) == (1, 1)
    return lines


def end_turn(url: str) -> None:
    """End the turn of a killed worker, which would end by itself 30 s later."""
    with redis.from_url(url) as client:
        turn = client.get(TURN_KEY)
        if turn:
            client.set(TURN_KEY, json.dumps(json.loads(turn) | {"until": 0.0}))


def test_rebalance_and_kill_leave_a_whole_case(
    own_kafka: Server, own_redis: Redis, tmp_path: Path, key: Path
) -> None:
    with worker_on(own_kafka, own_redis.url, tmp_path / "first", key) as first:
        second = another_worker(first, tmp_path / "second")
        second.launch()  # it takes half of the partitions as soon as it has joined
        try:
            sent = [opening(), *alerts_of_members(0)]
            send(first, sent, times=2)
            until(lambda: len(lines_of(first)) > 2 + 6)
            sent += alerts_of_members(1)
            send(first, alerts_of_members(1), times=2)
            until(second.ready)
            first.kill()
            end_turn(own_redis.url)
            sent += alerts_of_members(2)
            send(second, alerts_of_members(2), times=2)
            withdrawn = sent[1]
            change = ControlStore(own_redis.url).withdraw(
                withdrawn.id, withdrawn.subject.id, withdrawn.kind, "warning", "ann", "INC-7"
            )
            until(lambda: [each.id for each in changes_in(lines_of(second))] == [change.id])
            check_case(second, sent)
            until(lambda: metrics(second).get("xm_cases_open") == 1.0)
        finally:
            second.stop()


def changes_in(lines: Iterable[bytes]) -> list[Change]:
    bodies = [read_entry(line).body for line in lines]
    return [body.change for body in bodies if isinstance(body, Changed)]


def test_failover_that_loses_entries_leaves_a_whole_case(
    own_kafka: Server, start: Start, tmp_path: Path, key: Path
) -> None:
    primary = start("--repl-diskless-sync-delay", 0)
    replica = start("--replicaof", f"127.0.0.1 {primary.port}")
    until(lambda: replica.client.info()["master_link_status"] == "up")
    with worker_on(own_kafka, primary.url, tmp_path / "worker", key) as worker:
        sent = [opening(), *alerts_of_members(0)]
        send(worker, sent)
        kept = check_case(worker, sent)
        until(lambda: replica.client.hlen("xm:cases") == 1)
        until(lambda: version_of(replica) == version_of(primary))
        replica.client.replicaof("NO", "ONE")  # it gets nothing of what follows
        sent += alerts_of_members(1)
        send(worker, alerts_of_members(1))
        lost = check_case(worker, sent)[len(kept) :]
        primary.kill()
        replica.client.config_set("port", primary.port)
        replica.port = primary.port
        store, note = case_store(worker.settings), Noted("written on top of an older entry")
        store.append(next(store.cases()), note, "ann")
        sent += alerts_of_members(2)
        send(worker, alerts_of_members(2))
        lines = check_case(worker, sent)
        assert lines[: len(kept) + len(lost)] == [*kept, *lost]
        assert [read_entry(line).body for line in lines].count(note) == 1
        assert "case_restored" in worker.log.read_text()


def version_of(server: Redis) -> bytes | None:
    found: bytes | None = server.client.get(VERSION_KEY)
    return found

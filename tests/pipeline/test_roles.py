"""Roles of the worker, as real processes: alone, together, and when one of them dies."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from monitor.config import KafkaSecurity
from pipelines.kafka import topics
from pipelines.kafka.groups import take_over
from tests.support.apps import committed, fresh, new_topic
from tests.support.programs import Worker
from tests.support.servers import Redis
from tests.support.workers import (
    another_worker,
    differences,
    fill,
    get_page,
    metrics,
    read_topic,
    requests_read,
    traffic,
    until,
)

STREAM = traffic()


def test_roles_alone_do_what_they_do_together(kafka: str, own_redis: Redis, tmp_path: Path) -> None:
    watch = Worker(tmp_path / "watch", kafka, own_redis.url, options=["--role", "watch"])
    with ExitStack() as running:
        running.enter_context(watch)
        for role in ("link", "deliver"):
            each = another_worker(watch, tmp_path / role)
            each.options = ["--role", role]
            running.enter_context(each)
            assert each.children() == {}
        fill(watch, STREAM)
        assert differences(watch) == []
        names, group = watch.settings.topics, f"{watch.settings.group}-deliver"
        until(lambda: read_topic(watch, names.decisions))
        alerts = len(read_topic(watch, names.alerts))
        until(lambda: asyncio.run(committed(kafka, group, names.alerts)) == alerts)
        assert get_page(watch, "/v1/decision").status == 404
        assert "xm_decision_lookups_total" not in get_page(watch, "/metrics").text


def test_processes_share_the_partitions_until_interrupted(
    kafka: str, own_redis: Redis, tmp_path: Path
) -> None:
    four = {"XM_TOPICS__PARTITIONS": "4"}
    two = Worker(tmp_path / "two", kafka, own_redis.url, options=["--processes", "2"], **four)
    with two:
        assert {*two.children()} == {"watch-0", "watch-1", "link-0", "deliver-0"}
        roles = "roles=watch,link,deliver,decide mode=shadow receivers=none"
        assert f"url=http://127.0.0.1:{two.port} {roles}" in two.log.read_text()
        watching = [two.children()[name] for name in ("watch-0", "watch-1")]
        until(lambda: [ready(each) for each in watching] == [200, 200])
        fill(two, STREAM)
        assert differences(two) == []
        assert requests_read(two) == len(STREAM)
        lags = {f"xm_lag {partition} {two.requests}" for partition in range(4)}
        until(lambda: lags <= metrics(two).keys())
        assert two.process is not None
        two.process.send_signal(signal.SIGINT)
        assert two.process.wait(60) == 0


def test_second_worker_says_that_the_port_is_taken(
    kafka: str, own_redis: Redis, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "worker", kafka, own_redis.url)
    topics.create(worker.settings)
    with socket.create_server(("127.0.0.1", worker.port)):  # as a worker that still loads kernels
        second = subprocess.run(worker.command(), capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert second.stderr == (
        f"Cannot listen on 127.0.0.1:{worker.port} (Address already in use): choose another with "
        "XM_WEB_HOST and XM_WEB_PORT.\n"
    )


def ready(process: psutil.Process) -> int:
    """The status of `/readyz` of a process, on its own socket."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    paths = (each.laddr for each in process.net_connections("unix"))
    with connection.sock:
        connection.sock.connect(next(path for path in paths if path.endswith(process.name())))
        connection.request("GET", "/readyz")
        return connection.getresponse().status


def test_killed_linker_ends_the_worker_and_loses_nothing(
    kafka: str, own_redis: Redis, tmp_path: Path
) -> None:
    with Worker(tmp_path / "worker", kafka, own_redis.url) as worker:
        fill(worker, STREAM[: len(STREAM) // 2])
        until(lambda: metrics(worker)["xm_fingerprints_total"] > 0)
        ended = ends_after(worker.children()["link-0"], worker)
        assert worker.process is not None
        assert worker.process.wait(60) == 1
        assert "process_ended process=link-0 status=-9" in worker.log.read_text()
        assert ended()
        fill(worker, STREAM[len(STREAM) // 2 :])
        worker.start()
        assert differences(worker) == []
        assert ends_after(psutil.Process(worker.process.pid), worker)()


def ends_after(killed: psutil.Process, worker: Worker) -> Callable[[], bool]:
    """Kill a process; the result waits for the end of all processes of the worker."""
    children = list(worker.children().values())
    killed.kill()
    return lambda: psutil.wait_procs(children, timeout=60)[1] == []


def test_new_group_begins_where_the_old_one_is(kafka: str) -> None:
    topic, old, new = new_topic(kafka, 2), fresh("old"), fresh("new")
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=old, enable_auto_commit=False)
    first = TopicPartition(topic, 0)

    def commit(offset: int) -> None:
        consumer.assign([first])
        consumer.commit({first: OffsetAndMetadata(offset, "", -1)})
        take_over(kafka, KafkaSecurity(), topic, old, new)

    for offset in (7, 9):  # the second time the new group has offsets of its own
        commit(offset)
        assert asyncio.run(committed(kafka, new, topic, 0)) == 7
        assert asyncio.run(committed(kafka, new, topic, 1)) is None
    consumer.close()

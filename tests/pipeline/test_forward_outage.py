"""`xm forward` loses nothing while Kafka is away, or when it is killed."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from tests.support.apps import fresh, new_topic
from tests.support.forwarder import Forwarder, read_topic
from tests.support.servers import Kafka, Tansu
from tests.support.workers import until


def lines(start: int, end: int) -> list[bytes]:
    return [
        json.dumps({"ts": 1_772_020_800.0 + n, "api_key": f"sk-{n % 7}", "id": f"r{n}"}).encode()
        for n in range(start, end)
    ]


def append(path: Path, more: list[bytes]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in more))


def create(kafka: str, topic: str, settings: dict[str, str] | None = None) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics([NewTopic(topic, 1, 1, topic_configs=settings)], wait_for_metadata=True)
    admin.close()


def first_arrivals(kafka: str, topic: str) -> list[bytes]:
    """The different values in a topic, in the order of their first arrival."""
    return list(dict.fromkeys(record.value for record in read_topic(kafka, topic)))


def readiness(forwarder: Forwarder) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{forwarder.url}/readyz", timeout=10) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_requests_survive_in_the_spool_until_kafka_comes(tmp_path: Path) -> None:
    log, broker = tmp_path / "access.json", Tansu(tmp_path)
    append(log, lines(0, 100))
    forwarder = Forwarder(tmp_path / "forwarder", broker.address, "requests", log)
    with forwarder:
        until(lambda: forwarder.metrics()["xm_forward_spool_messages"] == 100)
        until(lambda: "does not answer" in readiness(forwarder)[1])
        assert readiness(forwarder)[0] == 503
        forwarder.kill()
        log.unlink()
        append(log, lines(100, 200))
        with broker:
            create(broker.address, "requests")
            forwarder.start()
            until(lambda: len(read_topic(broker.address, "requests")) == 200)
            until(lambda: readiness(forwarder) == (200, "ready\n"))
            assert first_arrivals(broker.address, "requests") == lines(0, 200)


def test_nothing_is_lost_when_kafka_and_the_forwarder_are_killed(
    apache_kafka: Kafka, tmp_path: Path
) -> None:
    topic, log = new_topic(apache_kafka.address), tmp_path / "access.json"
    forwarder = Forwarder(tmp_path / "forwarder", apache_kafka.address, topic, log)
    with forwarder:
        append(log, lines(0, 20_000))
        until(lambda: len(read_topic(apache_kafka.address, topic)) > 0)
        forwarder.kill()
        forwarder.start()
        append(log, lines(20_000, 40_000))
        until(lambda: forwarder.metrics()["xm_forward_sent_messages_total"] > 0)
        apache_kafka.kill()
        until(lambda: forwarder.metrics()["xm_forward_unread_bytes"] == 0)
        append(log, lines(40_000, 41_000))
        until(lambda: forwarder.metrics()["xm_forward_unread_bytes"] == 0)
        forwarder.kill()
        os.rename(log, f"{log}.1")
        append(log, lines(41_000, 42_000))
        forwarder.start()
        apache_kafka.start()
        until(lambda: len(set(first_arrivals(apache_kafka.address, topic))) == 42_000)
        assert sorted(first_arrivals(apache_kafka.address, topic)) == sorted(lines(0, 42_000))
        assert forwarder.metrics()["xm_forward_spool_messages"] == 0


@pytest.mark.skipif(not os.environ.get("XM_TEST_KAFKA"), reason="Tansu has no max.message.bytes")
def test_message_larger_than_the_topic_accepts_is_given_up_alone(
    kafka: str, tmp_path: Path
) -> None:
    topic, log = fresh("small"), tmp_path / "access.json"
    create(kafka, topic, {"max.message.bytes": "20000"})  # less than a batch of ours
    noise = os.urandom(30_000).hex()  # compresses to more than the topic accepts
    large = json.dumps({"ts": 1_772_020_800.0, "api_key": "k", "prompt": noise}).encode()
    append(log, [*lines(0, 1_000), large, *lines(1_000, 2_000)])
    with Forwarder(tmp_path / "forwarder", kafka, topic, log) as forwarder:
        until(lambda: forwarder.metrics()["xm_forward_refused_messages_total"] == 1)
        until(lambda: forwarder.metrics()["xm_forward_sent_messages_total"] == 2_000)
        assert first_arrivals(kafka, topic) == lines(0, 2_000)
        assert "raise max.message.bytes" in forwarder.log.read_text()

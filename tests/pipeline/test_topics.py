"""Topics made on a real broker."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.demo.embedded import free_port
from pipelines.kafka import topics
from tests.support.apps import fresh


def settings(kafka: str, prefix: str, **topic: object) -> Settings:
    kinds = (
        "requests", "rejected", "alerts", "undelivered", "fingerprints", "decisions", "audit",
        "cases",
    )  # fmt: skip
    names = {name: f"{prefix}.{name}" for name in kinds}
    return Settings.model_validate({"kafka": kafka, "topics": {**names, "partitions": 3, **topic}})


def outcomes(created: list[tuple[str, str]]) -> list[str]:
    return [outcome for _, outcome in created]


def test_topics_are_created_with_their_partitions(kafka: str) -> None:
    wanted = settings(kafka, fresh("made"))
    assert outcomes(topics.create(wanted)) == ["created"] * 8
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    made = admin.describe_topics([wanted.topics.requests, wanted.topics.alerts])
    admin.close()
    assert [len(topic["partitions"]) for topic in made] == [3, 3]


def test_topics_have_the_configured_retention(kafka: str) -> None:
    wanted = settings(kafka, fresh("kept"), requests_retention_hours=2, alerts_retention_hours=48)
    topics.create(wanted)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    hours = [
        _retention_hours(admin, name) for name in (wanted.topics.requests, wanted.topics.alerts)
    ]
    admin.close()
    assert hours == [2, 48]


def test_decisions_are_compacted_and_the_audit_is_kept(kafka: str) -> None:
    wanted = settings(kafka, fresh("outbox"), audit_retention_hours=1_000)
    topics.create(wanted)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    policy = _option(admin, wanted.topics.decisions, "cleanup.policy")
    hours = _retention_hours(admin, wanted.topics.audit)
    admin.close()
    assert (policy, hours) == ("compact,delete", 1_000)


def _retention_hours(admin: KafkaAdminClient, topic: str) -> float:
    return float(_option(admin, topic, "retention.ms")) / 3_600_000


def _option(admin: KafkaAdminClient, topic: str, name: str) -> str:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    described = admin.describe_configs([resource], config_filter="all")
    return str(described["topic"][topic][name]["value"])


def test_creating_topics_again_changes_nothing(kafka: str) -> None:
    wanted = settings(kafka, fresh("again"))
    topics.create(wanted)
    assert outcomes(topics.create(wanted)) == ["exists"] * 8


def test_topic_with_fewer_partitions_is_reported_and_kept(kafka: str) -> None:
    prefix = fresh("fewer")
    topics.create(settings(kafka, prefix))
    more = settings(kafka, prefix, partitions=5)
    fewer = "exists with 3 partitions instead of 5"
    assert outcomes(topics.create(more)) == [fewer, fewer, "exists", fewer, *["exists"] * 4]
    assert outcomes(topics.create(more)) == [fewer, fewer, "exists", fewer, *["exists"] * 4]


def test_broker_that_is_down_is_named_within_seconds() -> None:
    away = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(ConfigError, match=f"Kafka at {away} does not answer: .* XM_KAFKA at it.$"):
        topics.create(settings(away, "away"))
    assert time.monotonic() - began < 20

"""Creates the topics, once, before the first worker starts.

Creating them again changes nothing. An existing topic keeps its partitions: more partitions would
move keys to other partitions than before, so that is left to the operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import (
    InvalidReplicationFactorError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
)

from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.kafka.security import check_login_in_thread, client_options

_TIMEOUT_MS = 8_000
LARGEST_MESSAGE = 16 << 20  # bytes: an entry of a case, with the facts of thousands of members
_DECISIONS_HOURS = 367 * 24.0  # longer than any decision; gateways read the topic from its start


def wanted_topics(
    settings: Settings, *, rekey: bool = False
) -> dict[str, tuple[int, dict[str, str]]]:
    """All topics: by name, the partitions and the configuration that the settings ask for.

    Args:
        rekey: also the topic that `xm worker --rekey` needs.
    """
    wanted = settings.topics
    requests, alerts = (
        _kept(hours) for hours in (wanted.requests_retention_hours, wanted.alerts_retention_hours)
    )
    return {
        **dict.fromkeys(_inputs(settings, rekey), (wanted.partitions, requests)),
        wanted.rejected: (wanted.partitions, requests),
        wanted.fingerprints: (wanted.linkers, requests),
        wanted.alerts: (wanted.partitions, alerts),
        wanted.undelivered: (1, alerts),
        wanted.decisions: (1, _kept(_DECISIONS_HOURS) | {"cleanup.policy": "compact,delete"}),
        wanted.audit: (1, _kept(wanted.audit_retention_hours)),
        wanted.cases: (
            1,
            _kept(wanted.cases_retention_hours) | {"max.message.bytes": str(LARGEST_MESSAGE)},
        ),
    }


def create(settings: Settings, *, rekey: bool = False) -> list[tuple[str, str]]:
    """Create missing topics; each topic's name with `created`, `exists` or how it differs.

    Args:
        rekey: also the topic that `xm worker --rekey` needs.

    Raises:
        ConfigError: if Kafka is down or refuses.
    """
    topics, copies = wanted_topics(settings, rekey=rekey), settings.topics.replication
    with admin_of(settings) as admin:
        present = set(admin.list_topics())
        return [
            (name, _difference(admin, name, partitions))
            if name in present
            else (
                name,
                _create(admin, NewTopic(name, partitions, copies, topic_configs=config)),
            )
            for name, (partitions, config) in topics.items()
        ]


def check_topics(settings: Settings, *, rekey: bool = False) -> None:
    """Check that all topics exist. A worker would wait for a missing one without a message.

    Args:
        rekey: also the topic that `xm worker --rekey` needs.

    Raises:
        ConfigError: if Kafka is down, or a topic is missing.
    """
    wanted = settings.topics
    with admin_of(settings) as admin:
        outputs = {wanted.rejected, wanted.fingerprints, wanted.alerts, wanted.undelivered}
        outputs |= {wanted.decisions, wanted.audit}
        outputs |= {wanted.cases} if settings.cases.key_file else set()
        missing = {*_inputs(settings, rekey), *outputs} - set(admin.list_topics())
    if missing:
        raise ConfigError(
            f"Kafka at {settings.kafka} has no topic {', '.join(sorted(missing))}: "
            f"create it with `xm topics create{' --rekey' if rekey else ''}`."
        )


def _inputs(settings: Settings, rekey: bool) -> list[str]:
    return [settings.topics.requests, *([settings.topics.keyed] if rekey else [])]


@contextmanager
def admin_of(settings: Settings) -> Iterator[Any]:
    """An admin client, whose errors are raised as `ConfigError`."""
    admin = None
    answers = check_login_in_thread(settings.kafka, settings.kafka_security)
    try:
        admin = KafkaAdminClient(
            **client_options(settings.kafka, settings.kafka_security),
            client_id="extraction-monitor",
            bootstrap_timeout_ms=_TIMEOUT_MS,
            request_timeout_ms=_TIMEOUT_MS,
        )
        yield admin
    except (KafkaConnectionError, KafkaTimeoutError) as error:
        if answers:
            raise ConfigError(
                f"Kafka at {settings.kafka} accepts connections but answers no request: set "
                "XM_KAFKA_SECURITY__PROTOCOL if it expects a login; otherwise see its log."
            ) from error
        raise ConfigError(
            f"Kafka at {settings.kafka} does not answer: start it, or point XM_KAFKA at it."
        ) from error
    except InvalidReplicationFactorError as error:
        raise ConfigError(
            f"Kafka at {settings.kafka} has fewer than {settings.topics.replication} brokers: "
            "lower XM_TOPICS__REPLICATION or add brokers."
        ) from error
    except KafkaError as error:
        raise ConfigError(
            f"Kafka at {settings.kafka} refuses to list or create topics ({type(error).__name__}): "
            "grant the permission to this client, or create them with Kafka's own tools."
        ) from error
    finally:
        if admin is not None:
            admin.close()


def _kept(hours: float) -> dict[str, str]:
    return {"retention.ms": str(int(hours * 3_600_000))}


def _create(admin: Any, topic: NewTopic) -> str:
    try:
        admin.create_topics([topic], wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another client was faster
        return _difference(admin, topic.name, topic.num_partitions)
    return "created"


def _difference(admin: Any, name: str, wanted: int) -> str:
    (topic,) = admin.describe_topics([name])
    partitions = len(topic["partitions"])
    if 0 < partitions < wanted:  # 0: created a moment ago, not yet known to every broker
        return f"exists with {partitions} partitions instead of {wanted}"
    return "exists"

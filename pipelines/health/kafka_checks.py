"""Checks of Kafka: the connection, the topics, and how far their readers are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.requests.decoder import MAX_AHEAD
from pipelines.health.checks import Check, bad, doubtful, failure, good
from pipelines.health.deployment import LAG, Deployment
from pipelines.kafka.security import client_options
from pipelines.kafka.topics import LARGEST_MESSAGE, admin_of, wanted_topics

AREA = "Kafka"
_TIMEOUT_MS = 8_000
_HOUR_MS = 3_600_000
_LONG_HOURS = 14 * 24  # that requests, with their prompts, are kept
_LEAST_MESSAGE = 1 << 20  # bytes
_ROLES = {"watch": "", "link": "-link", "deliver": "-deliver"}


class Topic(NamedTuple):
    """A topic as Kafka has it.

    Attributes:
        partitions: leader, replicas and replicas in sync of each, by number.
        config: by name; empty if this client may not read it.
    """

    partitions: dict[int, tuple[int, int, int]]
    config: dict[str, str]


def check_kafka(settings: Settings, deployment: Deployment | None) -> Iterator[Check]:
    """All checks of Kafka.

    Args:
        deployment: the running processes; `None` if they are not known.
    """
    wanted = wanted_topics(settings)
    try:
        with admin_of(settings) as admin:
            brokers = len(admin.describe_cluster()["brokers"])
            present = set(admin.list_topics())
            optional = {settings.topics.keyed} & present
            names = sorted((wanted.keys() & present) | optional)
            topics = _topics(admin, names)
            members = _members(admin, settings)
    except ConfigError as error:
        yield failure(AREA, "connection", error)
        return
    yield good(AREA, "connection", f"{settings.kafka} answers. Brokers: {brokers}.")
    yield _missing(wanted.keys() - present)
    yield _partitions(topics, wanted, settings)
    yield from check_replicas(topics, brokers)
    yield _retention(topics, wanted, settings)
    yield _cleanup(topics, settings)
    yield _message_size(topics, settings)
    yield from _readers(settings, topics, members, deployment)


def _topics(admin: Any, names: list[str]) -> dict[str, Topic]:
    described = admin.describe_topics(names) if names else []
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        configs = admin.describe_configs(resources, config_filter="all").get("topic", {})
    except KafkaError:  # not permitted
        configs = {}
    found = {}
    for each in described:
        partitions = {
            p["partition_index"]: (p["leader_id"], len(p["replica_nodes"]), len(p["isr_nodes"]))
            for p in each["partitions"]
        }
        config = {
            key: str(one["value"])
            for key, one in configs.get(each["name"], {}).items()
            if one["value"] is not None
        }
        found[each["name"]] = Topic(partitions, config)
    return found


def _members(admin: Any, settings: Settings) -> dict[str, int]:
    """The number of members of each group; without those that Kafka does not say."""
    try:
        found = admin.describe_groups([settings.group + end for end in _ROLES.values()])
    except (KafkaError, ValueError):  # some brokers answer something else
        return {}
    return {name: len(group.get("members") or ()) for name, group in found.items()}


def _missing(missing: set[str]) -> Check:
    if missing:
        names = ", ".join(sorted(missing))
        return bad(AREA, "topics", f"Missing: {names}.", "Create them: `xm topics create`.")
    return good(AREA, "topics", "All topics exist.")


def _partitions(
    topics: Mapping[str, Topic], wanted: Mapping[str, tuple[int, Any]], settings: Settings
) -> Check:
    chosen = settings.topics
    other = {
        name: (len(topic.partitions), wanted[name][0])
        for name, topic in topics.items()
        if name in wanted and len(topic.partitions) != wanted[name][0]
    }
    if chosen.fingerprints in other:
        has, asked = other[chosen.fingerprints]
        return bad(
            AREA,
            "partitions",
            f"{chosen.fingerprints} has {has} partitions, XM_TOPICS__LINKERS is {asked}.",
            "Set XM_TOPICS__LINKERS to the number that the topic has, for workers and commands.",
        )
    if other:
        listed = ", ".join(f"{name} {has} for {asked}" for name, (has, asked) in other.items())
        return doubtful(
            AREA,
            "partitions",
            f"Other numbers than the settings say: {listed}.",
            "Set XM_TOPICS__PARTITIONS to what the topics have. More partitions move keys to "
            "others: add them only while all workers are stopped.",
        )
    numbers = sorted({len(topic.partitions) for topic in topics.values()})
    return good(AREA, "partitions", f"As the settings say ({', '.join(map(str, numbers))}).")


def check_replicas(topics: Mapping[str, Topic], brokers: int) -> Iterator[Check]:
    """Whether each partition has a leader, and enough copies that are up to date."""
    yield _leaders(topics)
    yield _replication(topics, brokers)


def _leaders(topics: Mapping[str, Topic]) -> Check:
    def places(wrong: Callable[[int, int, int], bool]) -> list[str]:
        return [
            f"{name}:{number}"
            for name, topic in topics.items()
            for number, facts in topic.partitions.items()
            if wrong(*facts)
        ]

    dead = places(lambda leader, _replicas, _in_sync: leader < 0)
    if dead:
        return bad(
            AREA,
            "replicas",
            f"Partitions without a leader: {', '.join(dead[:5])} ({len(dead)}).",
            "Start the brokers that have them.",
        )
    behind = places(lambda _leader, replicas, in_sync: in_sync < replicas)
    if behind:
        return doubtful(
            AREA,
            "replicas",
            f"Partitions with replicas that are behind: {', '.join(behind[:5])} ({len(behind)}).",
            "See the brokers' logs: one is down or slow.",
        )
    return good(AREA, "replicas", "All partitions have a leader and all replicas are in sync.")


def _replication(topics: Mapping[str, Topic], brokers: int) -> Check:
    single = [
        name
        for name, topic in topics.items()
        if any(replicas == 1 for _, replicas, _ in topic.partitions.values())
    ]
    if single and brokers > 1:
        return doubtful(
            AREA,
            "replication",
            f"One copy only: {', '.join(single)}. They are lost with one broker.",
            "Raise their replication factor with kafka-reassign-partitions, and set "
            "XM_TOPICS__REPLICATION for new topics.",
        )
    if single:
        return good(AREA, "replication", "One broker, one copy.")
    return good(AREA, "replication", "Each topic has several copies.")


def _retention(
    topics: Mapping[str, Topic], wanted: Mapping[str, tuple[int, Any]], settings: Settings
) -> Check:
    short, keeps = [], settings.topics.requests
    for name, topic in topics.items():
        kept = int(topic.config.get("retention.ms", -1))
        asked = int(wanted[name][1].get("retention.ms", 0)) if name in wanted else 0
        if 0 <= kept < asked:
            short.append(f"{name} {kept / _HOUR_MS:g} h for {asked / _HOUR_MS:g} h")
    if short:
        return doubtful(
            AREA,
            "retention",
            f"Shorter than the settings say: {', '.join(short)}.",
            "Raise retention.ms with kafka-configs, or lower XM_TOPICS__…_RETENTION_HOURS. "
            "Requests that are deleted before they are read are not evaluated.",
        )
    kept = int(topics[keeps].config.get("retention.ms", 0)) if keeps in topics else 0
    if kept < 0 or kept > _LONG_HOURS * _HOUR_MS:
        long = "for ever" if kept < 0 else f"for {kept / _HOUR_MS / 24:.0f} days"
        return doubtful(
            AREA,
            "retention",
            f"{keeps} keeps requests, with their prompts, {long}.",
            "Lower its retention.ms unless you need them for that long.",
        )
    return good(AREA, "retention", "At least what the settings say.")


def _cleanup(topics: Mapping[str, Topic], settings: Settings) -> Check:
    for name, topic in topics.items():
        policy = topic.config.get("cleanup.policy")
        compacts = policy is not None and "compact" in policy
        if policy is not None and name == settings.topics.decisions and not compacts:
            return bad(
                AREA,
                "cleanup",
                f"{name} is not compacted: gateways that read it miss decisions once it deletes.",
                f"kafka-configs --alter --entity-type topics --entity-name {name} --add-config "
                "cleanup.policy=[compact,delete]",
            )
        if name != settings.topics.decisions and compacts:
            return bad(
                AREA,
                "cleanup",
                f"{name} is compacted: it loses all but the last message of each key.",
                f"kafka-configs --alter --entity-type topics --entity-name {name} --add-config "
                "cleanup.policy=delete",
            )
    return good(AREA, "cleanup", "Only the decisions are compacted.")


def _message_size(topics: Mapping[str, Topic], settings: Settings) -> Check:
    small = []
    for name, topic in topics.items():
        least = LARGEST_MESSAGE if name == settings.topics.cases else _LEAST_MESSAGE
        most = int(topic.config.get("max.message.bytes", least))
        if most < least - 4096:  # Kafka's own default is a little below 1 MiB and 16 MiB
            small.append(f"{name} {most:,} for {least:,} bytes")
    if small:
        return bad(
            AREA,
            "message size",
            f"Too small: {', '.join(small)}.",
            "Raise max.message.bytes of the topic with kafka-configs.",
        )
    return good(AREA, "message size", "Large enough for all that is sent.")


def _readers(
    settings: Settings,
    topics: Mapping[str, Topic],
    members: Mapping[str, int],
    deployment: Deployment | None,
) -> Iterator[Check]:
    """How far each group is, and whether requests come from the future."""
    chosen = settings.topics
    rekeys = deployment is not None and any(
        place.name.rpartition(":")[0] == chosen.keyed
        for each in deployment.of("watch")
        for place in each.partitions
    )
    sources = {
        "watch": chosen.keyed if rekeys else chosen.requests,
        "link": chosen.fingerprints,
        "deliver": chosen.alerts,
    }
    try:
        for role, topic in sources.items():
            if topic in topics:
                group = settings.group + _ROLES[role]
                yield _reader(settings, role, group, topic, topics[topic], members.get(group))
        if chosen.requests in topics:
            yield _future(settings, chosen.requests, topics[chosen.requests])
    except KafkaError as error:
        yield bad(
            AREA,
            "readers",
            f"Kafka refuses to show offsets ({type(error).__name__}).",
            "Grant this client Describe on the groups of XM_GROUP.",
        )


def _client(settings: Settings, group: str | None = None) -> Any:
    return closing(
        KafkaConsumer(
            **client_options(settings.kafka, settings.kafka_security),
            group_id=group,
            enable_auto_commit=False,
            request_timeout_ms=_TIMEOUT_MS,
        )
    )


def _reader(
    settings: Settings, role: str, group: str, topic: str, found: Topic, members: int | None
) -> Check:
    name = f"role {role}"
    tps = [TopicPartition(topic, number) for number in sorted(found.partitions)]
    with _client(settings, group) as client:
        begins, ends = client.beginning_offsets(tps), client.end_offsets(tps)
        committed = {tp: client.committed(tp) for tp in tps}
    read = {tp: offset for tp, offset in committed.items() if offset is not None}
    lost = sum(max(0, begins[tp] - offset) for tp, offset in read.items())
    lag = sum(max(0, ends[tp] - read.get(tp, begins[tp])) for tp in tps)
    if lost:
        return bad(
            AREA,
            name,
            f"Kafka has deleted {lost:,} messages of {topic} that {group} had not read.",
            "Raise the retention of the topic, and start enough workers to keep up.",
        )
    if not read and lag:
        return bad(
            AREA,
            name,
            f"Nothing of {topic} has been read by {group}, {lag:,} messages wait.",
            f"Start the role: `xm worker --role {role}`; check XM_GROUP of the workers.",
        )
    if members == 0:
        return bad(
            AREA,
            name,
            f"The group {group} has no member, {lag:,} messages of {topic} wait.",
            f"Start the role: `xm worker --role {role}`.",
        )
    if lag > LAG:
        return doubtful(
            AREA,
            name,
            f"{lag:,} messages of {topic} wait.",
            "If that grows, start more processes: `xm worker --role watch --processes N`.",
        )
    return good(AREA, name, f"Messages of {topic} that wait: {lag:,}.")


def _future(settings: Settings, topic: str, found: Topic) -> Check:
    """Messages from the future: a clock of the gateway, the broker or this machine is wrong."""
    at = int(1000 * (time.time() + MAX_AHEAD))
    tps = {TopicPartition(topic, number): at for number in found.partitions}
    with _client(settings) as client:
        later = client.offsets_for_times(tps)
    ahead = [tp.partition for tp, offset in later.items() if offset and offset.timestamp >= at]
    if ahead:
        return bad(
            AREA,
            "clock",
            f"{topic} has messages of more than {MAX_AHEAD:.0f} s ahead of this machine's clock "
            f"(partition {ahead[0]}).",
            "Synchronize the clocks of the gateway, of Kafka and of this machine: such requests "
            "are rejected.",
        )
    return good(AREA, "clock", "No message comes from the future.")

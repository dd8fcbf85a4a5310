"""Looks for what must not be stored: raw keys, prompts and addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.support.programs import Worker
from tests.support.workers import read_topic


def leaks(secrets: Sequence[str], worker: Worker, logs: Iterable[Path]) -> list[str]:
    """Where a secret stands: in a log, a value of Redis, or a message that the monitor has sent.

    Args:
        worker: whose Redis and topics are searched, but not the topic of requests.
        logs: files.
    """
    return [
        f"{secret!r} in {place}"
        for place, text in _places(worker, logs)
        for secret in secrets
        if secret.encode() in text
    ]


def written_topics(worker: Worker) -> list[str]:
    """The topics to which the monitor writes."""
    topics = worker.settings.topics
    return [topics.alerts, topics.rejected, topics.fingerprints, topics.decisions, topics.audit]


def stored(redis_url: str) -> Iterator[tuple[str, bytes]]:
    """Each key of a Redis, and the bytes of its name and value."""
    with redis.from_url(redis_url) as client:
        for key in client.scan_iter():
            yield f"Redis {key!r}", key + repr(_value(client, key)).encode() + client.dump(key)


def _places(worker: Worker, logs: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for log in logs:
        yield str(log), log.read_bytes()
    yield from stored(worker.settings.redis_url)
    for topic in written_topics(worker):
        records = read_topic(worker, topic)
        yield topic, b"\n".join(part for record in records for part in _parts(record))


def _value(client: redis.Redis, key: bytes) -> Any:
    """A value, not compressed as in a dump."""
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda name: client.zrange(name, 0, -1),
        b"stream": client.xrange,
    }
    return read[client.type(key)](key)


def _parts(record: Any) -> Iterator[bytes]:
    yield from (part for part in (record.key, record.value) if part)
    yield from (value for _, value in record.headers)

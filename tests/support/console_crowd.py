"""A large deployment in Redis, made by hand: keys, alerts, decisions and campaigns."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import redis

from monitor.alerting.alerts import Alert, Subject
from monitor.alerting.decisions import Decision
from monitor.batch import Batch
from monitor.campaigns.campaign import Campaign, TimelineEntry
from monitor.campaigns.fingerprint import FINGERPRINT_VERSION, IDENTIFIERS
from monitor.campaigns.population import ROW
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.linker import LinkPartition
from monitor.prompts.projection import CONTENT
from monitor.records.profile import HOUR, LONG
from monitor.records.stream_clock import StreamClock
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.redis import RECORD_KEY, ROWS_KEY, RedisStore
from tests.benchmarks.speed.stream import Stream

_PARTITION = "llm.requests:0"
_TEMPLATES, _REQUESTS = 500, 60  # records that are repeated, and requests of each
_PAGE = 5_000
_NETWORK, _SYSTEM = IDENTIFIERS.index("network"), IDENTIFIERS.index("system")


class Size(NamedTuple):
    """How large the deployment is.

    Attributes:
        members: of the largest campaign; of the others, `least`.
    """

    keys: int = 1_000_000
    alerts: int = 10_000
    campaigns: int = 200
    members: int = 5_000
    least: int = 25
    changes: int = 200


class Crowd(NamedTuple):
    """What is in Redis.

    Attributes:
        keys: all of them; the first ones are members and have alerts.
        campaigns: ids, the largest first.
    """

    keys: list[str]
    campaigns: list[str]
    alerts: list[str]


def fill(settings: Settings, size: Size) -> Crowd:
    """Fill an empty Redis."""
    keys = [pseudonym("k_", i, 24) for i in range(size.keys)]
    store = RedisStore(settings.redis_url, settings.record_seconds, timeout=60)
    with redis.from_url(settings.redis_url, socket_timeout=120) as client:
        _write_records(client, _templates(store, settings, client), keys)
        campaigns = _write_campaigns(client, store, settings, keys, size)
    alerts = _write_alerts(settings, keys, campaigns, size)
    store.commit(Checkpoint(decisions=list(_decisions(keys, alerts, size))))
    control = ControlStore(settings.redis_url)
    for key in keys[-size.changes :]:
        control.decide(key, "throttle", 86_400.0, "ada", "a load test of the customer", rate=60.0)
    return Crowd(keys, [each.id for each in campaigns], [each.id for each in alerts])


def pseudonym(prefix: str, number: int, digits: int) -> str:
    """A pseudonym or an id, the same each time."""
    return (
        prefix + hashlib.blake2b(f"{prefix}{number}".encode(), digest_size=digits // 2).hexdigest()
    )


def _templates(store: RedisStore, settings: Settings, client: redis.Redis) -> list[bytes]:
    """Records of ordinary keys, and in Redis the partition with its baseline."""
    stream = Stream(None, _TEMPLATES)
    engine = Engine(settings, from_settings(settings), store)
    engine.assign(_PARTITION)
    offset = 0
    for messages in stream.take(_TEMPLATES * _REQUESTS):
        values = [each.value for each in messages]
        engine.observe(Batch(_PARTITION, range(offset, offset + len(values)), values))
        offset += len(values)
    store.commit(engine.snapshot())
    names = list(client.scan_iter(f"{RECORD_KEY}k_*", count=1_000))
    found = [value for value in client.mget(names) if value]
    client.delete(*names)
    return found


def _write_records(client: redis.Redis, templates: list[bytes], keys: list[str]) -> None:
    for start in range(0, len(keys), _PAGE):
        with client.pipeline(transaction=False) as pipeline:
            for i, key in enumerate(keys[start : start + _PAGE], start):
                pipeline.set(RECORD_KEY + key, templates[i % len(templates)], ex=14 * 86_400)
            pipeline.execute()


def _write_campaigns(
    client: redis.Redis, store: RedisStore, settings: Settings, keys: list[str], size: Size
) -> list[Campaign]:
    now = time.time()
    name = f"{settings.topics.fingerprints}:0"
    sizes = [size.members] + [size.least] * (size.campaigns - 1)
    ends = np.cumsum(sizes)
    for start in range(0, len(keys), _PAGE):
        part = keys[start : start + _PAGE]
        rows = _rows(start, len(part), ends, now)
        values = (row.tobytes() for row in rows)
        client.hset(ROWS_KEY + name, mapping=dict(zip(part, values, strict=True)))
    campaigns = [
        _campaign(i, keys[end - each : end], keys[-1 - i], now)
        for i, (each, end) in enumerate(zip(sizes, ends.tolist(), strict=True))
    ]
    partition = LinkPartition(name, 0, settings)
    partition.clock = StreamClock(now)
    partition.rounds.campaigns = campaigns
    store.commit(Checkpoint(partitions={name: partition.snapshot()}))
    return campaigns


def _rows(start: int, count: int, ends: np.ndarray, now: float) -> np.ndarray:
    """Rows of the linker; the keys of a campaign share a network and a system prompt."""
    random = np.random.default_rng(start)
    number = np.arange(start, start + count)
    campaign = np.searchsorted(ends, number, side="right")
    is_member = campaign < len(ends)
    rows = np.zeros(count, ROW)
    found = rows["fingerprint"]
    found["version"] = FINGERPRINT_VERSION
    found["requests"] = found["sketch_prompts"] = random.integers(8, 5_000, count)
    found["tokens"] = found["requests"] * random.integers(200, 2_000, count).astype(float)
    found["ts"], found["first_seen"] = now - random.integers(0, 80_000, count), now - 90_000
    found["content"] = random.integers(-300, 300, (count, CONTENT))
    found["long_head"] = now // HOUR
    found["long_requests"] = (found["requests"] // LONG.panes)[:, None]
    found["ids"] = random.integers(1, 2**63, (count, len(IDENTIFIERS)), dtype=np.uint64)
    found["distinct"] = random.integers(0, 255, found["distinct"].shape)
    found["account"] = random.integers(0, 255, found["account"].shape)
    found["ids"][is_member, _NETWORK] = 1_000 + campaign[is_member]
    found["ids"][is_member, _SYSTEM] = 5_000 + campaign[is_member]
    found["ids"][:, IDENTIFIERS.index("model")] = random.integers(1, 6, count)
    rows["identifiers"][:, :, 0] = found["ids"]
    rows["number"] = (1e6 * (now - 90_000)) + number
    return rows


def _campaign(number: int, members: list[str], bystander: str, now: float) -> Campaign:
    opened = now - 3 * HOUR
    return Campaign(
        pseudonym("c_", number, 20),
        opened - HOUR,
        dict.fromkeys(members, 0.99),
        opened=opened,
        confirmed=now,
        severity=("critical", "warning")[number % 2],
        named=dict.fromkeys(members, opened),
        bystanders=[bystander],
        evidence={"deviation": 2.5, "probability": 1e-12, "accused_share": 0.9, "requests": 9e4},
        reason="most members also triggered their own alerts",
        timeline=[
            TimelineEntry(opened, "born", len(members) // 2),
            TimelineEntry(opened + HOUR, "grown", len(members)),
        ],
    )


def _write_alerts(
    settings: Settings, keys: list[str], campaigns: list[Campaign], size: Size
) -> list[Alert]:
    now = time.time()
    kinds = ("burst", "coverage", "elicitation", "automation")
    found = [
        _alert(i, "campaign", Subject("campaign", each.id, list(each.named)), each.severity, now)
        for i, each in enumerate(campaigns)
    ]
    found += [
        _alert(i, kinds[i % 4], Subject("api_key", keys[i]), ("warning", "critical")[i % 2], now)
        for i in range(len(campaigns), size.alerts)
    ]
    book = AlertBook(settings.redis_url, 60.0)
    book.write([Entry(each, 0, now, now) for each in found])
    return found


def _alert(number: int, kind: str, subject: Subject, severity: str, now: float) -> Alert:
    return Alert(
        id=pseudonym("a_", number, 20),
        kind=kind,
        state="open",
        severity=severity,  # type: ignore[arg-type]
        score=1.0 - 1e-9,
        subject=subject,
        detected_at=now - number % 3_600,
        window=(now - 7_200, now - number % 3_600),
        evidence={"probability": 1e-9, "requests": 900.0, "per_hour": 120.0},
        summary=f"{subject.id}: 900 requests in an hour, far more than ordinary keys send.",
        decision="challenge",
    )


def _decisions(keys: list[str], alerts: list[Alert], size: Size) -> Iterator[Decision]:
    now = time.time()
    for key, alert in zip(keys[: size.alerts], alerts, strict=False):
        yield Decision(key, "challenge", alert.id, now, 6 * HOUR, kind=alert.kind)

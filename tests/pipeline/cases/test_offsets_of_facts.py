"""Facts rest on the offsets that they name, also while a worker goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import msgspec
import pytest

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import ConfigError
from monitor.evidence.facts import Facts, StreamRange
from monitor.identity import Identity
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.redis import RedisStore
from pipelines.cases.collect import Collector
from pipelines.cases.reproduction.reproduce import Reproduction, reproduce
from pipelines.kafka import topics
from pipelines.kafka.offsets import Offsets
from pipelines.kafka.ranges import Range, RangeReader
from pipelines.traffic.producer import Message, send
from tests.support.requests import elicitor, in_order, person

IDENTITY = Identity(b"known to this test only")
KEY = IDENTITY.key("sk-cot")


class Watched:
    """An engine that reads a topic as a worker does, with checkpoints in Redis."""

    def __init__(self, kafka: str, redis_url: str, requests: Sequence[bytes]) -> None:
        name = uuid.uuid4().hex[:12]
        named = {each: f"{each}-{name}" for each in ("requests", "rejected", "alerts", "cases")}
        named |= {each: f"{each}-{name}" for each in ("fingerprints", "decisions", "audit")}
        self.settings = Settings(
            kafka=kafka,
            redis_url=redis_url,
            topics={**named, "undelivered": f"undelivered-{name}", "partitions": 1},
        )
        topics.create(self.settings)
        self.topic = self.settings.topics.requests
        asyncio.run(send([[Message(b"k", each) for each in requests]], kafka, self.topic))
        self.store = RedisStore(redis_url, 1e6)
        self.engine = Engine(self.settings, IDENTITY, self.store)
        self.engine.assign(f"{self.topic}:0")

    def observe(self, first: int, end: int) -> list[Alert]:
        """Observe some offsets and write a checkpoint; returns the alerts."""
        alerts: list[Alert] = []
        for batch in RangeReader(self.settings).batches([Range(self.topic, 0, first, end)]):
            alerts += self.engine.observe(batch).alerts
        checkpoint = self.engine.snapshot()
        self.store.commit(checkpoint)
        self.engine.commit(checkpoint)
        self.engine.published(checkpoint)
        return alerts

    def deliver(self, alerts: Sequence[Alert]) -> None:
        """Send alerts to their topic and write them to the book, as workers do."""
        messages = [Message(a.subject.id.encode(), msgspec.json.encode(a)) for a in alerts]
        settings = self.settings
        asyncio.run(send([messages], settings.kafka, settings.topics.alerts))
        AlertBook(settings.redis_url).write([Entry(each, 0, 0.0, 0.0) for each in alerts])

    def facts(self, subject: str = KEY) -> Facts:
        return Collector(self.settings, offsets=Offsets(self.settings, 60.0)).collect(subject)

    def reproduced(self, facts: Facts) -> Reproduction:
        return reproduce(facts, self.settings, IDENTITY)


@pytest.fixture
def watched(kafka: str, redis_url: str) -> Watched:
    return Watched(kafka, redis_url, in_order(elicitor(), person("sk-person")))


def test_facts_are_those_of_their_offsets_while_a_worker_goes_on(watched: Watched) -> None:
    watched.deliver(watched.observe(0, 30))
    early = watched.facts()
    watched.deliver(watched.observe(30, 70))
    late = watched.facts()
    assert (early.stream, late.stream) == (
        [StreamRange(watched.topic, 0, 0, 30)],
        [StreamRange(watched.topic, 0, 0, 70)],
    )
    assert early.requests < late.requests == 40
    assert {each.state for each in early.alerts} == {"open", "update"}
    assert {each.state for each in late.alerts} == {"resolved"}
    for facts in (early, late):
        rows = watched.reproduced(facts).comparison.rows
        assert [row for row in rows if row.result != "same"] == []


def test_facts_have_alerts_that_the_alert_book_does_not_have_yet(watched: Watched) -> None:
    alerts = watched.observe(0, 30)
    watched.deliver(alerts)
    AlertBook(watched.settings.redis_url).forget([each.id for each in alerts])
    facts = watched.facts()
    assert {each.id for each in facts.alerts} == {each.id for each in alerts}
    rows = watched.reproduced(facts).comparison.rows
    assert [row for row in rows if row.result != "same"] == []


def test_offsets_that_kafka_does_not_have_are_named(watched: Watched) -> None:
    watched.deliver(watched.observe(0, 70))
    longer = msgspec.structs.replace(
        watched.facts(), stream=[StreamRange(watched.topic, 0, 0, 70_000)]
    )
    # Its messages end before the range does, as on a topic that was made again.
    found = watched.reproduced(longer)
    assert found.comparison.counts["different"] == 0
    assert "before 70,000" in found.comparison.notes[0]


def test_offsets_on_another_kafka_name_the_fix(watched: Watched) -> None:
    watched.observe(0, 70)
    elsewhere = msgspec.structs.replace(watched.facts(), stream=[StreamRange("other", 0, 0, 70)])
    with pytest.raises(ConfigError, match="has no partition other:0"):
        watched.reproduced(elsewhere)


def test_facts_about_accounts_and_end_users_are_reproduced(kafka: str, redis_url: str) -> None:
    rotating = [
        request
        for n in range(8)
        for request in elicitor(f"sk-{n}", count=20, every=70.0 + n, account="acme")
    ]
    users = elicitor("sk-app", count=60, every=40.0, end_user="mallory")
    watched = Watched(kafka, redis_url, in_order(rotating, users, person("sk-person")))
    alerts = watched.observe(0, 250)
    watched.deliver(alerts)
    subjects = {each.subject.type: each.subject.id for each in alerts}
    for kind in ("account", "end_user"):
        facts = watched.facts(subjects[kind])
        assert (facts.type, facts.severity) == (kind, "critical")
        rows = watched.reproduced(facts).comparison.rows
        assert [row for row in rows if row.result != "same"] == []

"""`xm case verify` on a case in Redis, beside the topic of cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
from kafka import KafkaProducer

from monitor.config import Cases, Settings
from monitor.evidence.entries import Noted
from monitor.evidence.keys import load_signer, new_key, ring_of
from monitor.evidence.links import digest
from monitor.evidence.store import CASE_KEY, CaseStore
from pipelines.kafka import topics
from tests.support.apps import fresh
from tests.support.commands import Ended, Xm

SUBJECT = "k_" + "0" * 24


@pytest.fixture
def settings(tmp_path: Path, kafka: str, redis_url: str) -> Settings:
    prefix = fresh("verify")
    kinds = (
        *("requests", "rejected", "alerts", "undelivered", "fingerprints"),
        *("decisions", "audit", "cases"),
    )
    made = Settings.model_validate(
        {
            "kafka": kafka,
            "redis_url": redis_url,
            "topics": {name: f"{prefix}.{name}" for name in kinds},
            "cases": Cases(key_file=tmp_path / "case.pem"),
        }
    )
    new_key(made.cases)
    topics.create(made)
    return made


@pytest.fixture
def lines(settings: Settings) -> list[bytes]:
    """A case in Redis, all of which the topic has."""
    assert settings.cases.key_file is not None
    signer = load_signer(settings.cases.key_file)
    store = CaseStore(settings.redis_url, ring_of(settings), signer)
    case = store.open_case(SUBJECT, "api_key", "asked for", "ann")
    for text in ("first", "second", "third"):
        store.append(case, Noted(text), "ann")
    lines = store.lines(case)
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    for line in lines:
        producer.send(settings.topics.cases, key=case.encode(), value=line)
    producer.flush()
    producer.close()
    return lines


@pytest.fixture
def case(settings: Settings, lines: list[bytes]) -> str:
    return CaseStore(settings.redis_url, ring_of(settings)).find(SUBJECT)


@pytest.fixture
def run(xm: Xm, settings: Settings, case: str) -> Xm:
    def run(*arguments: object) -> Ended:
        names = variables_of(settings)
        return xm("case", "verify", *arguments, "--json", **names)

    return run


def variables_of(settings: Settings) -> dict[str, str]:
    topics = {
        f"XM_TOPICS__{name.upper()}": str(value)
        for name, value in settings.topics.model_dump().items()
        if isinstance(value, str) and value.startswith("verify")
    }
    return {
        **topics,
        "XM_KAFKA": settings.kafka,
        "XM_REDIS_URL": settings.redis_url,
        "XM_CASES__KEY_FILE": str(settings.cases.key_file),
    }


def problems(ended: Ended) -> list[tuple[str, int]]:
    return [(each["kind"], each["entry"]) for each in json.loads(ended.out)["problems"]]


def test_whole_case_is_verified_by_its_subject(run: Xm):
    ended = run(SUBJECT)
    assert ended.status == 0, ended.error
    report = json.loads(ended.out)
    assert (report["chain"]["entries"], report["on_topic"]) == (4, 4)


def test_changed_lost_and_dropped_entries_are_named(run: Xm, case: str, redis_url: str):
    name = f"{CASE_KEY}{{{case}}}"
    with redis.from_url(redis_url) as server:
        newest = server.rpop(name)
        ended = run(case)
        assert (ended.status, problems(ended)) == (1, [("lost", 4)])
        assert run(case, "--no-topic").status == 0  # a chain that was cut is a shorter chain
        head = digest(newest)
        assert problems(run(case, "--no-topic", "--through", head)) == [("truncated", 4)]
        server.rpush(name, newest)
        assert run(case, "--no-topic", "--through", head).status == 0
        second = server.lindex(name, 1)
        server.lset(name, 1, second.replace(b'"sig":"', b'"sig":"A'))
        assert ("changed", 2) in problems(run(case))
        server.lrem(name, 1, second.replace(b'"sig":"', b'"sig":"A'))
        assert ("dropped", 2) in problems(run(case))


def test_case_that_redis_lost_is_named_from_the_topic(run: Xm, case: str, redis_url: str):
    with redis.from_url(redis_url) as server:
        server.flushdb()
    assert problems(run(case)) == [("lost", 1), ("lost", 2), ("lost", 3), ("lost", 4)]

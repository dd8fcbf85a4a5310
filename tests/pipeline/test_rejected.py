"""Rejected requests on a real broker: listed without a value, and sent again once."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from kafka import KafkaConsumer, KafkaProducer

from monitor.config import Settings
from monitor.errors import InputError
from monitor.requests.decoder import Decoder
from monitor.store.control import ControlStore
from monitor.store.operate.processes import ProcessStore
from pipelines.health.rejected import list_rejected, replay_rejected
from pipelines.kafka import topics
from tests.support.apps import fresh
from tests.support.commands import Xm
from tests.support.heartbeats import process

BY = {"who": "ann", "why": "mapping mended"}
SECRET = "sk-hidden"


def call(**fields: Any) -> dict[str, Any]:
    return {"timestamp": time.time(), "api_key": SECRET, "prompt": "Hello", **fields}


MAPPING = {"ts": "/timestamp", "api_key": "/api_key", "prompt": "/prompt", "id": "/id"}


@pytest.fixture
def environment(kafka: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    name = fresh("rejected")
    kinds = (
        "REQUESTS", "REJECTED", "FINGERPRINTS", "ALERTS", "UNDELIVERED", "DECISIONS", "AUDIT",
        "CASES",
    )  # fmt: skip
    named = {f"XM_TOPICS__{kind}": f"{name}.{kind.lower()}" for kind in kinds}
    return {"XM_KAFKA": kafka, "XM_REDIS_URL": redis_url, "XM_TOPICS__PARTITIONS": "1"} | named


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with topics; three messages of the source topic were rejected."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = Settings()
    topics.create(found)
    producer = KafkaProducer(bootstrap_servers=found.kafka)
    values = [json.dumps(call(id=str(n))).encode() for n in range(3)] + [b"no JSON"]
    rejections = Decoder().decode(values, time.time()).rejections
    places = [
        producer.send(found.topics.requests, value, partition=0).get(timeout=30) for value in values
    ]
    for each in rejections:
        place = places[each.source]
        facts = {
            "reason": each.reason, "detail": each.detail, "topic": place.topic,
            "partition": place.partition, "offset": place.offset, "element": each.element,
            "bytes": len(each.value),
        }  # fmt: skip
        headers = [(name, str(fact).encode()) for name, fact in facts.items()]
        sent = producer.send(found.topics.rejected, b"", headers=headers, partition=0)
        sent.get(timeout=30)
    producer.close()
    return found


def requests_on(settings: Settings, after: int) -> list[Any]:
    """The messages that were added to the topic of requests."""
    consumer = KafkaConsumer(
        settings.topics.requests,
        bootstrap_servers=settings.kafka,
        auto_offset_reset="earliest",
        consumer_timeout_ms=2_000,
    )
    found = list(consumer)
    consumer.close()
    return found[after:]


def test_rejected_requests_are_listed_by_reason_without_a_value(settings: Settings) -> None:
    groups = {each.reason: each for each in list_rejected(settings)}
    assert {reason: each.count for reason, each in groups.items()} == {
        "missing_field": 3, "not_json": 1,
    }  # fmt: skip
    assert "ts" in groups["missing_field"].detail
    assert groups["missing_field"].sample == {
        "timestamp": "number", "api_key": "string", "prompt": "string", "id": "string",
    }  # fmt: skip
    assert SECRET not in repr(groups)
    assert list_rejected(settings, since=time.time() + 60) == []


def test_rejected_requests_are_sent_again_once(settings: Settings) -> None:
    mended = settings.model_copy(update={"mapping": MAPPING})
    tried = replay_rejected(mended, **BY, dry=True)
    assert (tried.sent, tried.still_rejected, tried.audit) == (3, {"not_json": 1}, "")
    done = replay_rejected(mended, **BY)
    assert (done.sent, done.still_rejected, done.gone, done.before) == (3, {"not_json": 1}, 0, 0)
    sent = requests_on(settings, 4)
    assert [json.loads(each.value)["id"] for each in sent] == ["0", "1", "2"]
    assert {each.key for each in sent} == {SECRET.encode()}
    again = replay_rejected(mended, **BY)
    assert (again.sent, again.before) == (0, 4)
    assert replay_rejected(mended, **BY, again=True, dry=True).sent == 3
    (change,) = ControlStore(settings.redis_url).audit()
    assert (change.what, change.who, change.after) == ("replay", "ann", {"sent": 3})


def test_requests_of_another_format_are_sent_in_the_native_one(settings: Settings) -> None:
    mapping: Any = MAPPING
    done = replay_rejected(settings, **BY, mapping=mapping, reason="missing_field")
    assert done.sent == 3
    values = [each.value for each in requests_on(settings, 4)]
    decoded = Decoder().decode(values, time.time())
    assert [event.prompt for event in decoded.events] == ["Hello"] * 3
    assert decoded.rejections == []


def test_workers_with_another_mapping_stop_a_replay(settings: Settings) -> None:
    store = ProcessStore(settings.redis_url)
    store.beat(process("watch", at=time.time(), settings={"mapping": "litellm"}))
    with pytest.raises(InputError, match="mapping litellm, not with native"):
        replay_rejected(settings, **BY)


def test_commands_list_and_send(settings: Settings, xm: Xm) -> None:
    shown = xm("rejected", "list")
    assert shown.status == 0
    assert "3 missing_field" in shown.out
    assert SECRET not in shown.out
    assert len(msgspec.json.decode(xm("rejected", "list", "--json").out)) == 2
    assert xm("rejected", "replay", "--why", "x", "--who", "ann").status == 1

"""Responses to flagged keys are sketched from the stream of requests, on a real Redis."""

from __future__ import annotations

import itertools
import json
import random
import time
from pathlib import Path

import pytest
import redis

from monitor.alerting.alerts import Alert, Subject
from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity, from_settings
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.control import ControlStore
from monitor.store.memory import MemoryStore
from monitor.tracing.responses.overlap import overlap
from monitor.tracing.responses.sketch import Sketch, Sketcher
from monitor.tracing.responses.store import OTHERS, ResponseStore
from pipelines.cases.tracing.trace import seen_by
from pipelines.simulation.scenario import messages
from pipelines.worker.responses import ResponsesSeen
from tests.support.programs import Worker
from tests.support.servers import Redis
from tests.support.workers import fill, metrics, until

SECRET = "0123456789abcdef"
IDENTITY = Identity(SECRET.encode())
START = 1_780_000_000.0
MEMBER, ALONE, BY_HAND, OTHER = (IDENTITY.key(f"sk-{i}") for i in range(4))


def words(seed: int) -> str:
    return " ".join(random.Random(seed).choices([f"w{i}" for i in range(2_000)], k=60))


def requests(number: int, keys: int = 8) -> list[bytes]:
    return [
        json.dumps(
            {
                "ts": START + i,
                "api_key": f"sk-{i % keys}",
                "prompt": f"Question {i}",
                "response": words(i),
            }
        ).encode()
        for i in range(number)
    ]


def alert(id: str, subject: Subject, state: str = "open") -> Entry:
    made = Alert(
        *(id, "harvest", state, "warning", 0.9, subject, START, (START, START), {}, "", "mark")
    )
    return Entry(made, 0, START, START)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(redis_url=redis_url, identity_secret=SECRET)


@pytest.fixture
def seen(settings: Settings) -> ResponsesSeen:
    return ResponsesSeen(settings, IDENTITY)


def observe(settings: Settings, seen: ResponsesSeen, values: list[bytes]) -> None:
    engine = Engine(settings, IDENTITY, MemoryStore(), on_requests=seen)
    engine.assign("llm.requests:0")
    engine.observe(Batch("llm.requests:0", range(len(values)), values))


def flag(settings: Settings) -> None:
    book = AlertBook(settings.redis_url)
    book.write(
        [
            alert("a_1", Subject("campaign", "c_1", [MEMBER])),
            alert("a_2", Subject("api_key", ALONE)),
            alert("a_3", Subject("api_key", OTHER), "resolved"),
        ]
    )
    ControlStore(settings.redis_url).decide(BY_HAND, "mark", 3_600.0, "analyst", "test")


def test_responses_of_flagged_keys_are_kept_and_of_others_to_compare(
    settings: Settings, seen: ResponsesSeen
):
    flag(settings)
    seen.look(time.time())
    observe(settings, seen, requests(160))
    seen.write(time.time())
    store = ResponseStore(settings.redis_url)
    assert set(store.subjects()) == {"c_1", ALONE, BY_HAND}
    assert 0 < len(store.read(["c_1"])) <= 20
    assert len(store.read([OTHERS])) == len(store.read(["c_1", ALONE, BY_HAND]))


def test_nothing_is_set_aside_while_no_key_is_flagged(settings: Settings, seen: ResponsesSeen):
    seen.look(time.time())
    observe(settings, seen, requests(160))
    seen.write(time.time())
    assert ResponseStore(settings.redis_url).subjects() == []


def test_no_text_is_in_redis(settings: Settings, seen: ResponsesSeen):
    flag(settings)
    seen.look(time.time())
    observe(settings, seen, requests(40))
    seen.write(time.time())
    with redis.from_url(settings.redis_url) as server:
        values = [
            member
            for name in server.scan_iter("xm:responses:{*")
            for member in server.zrange(name, 0, -1)
        ]
    assert values
    assert not any(word.encode() in value for value in values for word in words(0).split())


def test_trace_recognises_the_responses_of_the_campaign(settings: Settings, seen: ResponsesSeen):
    flag(settings)
    seen.look(time.time())
    for start in range(0, 4):
        values = requests(640)[start * 160 : (start + 1) * 160]
        observe(settings, seen, values)
        seen.write(time.time())
    compared = seen_by(settings, ["c_1"])
    assert compared is not None
    runs = compared.sketcher.runs("\n".join(words(i) for i in range(0, 640, 8)))
    assert overlap(runs, compared.given["c_1"], compared.controls).p < 1e-6


def test_set_aside_is_bounded(settings: Settings, seen: ResponsesSeen):
    flag(settings)
    seen.look(time.time())
    observe(settings, seen, requests(4_000))
    observe(settings, seen, requests(4_000))
    seen.write(time.time())
    store = ResponseStore(settings.redis_url)
    assert len(store.read(["c_1", ALONE, BY_HAND, OTHERS])) <= 128


def test_store_keeps_a_sample_of_each_subject(redis_url: str):
    store, sketcher = ResponseStore(redis_url), Sketcher(SECRET.encode())
    sketches = [sketcher.sketch(words(i)) for i in range(400)]
    made = [each for each in sketches if isinstance(each, Sketch)]
    for start in range(0, 400, 100):
        store.add({"k_1": made[start : start + 100]}, START)
    kept = store.read(["k_1"])
    assert len(kept) == 250
    first = sum(each in made[:200] for each in kept)
    assert 100 < first < 150  # 125 expected: early and late ones are kept alike


def test_store_leaves_out_subjects_beyond_its_room(redis_url: str):
    store = ResponseStore(redis_url)
    sketch = Sketcher(SECRET.encode()).sketch(words(0))
    assert sketch is not None
    left = [store.add({f"c_{i}": [sketch]}, START) for i in range(202)]
    assert sum(left) == 2
    assert store.add({"c_new": [sketch]}, START + 91 * 86_400.0) == 0


def test_worker_sketches_responses(kafka: str, own_redis: Redis, tmp_path: Path):
    worker = Worker(tmp_path, kafka, own_redis.url, options=["--role", "watch"])
    key = from_settings(worker.settings).key("sk-0")
    AlertBook(own_redis.url).write([alert("a_1", Subject("campaign", "c_1", [key]))])
    store, sent = ResponseStore(own_redis.url), itertools.count()
    events = [json.loads(each) for each in requests(80)]

    def are_sketched() -> bool:
        late = 100.0 * next(sent)
        more = ({**each, "ts": each["ts"] + late} for each in events)
        fill(worker, [message for batch in messages(more) for message in batch])
        return "c_1" in store.subjects()

    with worker:
        until(are_sketched)
        until(lambda: metrics(worker).get("xm_sketched_responses_total", 0) > 0)
    assert store.read(["c_1"])
    assert store.read([OTHERS])

"""The worker as a process: from Kafka to records, alerts, rejections, decisions and pages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import redis

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.linker import Linker
from monitor.requests.decoder import Decoder
from monitor.store.memory import MemoryStore
from monitor.store.operate.tenants import TenantStore
from monitor.store.redis import DECISION_KEY, MODE_SECONDS
from pipelines.cases.collect import Collector
from pipelines.cases.reproduction.reproduce import reproduce, reproduce_files
from pipelines.kafka.offsets import Offsets
from pipelines.simulation.scenario import Simulation
from pipelines.traffic.producer import Message
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import replay
from tests.support.apps import committed
from tests.support.programs import Worker
from tests.support.requests import request
from tests.support.servers import Redis
from tests.support.workers import (
    HOUR,
    LinkerResults,
    Results,
    differences,
    expected_results,
    fill,
    get_page,
    linker_results,
    metrics,
    read_topic,
    requests_read,
    traffic,
    until,
    why_not_ready,
    worker_results,
)

LABELS = Simulation(HOUR).labels
PLANTED = {name for name, label in LABELS.items() if label.campaign}
(SCRAPER,) = (name for name, label in LABELS.items() if label.kind == "scraper")
COT = next(name for name, label in LABELS.items() if label.kind == "cot")
TENANT = "acct_8"
GOOD = request("sk-beside", 3_590.0)
# Each message, the reason of its rejection, and the part that is rejected.
BAD = [
    (b"no JSON", "not_json", b"no JSON"),
    (b"[" + GOOD + b", 3]", "not_an_object", b"3"),
    (b'{"ts": 1772409600}', "missing_field", b'{"ts": 1772409600}'),
    (request(at=1e9), "future", request(at=1e9)),
]


class Hour(NamedTuple):
    """An hour of traffic in order of time, and the results of a worker with one partition."""

    worker: Worker
    stream: list[Message]
    expected: Results
    found: Results
    links: LinkerResults


@pytest.fixture(scope="module")
def hour(kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    tenants = {"XM_TENANTS": f'["{TENANT}"]'}
    worker = Worker(tmp_path_factory.mktemp("worker"), kafka, own_redis.url, **tenants)
    requests = sorted(traffic(), key=lambda each: msgspec.json.decode(each.value)["ts"])
    stream = [*requests, *(Message(None, value) for value, _, _ in BAD)]
    with worker:
        fill(worker, stream)
        expected = expected_results(worker)
        found = worker_results(worker, expected)
        yield Hour(worker, stream, expected, found, linker_results(worker))


@pytest.fixture(scope="module")
def enforcing(hour: Hour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that enforces the decisions of the other."""
    settings, folder = hour.worker.settings, tmp_path_factory.mktemp("enforcing")
    secret = hour.worker.environment["XM_IDENTITY_SECRET"]
    chosen = {"XM_IDENTITY_SECRET": secret, "XM_DECISIONS__SHADOW": "false"}
    with Worker(folder, settings.kafka, settings.redis_url, **chosen) as worker:
        yield worker


def flagged(worker: Worker, alerts: list[bytes]) -> set[str]:
    """Keys with an alert above info, of their own or of a campaign."""
    identity = from_settings(worker.settings)
    names = {identity.key(name): name for name in LABELS}
    decoded = [msgspec.json.decode(alert, type=Alert) for alert in alerts]
    return {
        names[member]
        for alert in decoded
        if alert.severity != "info"
        for member in alert.subject.members or [alert.subject.id]
    }


# Output


def test_worker_and_replay_give_the_same_alerts(hour: Hour, tmp_path: Path) -> None:
    file = tmp_path / "hour.jsonl"
    file.write_bytes(b"\n".join(message.value for message in hour.stream))
    settings, store = hour.worker.settings, MemoryStore()
    engine = Engine(settings, from_settings(settings), store)
    recording = Recording([str(file)], Decoder.of(settings))
    recording.sort()
    outcomes = replay(recording, engine, store, Linker(settings, store))
    of_replay = [msgspec.json.encode(alert) for each in outcomes for alert in each.alerts]
    of_campaigns = [line for line in of_replay if b'"type":"campaign"' in line]
    assert hour.found.alerts == [line for line in of_replay if line not in of_campaigns]
    assert hour.links.alerts == of_campaigns


def test_stored_bytes_equal_those_of_an_engine_in_memory(
    hour: Hour,
) -> None:
    assert hour.found.stored == hour.expected.stored


def test_worker_flags_only_the_planted_keys(hour: Hour) -> None:
    assert flagged(hour.worker, hour.found.alerts + hour.links.alerts) == PLANTED


def test_worker_stores_the_tenants_of_accounts(hour: Hour) -> None:
    settings = hour.worker.settings
    identity = from_settings(settings)
    accounts = {str(event["account"]) for event in Simulation(HOUR).events() if "account" in event}
    found = TenantStore(settings.redis_url).of(map(identity.account, accounts))
    members = {identity.account(each) for each in accounts if each.startswith(TENANT)}
    assert found == dict.fromkeys(members, TENANT)


def test_rejected_topic_has_offset_and_reason(
    hour: Hour,
) -> None:
    first = len(hour.stream) - len(BAD)
    places = [f"{hour.worker.requests}:0 {first + n} {why}" for n, (_, why, _) in enumerate(BAD)]
    assert hour.found.rejected == places


def test_rejected_topic_holds_nothing_of_a_request(hour: Hour) -> None:
    rejected = read_topic(hour.worker, hour.worker.settings.topics.rejected)
    assert {record.value for record in rejected} == {b""}
    sizes = {int(dict(record.headers)["bytes"]) for record in rejected}
    assert sizes == {len(part) for _, _, part in BAD}


def test_rejections_are_counted_by_reason(hour: Hour) -> None:
    counted, valid = metrics(hour.worker), len(hour.stream) - len(BAD) + 1
    assert [counted[f"xm_rejections_total {reason}"] for _, reason, _ in BAD] == [1.0] * len(BAD)
    assert requests_read(hour.worker) == valid > counted["xm_events_total"]


# Decisions


def test_decision_expires_in_redis(hour: Hour, own_redis: Redis) -> None:
    name = DECISION_KEY + from_settings(hour.worker.settings).key(COT)
    with redis.from_url(own_redis.url) as store:
        decision = msgspec.json.decode(store.get(name), type=Decision)
        assert decision.duration - 60 < store.ttl(name) <= decision.duration


@pytest.mark.parametrize("header", [{"X_API_Key": COT}, {"Authorization": f"Bearer {COT}"}])
def test_shadow_mode_passes_and_names_the_decision(hour: Hour, header: dict[str, str]) -> None:
    answer = get_page(hour.worker, "/v1/decision", **header)
    assert answer.status == 200
    assert answer.headers["X-XM-Decision"] == "observe"
    assert answer.headers["X-XM-Shadow"] == "block"


@pytest.mark.parametrize(
    ("key", "status", "decision"),
    [(COT, 403, "block"), (SCRAPER, 200, "throttle"), ("sk-unknown", 200, "observe")],
)
def test_decision_is_enforced_outside_shadow_mode(
    enforcing: Worker, key: str, status: int, decision: str
) -> None:
    answer = get_page(enforcing, "/v1/decision", X_API_Key=key)
    assert (answer.status, answer.headers["X-XM-Decision"]) == (status, decision)
    assert "X-XM-Shadow" not in answer.headers


def test_workers_report_their_modes_in_redis(
    hour: Hour, enforcing: Worker, own_redis: Redis
) -> None:
    with redis.from_url(own_redis.url) as store:
        for mode in ("shadow", "enforce"):
            until(lambda name=f"xm:mode:{mode}": 0 < store.ttl(name) <= MODE_SECONDS)


@pytest.mark.parametrize(
    ("header", "status"), [({}, 401), ({"Authorization": "Basic !"}, 400), ({"api-key": COT}, 403)]
)
def test_lookup_without_a_readable_key_does_not_pass(
    enforcing: Worker, header: dict[str, str], status: int
) -> None:
    answer = get_page(enforcing, "/v1/decision", **header)
    assert answer.status == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


# Cases


def test_replay_of_a_keys_offsets_gives_its_facts(hour: Hour) -> None:
    settings = hour.worker.settings
    identity = from_settings(settings)
    facts = Collector(settings, offsets=Offsets(settings, 60.0)).collect(identity.key(COT))
    assert (facts.complete, len(facts.alerts) > 0) == (True, True)
    found, again = (reproduce(facts, settings, identity, batch=n) for n in (4_000, 997))
    assert [row for row in found.comparison.rows if row.result != "same"] == []
    assert msgspec.json.encode(again.facts) == msgspec.json.encode(found.facts)


def test_replay_of_a_campaigns_offsets_gives_its_facts(hour: Hour, tmp_path: Path) -> None:
    settings = hour.worker.settings
    identity, collector = (
        from_settings(settings),
        Collector(settings, offsets=Offsets(settings, 60.0)),
    )
    campaign = msgspec.json.decode(hour.links.alerts[-1], type=Alert).subject.id
    whole = reproduce(collector.collect(campaign), settings, identity)
    quick = collector.collect(campaign, quick=True)
    file = tmp_path / "hour.jsonl"
    file.write_bytes(b"\n".join(message.value for message in hour.stream))
    recorded = reproduce_files(quick, settings, identity, [str(file)])
    for found in (
        whole,
        recorded,
        reproduce(quick, settings, identity, requests=False, batch=7),
    ):
        assert [row for row in found.comparison.rows if row.result != "same"] == []
    groups = {row.group for row in whole.comparison.rows}
    assert {"fingerprints", "members", "ties", "alerts"} <= groups


# Health, and an unavailable store


def test_worker_serves_no_page_of_the_framework(hour: Hour) -> None:
    assert {get_page(hour.worker, page).status for page in ("/", "/router/", "/table/")} == {404}


def test_worker_is_healthy_and_ready(hour: Hour) -> None:
    assert [get_page(hour.worker, page).status for page in ("/healthz", "/readyz")] == [200, 200]


def test_read_only_store_is_reported_and_loses_nothing(hour: Hour, own_redis: Redis) -> None:
    with redis.from_url(own_redis.url) as store:
        store.replicaof("127.0.0.1", "1")
        more(hour.worker)
        reason = "is read-only: point XM_REDIS_URL at"
        until(lambda: reason in why_not_ready(hour.worker))
        store.replicaof("NO", "ONE")
    until(lambda: get_page(hour.worker, "/readyz").status == 200)
    assert differences(hour.worker) == []


def test_unavailable_store_passes_unknown_keys_and_loses_nothing(
    hour: Hour, enforcing: Worker, own_redis: Redis
) -> None:
    assert get_page(enforcing, "/v1/decision", X_API_Key=COT).status == 403
    own_redis.stop()
    more(hour.worker)
    assert get_page(enforcing, "/v1/decision", X_API_Key="sk-new").status == 200
    assert get_page(enforcing, "/v1/decision", X_API_Key=COT).status == 403
    until(lambda: "is away" in why_not_ready(hour.worker))
    assert get_page(hour.worker, "/healthz").status == 200
    own_redis.start()
    until(lambda: get_page(hour.worker, "/readyz").status == 200)
    assert differences(hour.worker) == []


def more(worker: Worker) -> None:
    """Send one more minute of requests of one key."""
    fill(worker, [Message(None, request("sk-more", 3_600.0 + n)) for n in range(60)])


# Four partitions, and termination


class Ended(NamedTuple):
    """A worker with four partitions that observed an hour of traffic and was terminated."""

    worker: Worker
    differences: list[str]
    status: int
    seconds: float


@pytest.fixture(scope="module")
def ended(kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("ended")
    with Worker(folder, kafka, own_redis.url, XM_TOPICS__PARTITIONS="4") as worker:
        fill(worker, traffic())
        found = differences(worker)
        assert worker.process is not None
        begun = time.monotonic()
        worker.process.terminate()
        return Ended(worker, found, worker.process.wait(30), time.monotonic() - begun)


def test_four_partitions_equal_an_engine_in_memory(ended: Ended) -> None:
    assert ended.differences == []


def test_four_partitions_flag_the_same_keys_as_one(ended: Ended, hour: Hour) -> None:
    alerts = read_topic(ended.worker, ended.worker.settings.topics.alerts)
    found = flagged(ended.worker, [record.value for record in alerts])
    assert found == flagged(hour.worker, hour.found.alerts + hour.links.alerts)


def test_terminated_worker_ends_within_10_seconds(ended: Ended) -> None:
    assert ended.status == 0
    assert ended.seconds < 10


async def test_terminated_worker_has_committed_its_offsets(ended: Ended) -> None:
    settings, topic = ended.worker.settings, ended.worker.requests
    ends = Counter(record.partition for record in read_topic(ended.worker, topic))
    for partition, offset in ends.items():
        assert await committed(settings.kafka, settings.group, topic, partition) == offset

"""Each line of the doctor about Kafka, workers, receivers and Prometheus."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from contextlib import closing

import msgspec
import pytest
from aiohttp import web
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata
from pydantic import SecretStr

from monitor.config import Settings
from monitor.config.receivers import Receivers, Route
from monitor.store.operate.processes import Model, ProcessStore
from pipelines.demo.embedded import free_port
from pipelines.health.checks import Check
from pipelines.health.deployment import Deployment
from pipelines.health.doctor import check_shell, check_system, diagnose
from pipelines.health.kafka_checks import Topic, check_kafka, check_replicas
from pipelines.health.prometheus_checks import check_prometheus
from pipelines.health.receiver_checks import check_receivers
from pipelines.kafka import topics
from pipelines.web.heartbeat import secret_check
from tests.support.apps import fresh
from tests.support.commands import Xm
from tests.support.heartbeats import NOW, deployment, process
from tests.support.receivers import serving

SECRET = "0123456789abcdef0123456789abcdef"


def settings_on(kafka: str, **chosen: object) -> Settings:
    """Settings with topics and a group of their own."""
    name = fresh("doctor")
    kinds = (
        "requests", "keyed", "rejected", "alerts", "undelivered", "fingerprints", "decisions",
        "audit", "cases",
    )  # fmt: skip
    named = {kind: f"{name}.{kind}" for kind in kinds} | {"partitions": 2}
    facts = {"kafka": kafka, "group": name, "topics": named, "identity_secret": SECRET}
    return Settings.model_validate(facts | chosen)


@pytest.fixture
def settings(kafka: str) -> Settings:
    made = settings_on(kafka)
    topics.create(made)
    return made


def found(settings: Settings) -> dict[str, Check]:
    return {each.name: each for each in check_kafka(settings, None)}


def send(settings: Settings, count: int, at: float | None = None) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    when = None if at is None else int(1000 * at)
    for _ in range(count):
        producer.send(settings.topics.requests, b"{}", partition=0, timestamp_ms=when)
    producer.flush()
    producer.close()


def commit(settings: Settings, offset: int) -> None:
    tp = TopicPartition(settings.topics.requests, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=settings.group, enable_auto_commit=False
    )
    consumer.assign([tp])
    consumer.commit({tp: OffsetAndMetadata(offset, "", -1)})
    consumer.close()


# Kafka


def test_created_topics_are_ok(settings: Settings) -> None:
    wrong = {each.name: each.found for each in check_kafka(settings, None) if each.state != "ok"}
    assert {name for name in wrong if not name.startswith("role ")} == set()


def test_kafka_that_is_away_fails_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_TIMEOUT_MS", 500)
    (only,) = check_kafka(settings_on(f"127.0.0.1:{free_port()}"), None)
    assert (only.name, only.state) == ("connection", "failed")
    assert only.remedy == "Start it, or point XM_KAFKA at it."


def test_missing_topics_are_named(kafka: str) -> None:
    wanted = settings_on(kafka)
    check = found(wanted)["topics"]
    assert check.state == "failed"
    assert wanted.topics.requests in check.found
    assert check.remedy == "Create them: `xm topics create`."


def test_other_partitions_than_the_settings_say(settings: Settings) -> None:
    settings.topics.partitions = 5
    assert found(settings)["partitions"].state == "warning"
    settings.topics.linkers = 3
    assert "XM_TOPICS__LINKERS" in found(settings)["partitions"].found


@pytest.mark.skipif(
    "XM_TEST_KAFKA" not in os.environ, reason="the embedded broker has no exact offsets and groups"
)
def test_readers_are_checked(settings: Settings) -> None:
    send(settings, 3, time.time())
    assert "Nothing of" in found(settings)["role watch"].found
    assert "3 messages wait" in found(settings)["role watch"].found
    commit(settings, 1)
    assert "has no member, 2 messages" in found(settings)["role watch"].found
    assert found(settings)["clock"].state == "ok"
    send(settings, 1, time.time() + 3_600)
    assert found(settings)["clock"].state == "failed"
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka)) as admin:
        admin.delete_records({TopicPartition(settings.topics.requests, 0): 3})
        assert "has deleted 2 messages" in found(settings)["role watch"].found
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topics.decisions)
        resource.configs = {"cleanup.policy": "delete"}
        admin.alter_configs([resource])
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topics.cases)
        resource.configs = {"max.message.bytes": "1000000", "retention.ms": "60000"}
        admin.alter_configs([resource])
    checks = found(settings)
    assert {name for name, each in checks.items() if each.state != "ok"} == {
        "role watch", "clock", "cleanup", "message size", "retention", "role link", "role deliver",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("partition", "name", "state"),
    [((-1, 3, 0), "replicas", "failed"), ((1, 3, 2), "replicas", "warning"),
     ((1, 1, 1), "replication", "warning"), ((1, 3, 3), "replicas", "ok")],
)  # fmt: skip
def test_replicas_of_several_brokers(
    partition: tuple[int, int, int], name: str, state: str
) -> None:
    topics = {"llm.requests": Topic({0: partition}, {})}
    checks = {each.name: each.state for each in check_replicas(topics, brokers=3)}
    assert checks[name] == state


# Workers, and this shell


def of_system(*processes: object, **changes: dict[str, object]) -> dict[str, Check]:
    everything = [*deployment(**changes), *processes]
    return {each.name: each for each in check_system(Deployment(everything, NOW))}  # type: ignore[arg-type]


def test_deployment_on_its_own_reference_is_ok() -> None:
    own = {"reference": Model("/etc/xm/reference.json", "abc", NOW - 86_400)}
    checks = of_system(**{role: {"models": own} for role in ("watch", "link", "deliver")})
    assert {each.state for each in checks.values()} == {"ok"}


def test_shipped_or_old_reference_warns() -> None:
    assert of_system()["reference"].state == "warning"
    old = {"reference": Model("/etc/xm/reference.json", "abc", NOW - 200 * 86_400)}
    assert "200 days old" in of_system(watch={"models": old})["reference"].found


def test_problem_of_the_system_is_a_line() -> None:
    checks = of_system(process("watch", 1, skew=60.0, at=NOW + 58))
    assert checks["clock of node-1"].state == "failed"


def of_shell(shell: Settings, secret: str, **watch: object) -> dict[str, Check]:
    found = Deployment(deployment(watch={"secret": secret, **watch}), NOW)
    return {each.name: each for each in check_shell(shell, found)}


def test_shell_with_another_secret_fails() -> None:
    settings = Settings(identity_secret=SecretStr(SECRET))
    roles = ("watch", "link", "deliver", "decide")
    same = {role: {"secret": secret_check(settings)} for role in roles}
    alike = Deployment(deployment(**same), NOW)
    (check,) = check_shell(settings, alike)
    assert (check.name, check.state) == ("identity secret", "ok")
    other = Settings(identity_secret=SecretStr("another secret of 16 bytes"))
    assert next(iter(check_shell(other, alike))).state == "failed"
    assert next(iter(check_shell(Settings(), alike))).state == "warning"


def test_shell_with_other_settings_warns() -> None:
    checks = of_shell(Settings(), "s", settings={"mapping": "litellm"})
    assert checks["settings"].found == (
        "They differ from the workers': mapping is native here and litellm there."
    )


def test_misspelt_variable_of_the_shell_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XM_KAFKAA", "x")
    assert of_shell(Settings(), "s")["variables"].state == "warning"


# Receivers


def to(url: str, type: str = "slack", **facts: object) -> Settings:
    route = Route.model_validate({"type": type, "url": url, **facts})
    return Settings(receivers=Receivers(routes={"desk": route}))


def test_no_receiver_warns() -> None:
    (only,) = check_receivers(Settings())
    assert (only.name, only.state) == ("settings", "warning")


def test_receiver_that_is_away_fails_without_its_secret_path() -> None:
    (only,) = check_receivers(to(f"http://127.0.0.1:{free_port()}/services/T0/hidden"))
    assert (only.name, only.state) == ("desk", "failed")
    assert "hidden" not in only.found


def test_receiver_that_listens_is_ok_and_gets_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (only,) = check_receivers(to(f"http://127.0.0.1:{listener.getsockname()[1]}/hook"))
        assert only.state == "ok"
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (503, "failed")])
async def test_alertmanager_is_asked_whether_it_is_ready(status: int, state: str) -> None:
    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=status)

    port = free_port()
    async with serving(ready, port):
        settings = to(f"http://127.0.0.1:{port}", "alertmanager")
        (only,) = await asyncio.to_thread(lambda: list(check_receivers(settings)))
    assert only.state == state


# Prometheus


@pytest.mark.parametrize(
    ("rules", "series", "states"),
    [
        ([], 0, {"rules": "failed", "metrics": "warning"}),
        ([{"name": "MonitorDown", "health": "ok"}], 3, {"rules": "ok", "metrics": "ok"}),
        (
            [{"name": "MonitorDown", "health": "err", "lastError": "many-to-many"}],
            3,
            {"rules": "failed", "metrics": "ok"},
        ),
    ],
)
async def test_prometheus_without_rules_or_metrics(
    rules: list[dict[str, str]], series: int, states: dict[str, str]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("rules"):
            return web.json_response({"data": {"groups": [{"rules": rules}]}})
        result = [{"value": [0, str(series)]}] if series else []
        return web.json_response({"data": {"result": result}})

    port = free_port()
    async with serving(answer, port):
        url = f"http://127.0.0.1:{port}"
        checks = await asyncio.to_thread(lambda: list(check_prometheus(url)))
    assert {each.name: each.state for each in checks} == states


def test_prometheus_that_is_away_fails() -> None:
    (only,) = check_prometheus(f"http://127.0.0.1:{free_port()}")
    assert only.state == "failed"


# The command


def test_doctor_checks_everything(
    settings: Settings, redis_url: str, xm: Xm, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ProcessStore(redis_url)
    for each in deployment():
        store.beat(msgspec.structs.replace(each, at=time.time(), started=time.time()))
    chosen = settings.model_copy(update={"redis_url": redis_url})
    areas = {each.area for each in diagnose(chosen)}
    assert areas == {"Kafka", "Redis", "workers", "this shell", "receivers"}
    monkeypatch.setattr(topics, "_TIMEOUT_MS", 500)
    ended = xm("doctor", "--json", XM_KAFKA="127.0.0.1:1", XM_REDIS_URL=redis_url)
    assert ended.status == 1
    lines = {line["name"]: line for line in json.loads(ended.out) if line["area"] == "Kafka"}
    assert lines["connection"]["state"] == "failed"


def test_status_of_a_system_that_does_not_run(redis_url: str, xm: Xm) -> None:
    ended = xm("status", XM_REDIS_URL=redis_url)
    assert (ended.status, ended.out.splitlines()[0]) == (1, "DOWN: no process of the monitor runs.")
    assert xm("status", XM_REDIS_URL="redis://127.0.0.1:1/0").status == 2

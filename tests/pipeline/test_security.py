"""Kafka with TLS and SASL: every client logs in, and a refusal names its reason."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aiokafka.errors import MessageSizeTooLargeError, RequestTimedOutError
from aiokafka.protocol.produce import ProduceRequest
from cryptography.hazmat.primitives import serialization

from monitor.config import KafkaSecurity, Settings
from monitor.errors import ConfigError
from pipelines.kafka import topics
from pipelines.kafka.groups import take_over
from pipelines.kafka.offsets import Offsets
from pipelines.kafka.outlet import Message
from pipelines.kafka.producer import Producer
from pipelines.kafka.ranges import Range, RangeReader
from pipelines.kafka.read import read_messages, read_topic
from pipelines.traffic.producer import send
from tests.conftest import absent
from tests.support import workers
from tests.support.apps import fresh, new_topic
from tests.support.programs import Worker
from tests.support.redis_servers import Authority
from tests.support.servers import SecureKafka
from tests.support.tokens import CLIENT, SECRET, token, token_server

LOGIN = {"user": SecureKafka.user, "password": SecureKafka.password}
EXPIRED, KEY_PASSWORD = Path("expired"), "of the client's key"
SCRAM = {"mechanism": "SCRAM-SHA-512", **LOGIN}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("secure") / "ca")


@pytest.fixture(scope="module")
def secure_kafka(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecureKafka]:
    libs = os.environ.get("XM_TEST_KAFKA_LIBS")
    if not libs:
        absent("XM_TEST_KAFKA_LIBS does not name a folder of Apache Kafka's jars")
    certificate, key = authority.sign("localhost")
    folder = tmp_path_factory.mktemp("kafka")
    ca = authority.certificate
    with SecureKafka(folder, Path(libs), ca, certificate, key) as server:
        yield server


def security(authority: Authority, **chosen: Any) -> dict[str, Any]:
    """Settings with the CA's certificate where the protocol uses TLS."""
    tls = {"ca_file": authority.certificate} if chosen["protocol"].endswith("ssl") else {}
    return {**tls, **chosen}


def started(
    folder: Path, kafka: SecureKafka, authority: Authority, redis_url: str, **chosen: Any
) -> Worker:
    """A worker with these settings of Kafka's security."""
    settings = security(authority, **chosen)
    environment = {f"XM_KAFKA_SECURITY__{k.upper()}": str(v) for k, v in settings.items()}
    return Worker(folder, kafka.addresses[chosen["protocol"]], redis_url, **environment)


def send_one(worker: Worker, number: int = 0) -> None:
    line = b'{"ts": %d, "api_key": "sk-1", "prompt": "hello"}' % (1772020800 + number)
    settings = worker.settings
    sending = send(
        [[Message(b"sk-1", line)]],
        settings.kafka,
        worker.requests,
        security=settings.kafka_security,
    )
    assert asyncio.run(sending).acknowledged == 1


@pytest.mark.parametrize(
    "chosen",
    [{"protocol": "ssl"}, {"protocol": "sasl_ssl", **SCRAM}],
    ids=lambda chosen: chosen["protocol"],
)
def test_worker_reads_what_the_producer_sent(
    secure_kafka: SecureKafka,
    authority: Authority,
    redis_url: str,
    tmp_path: Path,
    chosen: dict[str, Any],
) -> None:
    if chosen["protocol"] == "ssl":  # mTLS
        certificate, key = authority.sign("client")
        chosen = {**chosen, "cert_file": certificate, "key_file": encrypted(key, tmp_path)}
        chosen["key_password"] = KEY_PASSWORD
    with started(tmp_path / "worker", secure_kafka, authority, redis_url, **chosen) as worker:
        assert dict(topics.create(worker.settings))[worker.requests] == "exists"
        send_one(worker)
        workers.until(lambda: workers.metrics(worker)["xm_events_total"] == 1)


def test_worker_outlives_its_token_and_logs_none(
    secure_kafka: SecureKafka, authority: Authority, redis_url: str, tmp_path: Path
) -> None:
    """The broker ends each connection after 2 s; the worker logs in with the token of the time."""
    file, tokens = tmp_path / "token", [token(seconds) for seconds in (600, 700)]
    file.write_text(tokens[0])
    chosen = {"protocol": "sasl_plaintext", "mechanism": "OAUTHBEARER", "token_file": file}
    with started(tmp_path / "worker", secure_kafka, authority, redis_url, **chosen) as worker:
        send_one(worker)
        workers.until(lambda: workers.metrics(worker)["xm_events_total"] == 1)
        file.unlink()
        workers.until(lambda: "kafka_token_missing" in worker.log.read_text())
        file.write_text(tokens[1])
        send_one(worker, 60)
        workers.until(lambda: workers.metrics(worker)["xm_events_total"] == 2)
        log = worker.log.read_text()
    assert "TOKEN_FILE names" in log
    assert not any(part in log for each in tokens for part in each.split(".") if part)


@pytest.mark.parametrize(
    "chosen",
    [
        {"protocol": "sasl_plaintext", "mechanism": "PLAIN", **LOGIN},
        {"protocol": "sasl_ssl", "mechanism": "SCRAM-SHA-256", **LOGIN},
        {"protocol": "sasl_ssl", "mechanism": "OAUTHBEARER", "extensions": {"pool": "a"}},
    ],
    ids=lambda chosen: chosen["mechanism"],
)
def test_every_client_logs_in(
    secure_kafka: SecureKafka, authority: Authority, chosen: dict[str, Any]
) -> None:
    with token_server() as endpoint:
        if chosen["mechanism"] == "OAUTHBEARER":
            chosen = {**chosen, "token_url": endpoint.url, "client_id": CLIENT}
            chosen["client_secret"] = SECRET
        login = KafkaSecurity(**security(authority, **chosen))
        address, topic = secure_kafka.addresses[chosen["protocol"]], fresh("requests")
        settings = _settings(address, login, topics={"requests": topic, "partitions": 1})
        assert dict(topics.create(settings))[topic] == "created"
        sent = send([[Message(b"sk-1", b"one"), Message(b"sk-1", b"two")]], address, topic,
                    security=login)  # fmt: skip
        assert asyncio.run(sent).acknowledged == 2
        assert list(read_topic(settings, topic)) == [b"one", b"two"]
        assert list(read_messages(settings, [f"{topic}:0:1"])) == [(f"{topic}:0:1", b"two")]
        reader = RangeReader(settings)
        assert [len(each.values) for each in reader.batches([Range(topic, 0, 0, 2)])] == [2]
        with closing(Offsets(settings)) as offsets:
            assert offsets.ends([f"{topic}:0"]) == {f"{topic}:0": 2}
        take_over(address, login, topic, fresh("old"), fresh("new"))


@pytest.mark.parametrize(
    ("listener", "chosen", "reason"),
    [
        ("sasl_plaintext", {"protocol": "sasl_plaintext", **LOGIN, "password": "wr0ng"},
         "refused the SASL login of user monitor with PLAIN (.*): correct XM_KAFKA_SECURITY__USER"),
        ("sasl_ssl", {"protocol": "sasl_ssl", **SCRAM, "password": "wr0ng"},
         "refused the SASL login of user monitor with SCRAM-SHA-512"),
        ("sasl_ssl", {"protocol": "sasl_ssl", "mechanism": "OAUTHBEARER", "token_file": EXPIRED},
         "refused the token (.*invalid.*): .*expired.*TOKEN_FILE"),
        ("ssl", {"protocol": "ssl"}, "refused the client certificate: .*CERT_FILE"),
        ("sasl_ssl", {"protocol": "sasl_ssl", **LOGIN, "ca_file": None},
         "has a certificate that fails verification .*CA_FILE"),
        ("sasl_ssl", {"protocol": "plaintext"}, "closes the connection: .*now plaintext"),
        ("sasl_plaintext", {"protocol": "ssl"}, "closes the connection: .*now ssl"),
    ],
)  # fmt: skip
def test_refusal_is_one_sentence_with_the_reason(
    secure_kafka: SecureKafka,
    authority: Authority,
    listener: str,
    chosen: dict[str, Any],
    reason: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = secure_kafka.addresses[listener]
    secrets = ["wr0ng"]
    if "token_file" in chosen:
        secrets += (text := token(-60)).split(".")[:2]
        chosen = {**chosen, "token_file": tmp_path / "token"}
        chosen["token_file"].write_text(text)
    settings = KafkaSecurity(**security(authority, **chosen))
    for attempt in (
        lambda: topics.check_topics(_settings(address, settings)),
        lambda: asyncio.run(send([], address, "requests", security=settings)),
    ):
        with pytest.raises(ConfigError, match=f"^Kafka at {address} {reason}") as refused:
            attempt()
        assert not any(each in str(refused.value) + caplog.text for each in secrets)
    assert "Unclosed" not in caplog.text


def test_worker_with_a_wrong_password_ends_without_showing_it(
    secure_kafka: SecureKafka, authority: Authority, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("wr0ng")
    worker = started(
        tmp_path / "worker", secure_kafka, authority, redis_url, protocol="sasl_ssl",
        user=SecureKafka.user, mechanism="SCRAM-SHA-512", password_file=tmp_path / "password",
    )  # fmt: skip
    worker.launch()
    assert worker.process is not None
    assert worker.process.wait(120) == 2
    log = worker.log.read_text()
    assert "refused the SASL login of user monitor with SCRAM-SHA-512" in log
    assert "Traceback" not in log
    assert "wr0ng" not in log


def test_missing_login_is_named(secure_kafka: SecureKafka) -> None:
    address = secure_kafka.addresses["sasl_plaintext"]
    with pytest.raises(ConfigError, match=r"answers no request: set XM_KAFKA_SECURITY__PROTOCOL"):
        topics.check_topics(_settings(address, KafkaSecurity()))


async def test_batch_whose_answer_is_lost_is_stored_once(secure_kafka: SecureKafka) -> None:
    topic = new_topic(secure_kafka.address, 1)
    producer = Producer(bootstrap_servers=secure_kafka.address, retry_backoff_ms=50)
    await producer.start()
    send, lost = producer.client.send, []

    async def losing(*args: Any, **options: Any) -> Any:
        answer = await send(*args, **options)
        if isinstance(args[1], ProduceRequest) and not lost:
            lost.append(answer)
            raise RequestTimedOutError
        return answer

    with mock.patch.object(producer.client, "send", losing):
        await producer.send_and_wait(topic, b"one", partition=0)
        await producer.send_and_wait(topic, b"two", partition=0)
    await producer.stop()
    assert lost
    settings = _settings(secure_kafka.address, KafkaSecurity(), topics={"requests": topic})
    assert [
        value for _, value in read_messages(settings, [f"{topic}:0:{n}" for n in range(4)])
    ] == [b"one", b"two"]


async def test_refused_batch_holds_up_no_other(secure_kafka: SecureKafka) -> None:
    topic = new_topic(secure_kafka.address, 1)
    producer = Producer(
        bootstrap_servers=secure_kafka.address, max_request_size=4 << 20, max_batch_size=4 << 20
    )
    await producer.start()
    for number in range(3):
        await producer.send_and_wait(topic, b"%d" % number, partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, bytes(2 << 20), partition=0)
    assert producer._txn_manager.has_pid() is False
    await producer.send_and_wait(topic, b"3", partition=0)
    assert producer._txn_manager.has_pid()
    await producer.stop()


def encrypted(key: Path, folder: Path) -> Path:
    """A copy of a private key that needs a password."""
    text = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(KEY_PASSWORD.encode()),
    )
    (folder / "encrypted.pem").write_bytes(text)
    return folder / "encrypted.pem"


def _settings(address: str, security: KafkaSecurity, **chosen: Any) -> Settings:
    return Settings(kafka=address, kafka_security=security, **chosen)

"""Kafka with TLS and SASL: every client logs in, and a refusal names its reason."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.config import KafkaSecurity, Settings
from monitor.errors import ConfigError
from pipelines.kafka import topics
from pipelines.kafka.outlet import Message
from pipelines.traffic.producer import send
from tests.conftest import absent
from tests.support import workers
from tests.support.programs import Worker
from tests.support.redis_servers import Authority
from tests.support.servers import SecureKafka

LOGIN = {"user": SecureKafka.user, "password": SecureKafka.password}
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


@pytest.mark.parametrize(
    "chosen",
    [
        {"protocol": "ssl"},
        {"protocol": "sasl_plaintext", "mechanism": "PLAIN", **LOGIN},
        {"protocol": "sasl_ssl", "mechanism": "SCRAM-SHA-256", **LOGIN},
        {"protocol": "sasl_ssl", **SCRAM},
    ],
    ids=lambda chosen: "-".join([chosen["protocol"], chosen.get("mechanism", "certificate")]),
)
def test_worker_reads_what_the_producer_sent(
    secure_kafka: SecureKafka,
    authority: Authority,
    redis_url: str,
    tmp_path: Path,
    chosen: dict[str, str],
) -> None:
    settings = security(authority, **chosen)
    if chosen["protocol"] == "ssl":
        settings["cert_file"], settings["key_file"] = authority.sign("client")
    address = secure_kafka.addresses[chosen["protocol"]]
    environment = {f"XM_KAFKA_SECURITY__{k.upper()}": str(v) for k, v in settings.items()}
    with Worker(tmp_path / "worker", address, redis_url, **environment) as worker:
        assert dict(topics.create(worker.settings))[worker.requests] == "exists"
        message = Message(b"sk-1", b'{"ts": 1772020800, "api_key": "sk-1", "prompt": "hello"}')
        sending = send([[message]], address, worker.requests, security=KafkaSecurity(**settings))
        assert asyncio.run(sending).acknowledged == 1
        workers.until(lambda: workers.metrics(worker)["xm_events_total"] == 1)


@pytest.mark.parametrize(
    ("listener", "chosen", "reason"),
    [
        ("sasl_plaintext", {"protocol": "sasl_plaintext", **LOGIN, "password": "wr0ng"},
         "refused the SASL login of user monitor with PLAIN (.*): correct XM_KAFKA_SECURITY__USER"),
        ("sasl_ssl", {"protocol": "sasl_ssl", **SCRAM, "password": "wr0ng"},
         "refused the SASL login of user monitor with SCRAM-SHA-512"),
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
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = secure_kafka.addresses[listener]
    settings = KafkaSecurity(**security(authority, **chosen))
    for attempt in (
        lambda: topics.check_topics(_settings(address, settings)),
        lambda: asyncio.run(send([], address, "requests", security=settings)),
    ):
        with pytest.raises(ConfigError, match=f"^Kafka at {address} {reason}") as refused:
            attempt()
        assert "wr0ng" not in str(refused.value)
    assert "Unclosed" not in caplog.text


def test_missing_login_is_named(secure_kafka: SecureKafka) -> None:
    address = secure_kafka.addresses["sasl_plaintext"]
    with pytest.raises(ConfigError, match=r"answers no request: set XM_KAFKA_SECURITY__PROTOCOL"):
        topics.check_topics(_settings(address, KafkaSecurity()))


def _settings(address: str, security: KafkaSecurity) -> Settings:
    return Settings(kafka=address, kafka_security=security)

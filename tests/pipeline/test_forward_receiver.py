"""`xm forward --receive` takes what OpenTelemetry's own exporter sends, over TLS with a token."""

from __future__ import annotations

import ssl
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from monitor.requests.decoder import Decoder
from pipelines.web.tokens import new_token
from tests.support.apps import new_topic
from tests.support.commands import Xm
from tests.support.forwarder import Forwarder, read_topic
from tests.support.redis_servers import Authority
from tests.support.workers import until


class SecureForwarder(Forwarder):
    """A forwarder with a certificate; its pages are asked with the CA's."""

    ca: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def ready(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            with urllib.request.urlopen(self.url + self.page, timeout=5, context=context):
                return True
        except OSError:
            return False


def spans(*keys: str) -> tuple[ReadableSpan, ...]:
    """Spans of chats, as OpenTelemetry's SDK makes them."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for number, key in enumerate(keys):
        with provider.get_tracer("gateway").start_as_current_span("chat m") as span:
            span.set_attributes(
                {"gen_ai.operation.name": "chat", "api_key.id": key, "enduser.id": f"user-{number}"}
            )
            span.set_attribute("gen_ai.input.messages", '[{"role": "user", "content": "Why?"}]')
    return memory.get_finished_spans()


def test_spans_of_the_sdk_arrive_by_tls_with_a_token(
    kafka: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic, authority = new_topic(kafka), Authority(tmp_path / "ca")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
    certificate, key = authority.sign("localhost")
    token, line = new_token("sdk", "change")
    (tmp_path / "tokens").write_text(line)
    forwarder = SecureForwarder(
        tmp_path / "forwarder",
        kafka,
        topic,
        "--receive",
        XM_MAPPING="otel-genai",
        XM_FORWARD__HOST="0.0.0.0",
        XM_FORWARD__TLS_CERT_FILE=str(certificate),
        XM_FORWARD__TLS_KEY_FILE=str(key),
        XM_FORWARD__TOKENS_FILE=str(tmp_path / "tokens"),
    )
    forwarder.ca = authority.certificate
    with forwarder:
        for headers, result in (
            ({"Authorization": "Bearer xm_wrong"}, SpanExportResult.FAILURE),
            ({"Authorization": f"Bearer {token}"}, SpanExportResult.SUCCESS),
        ):
            exporter = OTLPSpanExporter(
                f"{forwarder.url}/v1/traces",
                headers=headers,
                compression=Compression.Gzip,
            )
            assert exporter.export(spans("sk-1", "sk-1", "sk-2")) is result
        assert "401" in caplog.text
        until(lambda: len(read_topic(kafka, topic)) == 3)
    records = read_topic(kafka, topic)
    assert [record.key for record in records] == [b"sk-1", b"sk-1", b"sk-2"]
    events = Decoder("otel-genai").decode([record.value for record in records], 2e9).events
    assert [event.prompt for event in events] == ["Why?"] * 3
    assert token not in forwarder.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "settings", "sentence"),
    [
        ([], {}, "Name log files or objects to forward, or use --receive"),
        (["--receive"], {"XM_FORWARD__HOST": "0.0.0.0"}, "set XM_FORWARD__TOKENS_FILE or"),
        (["--receive"], {"XM_FORWARD__TOKENS_FILE": "/nothing"}, "/nothing cannot be read"),
        (["--receive"], {"XM_FORWARD__TLS_KEY_FILE": "/key"}, "XM_FORWARD__TLS_CERT_FILE is not"),
        (["x.json"], {"XM_FORWARD__SPOOL": "/proc/spool"}, "set XM_FORWARD__SPOOL to a folder"),
        (["x.json"], {"XM_FORWARD__HOST": "192.0.2.1"}, "Cannot listen on 192.0.2.1:4318"),
        (["gopher://x"], {}, "use one of file, gcs, gs, s3"),
        (["ftp://me:secret@127.0.0.1:9/x"], {}, "The storage of ftp://127.0.0.1:9/x cannot be"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    xm: Xm, tmp_path: Path, arguments: list[str], settings: dict[str, str], sentence: str
) -> None:
    ended = xm("forward", *arguments, **{"XM_FORWARD__SPOOL": str(tmp_path / "spool"), **settings})
    assert ended.status == 2
    assert sentence in ended.error
    assert len(ended.error.splitlines()) == 1
    assert "secret" not in ended.error

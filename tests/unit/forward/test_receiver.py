"""The receiver stores all of what it answers with 200, and nothing of the rest."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from monitor.config import Settings
from monitor.requests.decoder import Decoder
from pipelines.forward.intake import Intake
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.pages import pages
from pipelines.forward.receiver import Receiver
from pipelines.forward.sender import Sender
from pipelines.forward.spool import Spool
from pipelines.kafka.outlet import Message
from pipelines.web.tokens import Tokens, new_token
from tests.support.otel import CHAT, export, log, span

PROTOBUF, JSON = "application/x-protobuf", "application/json"
Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start(spool: Spool) -> AsyncIterator[Start]:
    clients = []

    async def run(mapping: str = "native", tokens: Tokens | None = None) -> Client:
        metrics = ForwardMetrics()
        intake = Intake(Decoder(mapping), spool, metrics)
        receiver = Receiver(intake, tokens, mapping == "otel-genai", metrics)
        client = TestClient(
            TestServer(pages(Sender(Settings(), spool, metrics), metrics, receiver))
        )
        await client.start_server()
        clients.append(client)
        return client

    yield run
    for client in clients:
        await client.close()


async def stored(spool: Spool) -> list[Message]:
    return (await spool.next()).messages if spool.count else []


def line(number: int, key: str = "sk-1") -> bytes:
    return json.dumps({"ts": 1_772_020_800.0 + number, "api_key": key}).encode()


def called(key: str | None, id: str = "a1", **attributes: object) -> dict[str, Any]:
    named = {} if key is None else {"api_key.id": key}
    found: dict[str, Any] = span({**CHAT, **named, **attributes}, id=id)
    return found


def protobuf(document: dict[str, Any]) -> bytes:
    """A JSON export of spans in protobuf, by Google's library."""
    from google.protobuf import json_format

    text = json.dumps(document).replace(
        '"traceId": "' + "0f" * 16, '"traceId": "Dw8PDw8PDw8PDw8PDw8PDw=='
    )
    return bytes(json_format.Parse(text, ExportTraceServiceRequest()).SerializeToString())


async def post(client: Client, path: str, body: bytes, kind: str, **headers: str) -> ClientResponse:
    return await client.post(path, data=body, headers={"Content-Type": kind, **headers})


async def test_upload_stores_each_line_as_it_is(start: Start, spool: Spool) -> None:
    lines = [line(1, "sk-1"), line(2, "sk-2") + b" ", b"no request"]
    answer = await post(await start(), "/v1/requests", b"\n".join(lines), JSON)
    assert answer.status == 200
    report = await answer.json()
    assert report["requests"] == 2
    assert report["rejected"][0].startswith("1 rejected as not_json")
    keys = [b"sk-1", b"sk-2", b""]
    assert await stored(spool) == [Message(*pair) for pair in zip(keys, lines, strict=True)]


@pytest.mark.parametrize("encoding", ["gzip", None])
async def test_packed_upload_is_read(start: Start, spool: Spool, encoding: str | None) -> None:
    headers = {"Content-Encoding": encoding} if encoding else {}
    body = gzip.compress(line(1) + b"\n" + line(2))
    answer = await post(await start(), "/v1/requests", body, "text/plain", **headers)
    assert (answer.status, spool.count) == (200, 2)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b"GET / HTTP/1.1", "XM_MAPPING must name its format"),
        (gzip.compress(line(1), mtime=0)[:-9], "its gzip data is cut off"),
    ],
    ids=["empty", "other", "cut off"],
)
async def test_unreadable_upload_stores_nothing(
    start: Start, spool: Spool, body: bytes, reason: str
) -> None:
    answer = await post(await start(), "/v1/requests", body, JSON)
    assert (answer.status, answer.content_type) == (400, "application/problem+json")
    assert reason in (await answer.json())["detail"]
    assert spool.count == 0


async def test_full_spool_sends_clients_away(start: Start, spool: Spool) -> None:
    await spool.put([Message(b"", bytes(1 << 20))])
    answer = await post(await start(), "/v1/requests", line(1), JSON)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "full" in (await answer.json())["detail"]
    assert spool.count == 1


async def test_bomb_is_refused(start: Start, spool: Spool) -> None:
    bomb = gzip.compress(b" " * (65 << 20))
    answer = await post(await start(), "/v1/requests", bomb, JSON, **{"Content-Encoding": "gzip"})
    assert (answer.status, spool.count) == (413, 0)


async def test_body_in_another_encoding_than_stated_is_refused(start: Start) -> None:
    answer = await post(
        await start(), "/v1/requests", b"plain", JSON, **{"Content-Encoding": "gzip"}
    )
    assert answer.status == 400


async def test_export_of_one_key_is_stored_as_it_is(start: Start, spool: Spool) -> None:
    body = protobuf(export(called("sk-1"), called("sk-1", id="a2")))
    answer = await post(await start("otel-genai"), "/v1/traces", body, PROTOBUF)
    assert (answer.status, answer.content_type) == (200, PROTOBUF)
    assert (
        ExportTraceServiceResponse.FromString(await answer.read()) == ExportTraceServiceResponse()
    )
    assert await stored(spool) == [Message(b"sk-1", body)]


async def test_export_of_several_keys_becomes_a_message_each(start: Start, spool: Spool) -> None:
    document = export(called("sk-1", **{"gen_ai.prompt": "One?"}), called("sk-2", id="a2"))
    answer = await post(
        await start("otel-genai"), "/v1/traces", json.dumps(document).encode(), JSON
    )
    assert (answer.status, await answer.json()) == (200, {})
    messages = await stored(spool)
    assert [message.key for message in messages] == [b"sk-1", b"sk-2"]
    decoder = Decoder("otel-genai")
    whole = decoder.decode([json.dumps(document).encode()], 2e9).events
    assert decoder.decode([message.value for message in messages], 2e9).events == whole


async def test_spans_that_are_no_model_calls_are_not_sent(start: Start, spool: Spool) -> None:
    body = json.dumps(export(span({"db.system": "redis"}, name="GET"))).encode()
    client = await start("otel-genai")
    assert (await post(client, "/v1/traces", body, JSON)).status == 200
    assert spool.count == 0
    metrics = await (await client.get("/metrics")).text()
    assert 'xm_forward_ignored_total{reason="other_operation"} 1.0' in metrics


async def test_export_with_calls_without_a_key_is_partly_successful(start: Start) -> None:
    client = await start("otel-genai")
    body = json.dumps(export(logs=[log("gen_ai.client.inference.operation.details", CHAT)]))
    partial = (await (await post(client, "/v1/logs", body.encode(), JSON)).json())["partialSuccess"]
    assert partial["rejectedLogRecords"] == "1"
    assert partial["errorMessage"].startswith("api_key is missing")
    answer = await post(client, "/v1/traces", protobuf(export(called(None))), PROTOBUF)
    found = ExportTraceServiceResponse.FromString(await answer.read()).partial_success
    assert (found.rejected_spans, found.error_message) == (1, partial["errorMessage"])


@pytest.mark.parametrize(("kind", "body"), [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b"")])
async def test_empty_export_is_accepted(start: Start, kind: str, body: bytes) -> None:
    assert (await post(await start("otel-genai"), "/v1/logs", body, kind)).status == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (PROTOBUF, b"\x0a\xff", 400),
        (PROTOBUF, b"hello", 400),
        (JSON, b"[1", 400),
        ("text/plain", b"{}", 415),
    ],
)
async def test_what_is_no_export_is_refused_for_good(
    start: Start, spool: Spool, kind: str, body: bytes, status: int
) -> None:
    answer = await post(await start("otel-genai"), "/v1/traces", body, kind)
    assert (answer.status, spool.count) == (status, 0)
    assert len(await answer.read()) > 10
    assert "Retry-After" not in answer.headers


async def test_otlp_needs_the_mapping_that_reads_it(start: Start) -> None:
    answer = await post(await start("nginx"), "/v1/logs", b"{}", JSON)
    assert answer.status == 404
    assert "XM_MAPPING=otel-genai" in (await answer.json())["message"]


async def test_only_tokens_that_may_change_may_send(start: Start, tmp_path: Path) -> None:
    sender, line_of_sender = new_token("collector", "change")
    looker, line_of_looker = new_token("gateway", "look")
    (tmp_path / "tokens").write_text(f"{line_of_sender}\n{line_of_looker}\n")
    client = await start(tokens=Tokens(tmp_path / "tokens"))
    for token in (None, looker, f"{sender}x"):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await post(client, "/v1/requests", line(1), JSON, **headers)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    answer = await post(client, "/v1/requests", line(1), JSON, Authorization=f"Bearer {sender}")
    assert answer.status == 200


def test_logs_response_has_the_same_fields_as_that_of_traces() -> None:
    of_logs, of_traces = (
        each.DESCRIPTOR.fields_by_name["partial_success"]
        for each in (ExportLogsServiceResponse, ExportTraceServiceResponse)
    )
    assert of_logs.number == of_traces.number == 1

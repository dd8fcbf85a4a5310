"""Values that are encoded with a schema from a registry or a file."""

import base64
import io
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastavro
import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from monitor.config import Registry as Settings
from monitor.errors import ConfigError, RegistryUnavailableError
from monitor.requests.decoder import Decoder
from monitor.requests.framing import avro, protobuf
from monitor.requests.framing.schemas import Schemas

TS = 1_772_040_000.0
AVRO = {
    "type": "record",
    "name": "Request",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "api_key", "type": ["null", "string"]},
        {"name": "prompt", "type": "bytes"},
    ],
}


def avro_value(schema=AVRO, references=(), **fields) -> bytes:
    named: dict = {}
    for each in references:
        fastavro.parse_schema(each, named_schemas=named)
    out = io.BytesIO()
    record = {"ts": int(TS * 1000), "api_key": "key-avro", "prompt": b"Hi"} | fields
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas=named), record)
    return out.getvalue()


def proto_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="gateway.proto",
        package="gateway",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    file.message_type.add(name="Other")
    request = file.message_type.add(name="Request")
    when = request.field.add(name="ts", number=1, type=Field.TYPE_MESSAGE)
    when.type_name, when.label = ".google.protobuf.Timestamp", Field.LABEL_OPTIONAL
    for number, name in enumerate(("api_key", "prompt"), 2):
        request.field.add(
            name=name, number=number, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL
        )
    return file


def proto_value() -> bytes:
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(proto_file().SerializeToString())
    message = GetMessageClass(pool.FindMessageTypeByName("gateway.Request"))()
    message.ts.FromSeconds(int(TS))
    message.api_key, message.prompt = "key-proto", "Hi"
    return message.SerializeToString()


def framed(number: int, value: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + value


class FakeRegistry:
    """Answers paths; an integer answers with that status."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.asked: list[str] = []
        self.logins: set[str | None] = set()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.logins.add(self.headers["Authorization"])
                missing = {"error_code": 40403, "message": "Schema not found"}
                answer = registry.answers.get(self.path, (404, missing))
                status, body = answer if isinstance(answer, tuple) else (200, answer)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", str(body))
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def registry():
    fake = FakeRegistry()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def decoder(**settings) -> Decoder:
    return Decoder("native", Schemas(Settings(**settings)))


def events(found: Decoder, *values: bytes):
    decoded = found.decode(values, math.inf)
    assert decoded.rejections == []
    return [(event.api_key, event.ts, event.prompt) for event in decoded.events]


def detail(found: Decoder, value: bytes) -> str:
    [rejection] = found.decode([value], math.inf).rejections
    assert rejection.reason == "undecodable"
    return rejection.detail


# A registry


def test_registry_avro_is_read(registry):
    registry.answers["/schemas/ids/7"] = {"schema": json.dumps(AVRO)}
    found = decoder(url=registry.url)
    assert events(found, framed(7, avro_value())) == [("key-avro", TS, "Hi")]


def test_registry_schema_is_fetched_once(registry):
    registry.answers["/schemas/ids/7"] = {"schema": json.dumps(AVRO)}
    found = decoder(url=registry.url)
    assert len(events(found, *[framed(7, avro_value())] * 3)) == 3
    assert registry.asked == ["/schemas/ids/7"]


def test_registry_avro_references_are_followed(registry):
    prompt = {"type": "record", "name": "Prompt", "fields": [{"name": "text", "type": "string"}]}
    fields = [*AVRO["fields"][:2], {"name": "prompt", "type": "bytes"}]
    outer = AVRO | {"fields": [*fields, {"name": "more", "type": "Prompt"}]}
    reference = {"name": "Prompt", "subject": "team/prompt", "version": 3}
    registry.answers["/schemas/ids/7"] = {"schema": json.dumps(outer), "references": [reference]}
    registry.answers["/subjects/team%2Fprompt/versions/3"] = {"schema": json.dumps(prompt)}
    value = avro_value(outer, [prompt], more={"text": "x"})
    assert events(decoder(url=registry.url), framed(7, value)) == [("key-avro", TS, "Hi")]


def test_registry_protobuf_is_read(registry):
    text = base64.b64encode(proto_file().SerializeToString()).decode()
    registry.answers["/schemas/ids/8"] = {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3";'}
    registry.answers["/schemas/ids/8?format=serialized"] = {
        "schemaType": "PROTOBUF",
        "schema": text,
    }
    value = framed(8, b"\x02\x02" + proto_value())  # the path [1]
    assert events(decoder(url=registry.url), value) == [("key-proto", TS, "Hi")]


def test_registry_without_descriptors_is_named_with_remedy(registry):
    answer = {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3";'}
    registry.answers["/schemas/ids/8"] = answer
    registry.answers["/schemas/ids/8?format=serialized"] = answer
    assert "XM_REGISTRY__FILE" in detail(
        decoder(url=registry.url), framed(8, b"\0" + proto_value())
    )


def test_registry_json_schema_is_not_asked_for(registry):
    value = framed(9, json.dumps({"ts": TS, "api_key": "key-json"}).encode())
    assert events(decoder(url=registry.url), value) == [("key-json", TS, None)]
    assert registry.asked == []


def test_text_in_an_envelope_does_not_ask_the_registry(registry):
    text = framed(7, b"\x06abc").decode()
    [rejection] = decoder(url=registry.url).decode([json.dumps({"message": text}).encode()], 0.0)[3]
    assert (rejection.reason, registry.asked) == ("missing_field", [])


def test_registry_login_is_sent(registry):
    registry.answers["/schemas/ids/7"] = {"schema": json.dumps(AVRO)}
    found = decoder(url=registry.url, user="ann", password="pw")
    assert events(found, framed(7, avro_value()))
    assert registry.logins == {"Basic " + base64.b64encode(b"ann:pw").decode()}


def test_unknown_schema_rejects_and_is_asked_for_once(registry):
    found = decoder(url=registry.url)
    assert "no schema 5" in detail(found, framed(5, b"\x06abc"))
    assert "no schema 5" in detail(found, framed(5, b"\x06abc"))
    assert registry.asked == ["/schemas/ids/5"]


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ((500, {}), "Look at its log"),
        ((401, {}), "XM_REGISTRY__USER"),
        ((404, {"error_code": 404}), "XM_REGISTRY__URL"),
        ((302, "http://127.0.0.1:1/"), "XM_REGISTRY__URL"),
        (["no schema"], "XM_REGISTRY__URL"),
    ],
)
def test_failing_registry_loses_nothing(registry, answer, remedy):
    registry.answers["/schemas/ids/7"] = answer
    found = decoder(url=registry.url)
    with pytest.raises(RegistryUnavailableError, match=remedy):
        found.decode([framed(7, avro_value())], math.inf)


def test_registry_that_is_back_is_used(registry):
    now = [100.0]
    registry.answers["/schemas/ids/7"] = (503, {})
    schemas = Schemas(Settings(url=registry.url), clock=lambda: now[0])
    found = Decoder("native", schemas)
    for _ in range(3):
        with pytest.raises(RegistryUnavailableError):
            found.decode([framed(7, avro_value())], math.inf)
    assert len(registry.asked) == 1
    registry.answers["/schemas/ids/7"] = {"schema": json.dumps(AVRO)}
    now[0] += 2.0
    assert events(found, framed(7, avro_value())) == [("key-avro", TS, "Hi")]


def test_absent_registry_is_named_with_remedy():
    with pytest.raises(RegistryUnavailableError, match="XM_REGISTRY__URL"):
        decoder(url="http://127.0.0.1:9").decode([framed(7, avro_value())], math.inf)


# A schema file


@pytest.mark.parametrize("header", [b"", framed(7, b""), b"\xc3\x01" + b"\x11" * 8])
def test_avro_schema_file_reads_bare_and_framed(tmp_path, header):
    file = tmp_path / "request.avsc"
    file.write_text(json.dumps(AVRO))
    assert events(decoder(file=file), header + avro_value()) == [("key-avro", TS, "Hi")]


@pytest.mark.parametrize("header", [b"", framed(7, b"\x02\x02")])
def test_descriptor_file_reads_bare_and_framed(tmp_path, header):
    files = descriptor_pb2.FileDescriptorSet()
    files.file.add().CopyFrom(proto_file())
    file = tmp_path / "gateway.desc"
    file.write_bytes(files.SerializeToString())
    found = decoder(file=file, message="gateway.Request")
    assert events(found, header + proto_value()) == [("key-proto", TS, "Hi")]


def test_schema_file_leaves_json_alone(tmp_path):
    file = tmp_path / "request.avsc"
    file.write_text(json.dumps(AVRO))
    value = b'\n{"ts": 1772040000, "api_key": "key-json"}'
    assert events(decoder(file=file), value) == [("key-json", TS, None)]


@pytest.mark.parametrize("text", ["", "{}", '{"type": "nonsense"}', "\x0a\x05abc"])
def test_unusable_schema_file_is_an_error(tmp_path, text):
    file = tmp_path / "schema"
    file.write_text(text)
    with pytest.raises(ConfigError, match="XM_REGISTRY__FILE"):
        decoder(file=file)


def test_container_file_brings_its_schema():
    out = io.BytesIO()
    record = {"ts": int(TS * 1000), "api_key": "key-avro", "prompt": b"Hi"}
    fastavro.writer(out, fastavro.parse_schema(AVRO), [record, record])
    assert events(Decoder(), out.getvalue()) == [("key-avro", TS, "Hi")] * 2


# What could harm the worker


EMPTY = {"type": "record", "name": "Empty", "fields": []}


@pytest.mark.parametrize(
    "field",
    [
        ["null", "Request"],
        {"type": "array", "items": "null"},
        {"type": "array", "items": EMPTY},
        {"type": "map", "values": {"type": "array", "items": "null"}},
        {"type": "array", "items": {"type": "fixed", "name": "None", "size": 0}},
    ],
)
def test_avro_schema_without_bounds_is_refused(tmp_path, field):
    file = tmp_path / "request.avsc"
    file.write_text(json.dumps(AVRO | {"fields": [{"name": "more", "type": field}]}))
    with pytest.raises(ConfigError, match=r"contains itself|array of values"):
        decoder(file=file)


@pytest.mark.parametrize(("module", "name"), [(avro, "fastavro"), (protobuf, "descriptor_pb2")])
def test_missing_library_names_the_extra(monkeypatch, registry, module, name):
    monkeypatch.setattr(module, name, None)
    registry.answers["/schemas/ids/7"] = {"schema": json.dumps(AVRO)}
    registry.answers["/schemas/ids/8"] = {"schema": "", "schemaType": "PROTOBUF"}
    registry.answers["/schemas/ids/8?format=serialized"] = {"schema": "", "schemaType": "PROTOBUF"}
    number, extra = (7, "avro") if module is avro else (8, "protobuf")
    with pytest.raises(ConfigError, match=rf"extraction-monitor\[{extra}\]"):
        decoder(url=registry.url).decode([framed(number, b"\0abc")], math.inf)

"""Whatever the bytes: each value gives documents, text or an `ElementError`."""

import base64
import gzip
import io
import json
import zlib
from contextlib import suppress

import fastavro
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.requests.decoder import Decoder
from monitor.requests.framing import avro, protobuf
from monitor.requests.framing.envelopes import ENVELOPES
from monitor.requests.framing.schemas import Schemas
from monitor.requests.framing.unframe import Unframer
from monitor.requests.reasons import ElementError

LINE = b'{"ts": 1772040000, "api_key": "k", "message": "{\\"a\\": [1, null]}"}'
SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9}},
        {"name": "tags", "type": {"type": "map", "values": {"type": "array", "items": "string"}}},
        {"name": "kind", "type": ["null", {"type": "enum", "name": "E", "symbols": ["A", "B"]}]},
    ],
}


def container() -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema({"type": "string"}), ["a", "b"])
    return out.getvalue()


FRAMED = [
    gzip.compress(LINE),
    zstandard.compress(LINE),
    zlib.compress(LINE),
    base64.b64encode(gzip.compress(LINE)),
    LINE.decode().encode("utf-16"),
    LINE.decode().encode("utf-32-be"),
    b"\0\0\0\0\7" + LINE,
    b"\0\0\0\0\7\2\6abc",
    b"\3\5" + b"i" * 16 + zlib.compress(LINE),
    b"\xc3\1" + b"i" * 8 + b"\6abc",
    b"\x1e" + LINE + b"\x1e" + LINE,
    LINE + LINE,
    container(),
]
MAGIC = [value[:6] for value in FRAMED] + [
    b"",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"PAR1",
    b"\x04\x22\x4d\x18",
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.just(LINE.decode()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=9,
)


@st.composite
def mutants(draw) -> bytes:
    value = bytearray(draw(st.sampled_from(FRAMED)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(value)))
        value[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(value)


@st.composite
def beginnings(draw) -> bytes:
    return draw(st.sampled_from(MAGIC)) + draw(st.binary(max_size=40))


@st.composite
def envelopes(draw) -> bytes:
    envelope = draw(st.sampled_from(ENVELOPES))
    document = {field: draw(json_values) for field in envelope.fields}
    inner = draw(json_values)
    for step in reversed(envelope.record[1:]):
        inner = {step: inner}
    document[envelope.record[0]] = draw(st.sampled_from([inner, json.dumps(inner)]))
    return json.dumps(document).encode()


def file_schemas(kind: str) -> Schemas:
    schemas = Schemas()
    if kind == "avro":
        schemas._file = avro.decoder(json.dumps(SCHEMA), {})
    if kind == "protobuf":
        from google.protobuf import struct_pb2

        files = protobuf.Files([struct_pb2.DESCRIPTOR.serialized_pb])
        schemas._file, schemas._has_paths = files.named("google.protobuf.Struct"), True
    return schemas


@pytest.mark.parametrize("kind", ["none", "avro", "protobuf"])
@settings(max_examples=400, deadline=None)
@given(value=mutants() | beginnings() | st.binary(max_size=60))
def test_unframer_raises_nothing_but_element_errors(kind, value):
    unframe = Unframer(file_schemas(kind), 10_000)
    with suppress(ElementError):
        assert isinstance(unframe(value), bytes | list)


@settings(max_examples=600, deadline=None)
@given(value=mutants() | beginnings() | envelopes())
def test_decoder_accounts_for_every_element(value):
    decoder = Decoder()
    decoded = decoder.decode([value], 1_772_040_010.0)
    indices = [*decoded.elements, *(each.element for each in decoded.rejections)]
    assert sorted(indices) == list(range(len(indices)))
    assert len(decoder.split(value)) == len(indices)

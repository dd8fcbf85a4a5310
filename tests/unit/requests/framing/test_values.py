"""Message values in every wrapping, through the decoder."""

import base64
import bz2
import gzip
import json
import lzma
import zlib

import pytest
import zstandard

from monitor.requests.decoder import Decoder
from monitor.requests.framing.elements import MAX_BYTES

NOW = 1_772_040_010.0
ONE = {"ts": 1_772_040_000.0, "api_key": "key-one", "prompt": "Where do swifts winter? ☀"}
TWO = ONE | {"api_key": "key-two"}
LINE = json.dumps(ONE, ensure_ascii=False).encode()
BOTH = LINE + b"\n" + json.dumps(TWO).encode()

WRAPPINGS = {
    "gzip": gzip.compress,
    "two gzip members": lambda value: gzip.compress(value[:9]) + gzip.compress(value[9:]),
    "zstd": zstandard.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "gzip in base64": lambda value: base64.b64encode(gzip.compress(value)),
    "base64": base64.b64encode,
    "UTF-8 with a mark": lambda value: b"\xef\xbb\xbf" + value,
    "UTF-16": lambda value: value.decode().encode("utf-16"),
    "UTF-16 little-endian": lambda value: value.decode().encode("utf-16-le"),
    "UTF-16 big-endian": lambda value: value.decode().encode("utf-16-be"),
    "UTF-32": lambda value: value.decode().encode("utf-32"),
    "UTF-32 little-endian": lambda value: value.decode().encode("utf-32-le"),
    "UTF-32 big-endian": lambda value: value.decode().encode("utf-32-be"),
    "Confluent": lambda value: b"\0\0\0\0\x2a" + value,
    "Apicurio": lambda value: b"\0\0\0\0\0\0\0\0\x2a" + value,
    "AWS Glue": lambda value: b"\x03\0" + b"\x11" * 16 + value,
    "AWS Glue, compressed": lambda value: b"\x03\x05" + b"\x11" * 16 + zlib.compress(value),
}


def decode(value, mapping="native"):
    return Decoder(mapping).decode([value], NOW)


def keys(value, mapping="native"):
    decoded = decode(value, mapping)
    assert decoded.rejections == []
    return [event.api_key for event in decoded.events]


def rejection(value):
    decoded = decode(value)
    assert decoded.events == []
    [found] = decoded.rejections
    return found


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_wrapped_value_is_read(wrap):
    decoded = decode(wrap(LINE))
    assert [event.prompt for event in decoded.events] == [ONE["prompt"]]


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_wrapped_array_is_read(wrap):
    assert keys(wrap(json.dumps([ONE, TWO]).encode())) == ["key-one", "key-two"]


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_wrapped_value_splits_as_it_decodes(wrap):
    assert [json.loads(each) for each in Decoder().split(wrap(BOTH))] == [ONE, TWO]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bz2.compress])
def test_decompression_bomb_is_too_large(compress):
    found = rejection(compress(b" " * (MAX_BYTES + 1)))
    assert found.reason == "too_large"
    assert str(MAX_BYTES) in found.detail


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bz2.compress])
def test_cut_off_value_is_undecodable(compress):
    found = rejection(compress(LINE * 9)[:-6])
    assert (found.reason, "cut off" in found.detail) == ("undecodable", True)


def test_bomb_in_many_wrapped_records_is_too_large():
    bomb = base64.b64encode(gzip.compress(b"[" + b" " * (MAX_BYTES // 2) + b"]")).decode()
    records = [{"recordId": str(i), "data": bomb} for i in range(4)]
    decoded = decode(json.dumps({"records": records}).encode())
    assert "too_large" in {each.reason for each in decoded.rejections}


def test_value_wrapped_without_end_is_undecodable():
    value = LINE
    for _ in range(9):
        value = gzip.compress(value)
    assert rejection(value).reason == "undecodable"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"\0\0\0\0\x2a\x06abc\x02", "XM_REGISTRY__URL"),
        (b"\xc3\x01" + b"\x11" * 8 + b"\x06abc", "XM_REGISTRY__FILE"),
        (b"\x03\0" + b"\x11" * 16 + b"\x06abc", "XM_REGISTRY__FILE"),
        (b"\x04\x22\x4d\x18abc", "lz4"),
        (b"\xff\x06\x00\x00sNaPpYabc", "snappy"),
        (b"PAR1abc", "Parquet"),
        (b"PK\x03\x04abc", "zip"),
    ],
)
def test_undecodable_value_is_refused_by_name(value, named):
    found = rejection(value)
    assert (found.reason, named in found.detail) == ("undecodable", True)


# Several documents in one value


@pytest.mark.parametrize(
    "value",
    [
        json.dumps([ONE, TWO], indent=2),
        f"{json.dumps(ONE)}{json.dumps(TWO)}",
        f"{json.dumps(ONE)} {json.dumps(TWO)}\n",
        f"{json.dumps(ONE, indent=2)}\n{json.dumps(TWO, indent=2)}\n",
        f"{json.dumps(ONE)},\n{json.dumps(TWO)},\n",
        f"\x1e{json.dumps(ONE)}\n\x1e{json.dumps(TWO)}\n",
        f"\x1e{json.dumps(ONE, indent=2)}\n\x1e{json.dumps(TWO, indent=2)}\n",
    ],
)
@pytest.mark.parametrize("mapping", ["native", {"ts": "/ts", "api_key": "/api_key"}])
def test_documents_one_after_the_other_are_read(value, mapping):
    assert keys(value.encode(), mapping) == ["key-one", "key-two"]


def test_line_of_several_documents_among_lines_is_read():
    assert keys(LINE + b"\n" + LINE + LINE + b"\n") == ["key-one"] * 3


@pytest.mark.parametrize("odd", [b"!", b"7", b"Infinity", b'{"ts": '])
def test_damaged_line_leaves_the_other_lines_alone(odd):
    decoded = decode(b"\n".join([odd, LINE, b"!", LINE, LINE]))
    assert (len(decoded.events), [each.element for each in decoded.rejections]) == (3, [0, 2])


def test_damaged_document_of_a_sequence_is_rejected_alone():
    decoded = decode(b"\x1e" + LINE + b"\n\x1e" + LINE[:20] + b"\n\x1e" + LINE + b"\n")
    assert (len(decoded.events), [each.element for each in decoded.rejections]) == (2, [1])


def test_rest_after_documents_is_rejected_alone():
    decoded = decode(LINE + LINE + LINE[:20])
    assert (len(decoded.events), [each.element for each in decoded.rejections]) == (2, [2])

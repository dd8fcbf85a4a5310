"""Every format that files of requests come in: what is written is what is read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import InputError
from monitor.requests.decoder import Decoder
from monitor.requests.framing.elements import MAX_BYTES
from pipelines.traffic.files import LineFile, expand
from tests.support.files import ROWS, Rows, parsed, read, read_to_damage, reuse_path

text = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text | st.sampled_from(['"', "[{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
requests = st.lists(
    st.dictionaries(text, values, max_size=4).map(lambda row: {"ts": 1_772_040_000, **row}),
    min_size=1,
    max_size=8,
)


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def zipped(rows: Rows, names: tuple[str, ...] = ("a.jsonl", "b.jsonl")) -> bytes:
    """The rows in turn over members of a zip archive, beside files that hold no data."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._a.jsonl", b"\0")
        cut = len(rows) // 2
        archive.writestr(names[0], lines(rows[:cut]))
        archive.writestr(names[1], gzip.compress(lines(rows[cut:])))
    return out.getvalue()


def tarred(rows: Rows) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("./day.jsonl")
        info.size = len(lines(rows))
        archive.addfile(info, io.BytesIO(lines(rows)))
    return out.getvalue()


def spaced(rows: Rows) -> bytes:
    return b"".join(b"\x1e" + json.dumps(row, indent=1).encode() + b"\n" for row in rows)


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "lines": lines,
    "lines without the last newline": lambda rows: lines(rows)[:-1],
    "lines that end in \\r\\n": lambda rows: lines(rows).replace(b"\n", b"\r\n"),
    "lines that end in commas": lambda rows: lines(rows).replace(b"}\n", b"},\n"),
    "array": lambda rows: json.dumps(rows).encode(),
    "array of lines": lambda rows: ("[" + ",\n".join(map(json.dumps, rows)) + "]\n").encode(),
    "pretty array": lambda rows: json.dumps(rows, indent=2).encode(),
    "pretty objects": lambda rows: b"\n".join(json.dumps(x, indent=2).encode() for x in rows),
    "concatenated": lambda rows: "".join(map(json.dumps, rows)).encode(),
    "RFC 7464": spaced,
    "UTF-8 with BOM": lambda rows: b"\xef\xbb\xbf" + lines(rows),
    "UTF-16": lambda rows: lines(rows).decode().encode("utf-16"),
    "UTF-16 big": lambda rows: lines(rows).decode().encode("utf-16-be"),
    "UTF-16 little": lambda rows: json.dumps(rows, indent=1).encode("utf-16-le"),
    "UTF-32": lambda rows: lines(rows).decode().encode("utf-32"),
    "UTF-32 big": lambda rows: lines(rows).decode().encode("utf-32-be"),
    "gzip": lambda rows: gzip.compress(lines(rows)),
    "zstd": lambda rows: zstandard.compress(lines(rows)),
    "zstd in frames": lambda rows: b"".join(zstandard.compress(lines([row])) for row in rows),
    "bz2": lambda rows: bz2.compress(lines(rows)),
    "xz": lambda rows: lzma.compress(lines(rows)),
    "zip": zipped,
    "tar.gz": tarred,
    "packed twice": lambda rows: bz2.compress(zstandard.compress(json.dumps(rows).encode())),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests"


@pytest.mark.parametrize("name", FORMATS)
@reuse_path
@given(rows=requests, size=st.integers(1, 60))
def test_file_reads_what_was_written(path: Path, name: str, rows: Rows, size: int) -> None:
    path.write_bytes(FORMATS[name](rows))
    size = max(size, 512) if name == "tar.gz" else size  # tar is written in blocks
    assert parsed(read(path, chunk_size=size)) == rows


@pytest.mark.parametrize("name", FORMATS)
def test_stdin_reads_what_was_written(name: str) -> None:
    program = (
        "from pipelines.traffic.files import LineFile\n"
        "with LineFile('-') as f: print(sum(1 for b in f.batches() for x in b if x.strip()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], input=FORMATS[name](ROWS), capture_output=True
    )
    assert ran.stdout.decode().strip() == str(len(ROWS))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lines", "JSON lines"),
        ("pretty array", "a JSON array"),
        ("UTF-16", "JSON lines in UTF-16"),
        ("tar.gz", "JSON lines, tar, gzip"),
    ],
)
def test_file_names_its_format(path: Path, name: str, said: str) -> None:
    path.write_bytes(FORMATS[name](ROWS))
    with LineFile(path) as file:
        list(file.batches())
        assert file.format == said


# Places


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("lines", "line 4"),
        ("pretty array", "line 17"),
        ("array of lines", "line 4"),
        ("RFC 7464", "line 5"),
    ],
)
def test_file_tells_the_line_of_an_element(path: Path, name: str, place: str) -> None:
    path.write_bytes(FORMATS[name](ROWS))
    with LineFile(path) as file:
        found = [
            f"{file.origin} {number}"
            for batch in file.batches()
            for value, number in zip(batch, file.numbers, strict=True)
            if b'"id": "3"' in value
        ]
    assert found == [f"{path}, {place}"]


def test_place_names_the_member_of_an_archive(path: Path) -> None:
    path.write_bytes(zipped(ROWS))
    with LineFile(path) as file:
        places = [f"{file.origin} {file.numbers[0]}" for _ in file.batches()]
    assert places == [f"{path}:a.jsonl, line 1", f"{path}:b.jsonl, line 1"]


# Broken and odd JSON


def test_broken_line_is_the_only_one_lost(path: Path) -> None:
    path.write_bytes(b'{"ts": 1, "prompt": "cut of\n' + lines(ROWS) + b'"api_key": "x"}\n')
    assert parsed(read(path)[1:-1]) == ROWS


def test_broken_object_of_an_array_is_the_only_one_lost(path: Path) -> None:
    path.write_bytes(b'[{"ts": 1}, {"ts": }, 7, {"ts": 2}, null]')
    found = read(path)
    assert found == [b'{"ts": 1}', b'{"ts": }', b"7", b'{"ts": 2}', b"null"]
    assert len(Decoder().decode(found, 2e9).rejections) == 5


def test_invalid_utf8_and_nan_stay_as_they_are(path: Path) -> None:
    path.write_bytes(b'[{"prompt": "\xff"},{"n": NaN}]')
    assert read(path) == [b'{"prompt": "\xff"}', b'{"n": NaN}']


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'[\n{"ts": 1},\n{"ts": 2}', "array has no end"),
        (b'[\n{"ts": 1},\n{"ts": 2},{"ts"', "object that begins on line 3 has no end"),
        (b'{"ts": 1}{"ts": 2}{"prompt": "x', "object that begins on line 1 has no end"),
        (lines(ROWS).decode().encode("utf-16")[:-1], "UTF-16 text is cut off"),
        (b'ts,api_key\n1,a\n2,b\n3,"c', "row that begins on line 4 is no CSV"),
    ],
)
def test_cut_off_text_is_read_and_then_named(path: Path, data: bytes, what: str) -> None:
    path.write_bytes(data)
    found, error = read_to_damage(path)
    assert len(found) >= 2
    assert what in error
    assert str(path) in error
    assert "Fetch or write the file again." in error


@pytest.mark.parametrize("name", ["gzip", "zstd", "bz2", "xz", "zip"])
def test_cut_off_packed_data_is_read_and_then_named(path: Path, name: str) -> None:
    rows = [{"ts": i, "prompt": "%x" % (i * 7919**20)} for i in range(20_000)]
    packed = FORMATS[name](rows)
    path.write_bytes(packed if name == "zip" else packed[: len(packed) * 3 // 4])
    if name == "zip":
        spot = len(packed) // 3
        path.write_bytes(packed[:spot] + bytes(50) + packed[spot + 50 :])
    found, error = read_to_damage(path)
    assert parsed(found) == rows[: len(found)]
    assert found or name in ("bz2", "zip")
    assert re.search(f"{name} .*(cut off|damaged)", error)


@pytest.mark.parametrize("name", ["gzip", "zstd", "bz2", "xz", "zip", "tar.gz"])
@reuse_path
@given(at=st.floats(0, 0.999), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_raises_only_input_errors(
    path: Path, name: str, at: float, byte: int, cut: bool
) -> None:
    data = FORMATS[name](ROWS)
    spot = int(at * len(data))
    path.write_bytes(data[:spot] + (b"" if cut else bytes([byte]) + data[spot + 1 :]))
    with suppress(InputError):
        read(path)


def test_encrypted_zip_is_named(path: Path) -> None:
    data = bytearray(zipped(ROWS))
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(sign)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(sign, at + 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        read(path)


@pytest.mark.parametrize(
    ("magic", "what"),
    [
        (b"7z\xbc\xaf\x27\x1c\0\0", "7z"),
        (b"\x04\x22\x4d\x18\0", "lz4"),
        (b"SQLite format 3\0", "SQ"),
    ],
)
def test_other_formats_are_refused_by_name(path: Path, magic: bytes, what: str) -> None:
    path.write_bytes(magic + bytes(100))
    with pytest.raises(InputError, match=f"{what}.*Convert it to JSON lines"):
        read(path)


# Size


def test_long_array_uses_bounded_memory(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b"[" + b'{"ts": 1, "prompt": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}')
        for _ in range(40):
            out.write(b',{"ts": 1, "prompt": "%b"}' % (b"a" * 1_000) * 1_000)
        out.write(b"]")
    tracemalloc.start()
    try:
        with LineFile(path) as file:
            assert sum(map(len, file.batches())) == 40_001
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_too_large_element_of_an_array_is_cut(path: Path) -> None:
    long = b'{"prompt": ["' + b"a" * MAX_BYTES + b'"' + b',"b"' * 10 + b"]}"
    path.write_bytes(b"[" + b",".join([b'{"ts": 1}', long, b'{"ts": 2}']) + b"]")
    first, cut, last = read(path)
    assert (first, len(cut), last) == (b'{"ts": 1}', MAX_BYTES + 1, b'{"ts": 2}')


def test_string_without_end_uses_bounded_memory(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b'[{"ts": 1}, {"prompt": "')
        for _ in range(60):
            out.write(b"a" * 2**20)
    with pytest.raises(InputError, match="string without an end after line 1"):
        read(path)


# Paths


def test_expand_lists_the_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "day=2/part-0", "_SUCCESS", ".hidden", ".git/x", "_tmp/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = expand([str(tmp_path)])
    assert found == [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "day=2/part-0")]


def test_expand_matches_patterns(tmp_path: Path) -> None:
    for name in ("1.jsonl", "2.jsonl", "3.csv", "[odd].jsonl"):
        (tmp_path / name).write_text("")
    assert expand([f"{tmp_path}/?.jsonl"]) == [f"{tmp_path}/1.jsonl", f"{tmp_path}/2.jsonl"]
    assert expand([f"{tmp_path}/[odd].jsonl"]) == [f"{tmp_path}/[odd].jsonl"]
    assert expand(["-", "missing"]) == ["-", "missing"]


@pytest.mark.parametrize("name", ["", "*.jsonl"])
def test_expand_names_what_has_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="has no file"):
        expand([str(tmp_path / name)])

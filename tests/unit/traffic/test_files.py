from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import InputError
from monitor.requests.decoder import Decoder
from monitor.requests.framing.elements import MAX_BYTES
from pipelines.traffic.files import LineFile

# No text in another format: those begin with other bytes.
content = (
    st.lists(
        st.one_of(
            st.binary(max_size=40), st.sampled_from([b"\n", b"\r\n", b"\x1f\x8b", b"\0", b"{}"])
        ),
        max_size=60,
    )
    .map(b"".join)
    .map(b"~\n".__add__)
)
reuse_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read(path: Path | str, **options: int) -> list[bytes]:
    max_lines = options.pop("max_lines", 2_000)
    with LineFile(path, **options) as file:
        return [line for batch in file.batches(max_lines) for line in batch]


def split_lines(data: bytes) -> list[bytes]:
    *lines, last = data.split(b"\n")
    return [*lines, last] if last else lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests"


@reuse_path
@given(data=content, size=st.integers(1, 50))
def test_file_reads_every_line_at_any_chunk_size(path: Path, data: bytes, size: int) -> None:
    path.write_bytes(data)
    assert read(path, chunk_size=size) == split_lines(data)


@reuse_path
@given(members=st.lists(content, min_size=1, max_size=4), size=st.integers(1, 50))
def test_file_reads_all_gzip_members(path: Path, members: list[bytes], size: int) -> None:
    path.write_bytes(b"".join(map(gzip.compress, members)))
    assert read(path, chunk_size=size) == split_lines(b"".join(members))


@reuse_path
@given(data=content, rest=st.floats(0, 1), size=st.integers(1, 50))
def test_cut_off_gzip_yields_complete_lines_then_raises(
    path: Path, data: bytes, rest: float, size: int
) -> None:
    packed = gzip.compress(data)
    path.write_bytes(packed[: 2 + int(rest * (len(packed) - 3))])
    got: list[bytes] = []
    with LineFile(path, chunk_size=size) as file:
        batches = file.batches()
        with pytest.raises(InputError, match="gzip data is cut off") as e:
            got.extend(line for batch in batches for line in batch)
    assert got == split_lines(data)[: len(got)]
    assert f"after line {len(got)}:" in str(e.value) or not got


@reuse_path
@given(
    data=st.binary(max_size=300).map(gzip.compress), at=st.floats(0, 1), byte=st.integers(0, 255)
)
def test_damaged_gzip_raises_only_input_errors(
    path: Path, data: bytes, at: float, byte: int
) -> None:
    spot = 2 + int(at * (len(data) - 3))
    path.write_bytes(data[:spot] + bytes([byte]) + data[spot + 1 :])
    with suppress(InputError):
        read(path)


def test_zero_padding_after_gzip_data_is_ignored(path: Path) -> None:
    path.write_bytes(gzip.compress(b"a\n") + bytes(70) + gzip.compress(b"b\n") + bytes(70))
    assert read(path, chunk_size=16) == [b"a", b"b"]


def test_batch_has_at_most_max_lines(path: Path) -> None:
    path.write_bytes(b"x\n" * 25)
    with LineFile(path) as file:
        assert [len(batch) for batch in file.batches(10)] == [10, 10, 5]


def test_file_counts_the_lines_it_yields(path: Path) -> None:
    path.write_bytes(b"a\n\nb")
    with LineFile(path) as file:
        assert [(batch, file.lines) for batch in file.batches(2)] == [([b"a", b""], 2), ([b"b"], 3)]


def test_only_the_too_long_line_is_rejected(path: Path) -> None:
    event = b'{"ts": 1772040000, "api_key": "k", "prompt": "Hi"}'
    path.write_bytes(b"\n".join([event, event + b" " * (2 * MAX_BYTES), event]))
    lines = read(path)
    decoded = Decoder().decode(lines, 1_772_040_000)
    assert decoded.sources == [0, 2]
    assert [(no.source, no.reason) for no in decoded.rejections] == [(1, "too_large")]


def test_endless_line_uses_bounded_memory(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as out:
        for _ in range(300):
            out.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        assert [len(line) for line in read(path)] == [MAX_BYTES + 1]
        assert tracemalloc.get_traced_memory()[1] < 5 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_position_ends_at_compressed_size(path: Path) -> None:
    path.write_bytes(gzip.compress(b"line\n" * 10_000))
    with LineFile(path) as file:
        assert file.position == 0
        list(file.batches())
        assert file.position == file.size == path.stat().st_size


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stdin_has_no_size(pack: type[bytes]) -> None:
    program = (
        "from pipelines.traffic.files import LineFile\n"
        "with LineFile('-') as f: print(f.size, [x for b in f.batches() for x in b])"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=pack(b"a\nb"), capture_output=True)
    assert ran.stdout.decode().strip() == "None [b'a', b'b']"


def test_pipe_yields_lines_before_it_closes() -> None:
    reader, writer = os.pipe()
    with LineFile(f"/dev/fd/{reader}") as file:
        os.write(writer, b"\x1f")
        os.write(writer, b"one\ntw")
        batches = file.batches()
        assert next(batches) == [b"\x1fone"]
        os.write(writer, b"o\n")
        assert next(batches) == [b"two"]
    os.close(writer)
    os.close(reader)


@pytest.mark.parametrize(("name", "why"), [("missing", "No such file"), (".", "Is a directory")])
def test_unreadable_file_error_names_path_and_fix(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as e:
        LineFile(tmp_path / name)
    assert str(tmp_path / name) in str(e.value)
    assert "Name a file of requests" in str(e.value)

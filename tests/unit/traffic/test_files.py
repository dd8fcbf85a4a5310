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
from monitor.requests.decoder import LARGEST, Decoder
from pipelines.traffic.files import LineFile

content = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"\r\n", b"\x1f\x8b", b"\0", b"{}"])),
    max_size=60,
).map(b"".join)
one_directory = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read(path: Path | str, **options: int) -> list[bytes]:
    most = options.pop("most", 2_000)
    with LineFile(path, **options) as file:
        return [line for batch in file.batches(most) for line in batch]


def lines_of(data: bytes) -> list[bytes]:
    *lines, last = data.split(b"\n")
    return [*lines, last] if last else lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests"


@one_directory
@given(data=content.filter(lambda data: not data.startswith(b"\x1f\x8b")), size=st.integers(1, 50))
def test_every_line_of_any_bytes_is_read_whatever_a_read_returns(
    path: Path, data: bytes, size: int
) -> None:
    path.write_bytes(data)
    assert read(path, read=size) == lines_of(data)


@one_directory
@given(members=st.lists(content, min_size=1, max_size=4), size=st.integers(1, 50))
def test_gzip_files_in_a_row_are_read_as_one(path: Path, members: list[bytes], size: int) -> None:
    path.write_bytes(b"".join(map(gzip.compress, members)))
    assert read(path, read=size) == lines_of(b"".join(members))


@one_directory
@given(data=content, rest=st.floats(0, 1), size=st.integers(1, 50))
def test_cut_gzip_data_gives_its_whole_lines_and_then_says_so(
    path: Path, data: bytes, rest: float, size: int
) -> None:
    packed = gzip.compress(data)
    path.write_bytes(packed[: 2 + int(rest * (len(packed) - 3))])
    got: list[bytes] = []
    with LineFile(path, read=size) as file:
        batches = file.batches()
        with pytest.raises(InputError, match="cut off in line") as e:
            got.extend(line for batch in batches for line in batch)
    assert got == lines_of(data)[: len(got)]
    assert f"line {len(got) + 1}," in str(e.value)


@one_directory
@given(
    data=st.binary(max_size=300).map(gzip.compress), at=st.floats(0, 1), byte=st.integers(0, 255)
)
def test_damaged_gzip_data_raises_nothing_but_an_input_error(
    path: Path, data: bytes, at: float, byte: int
) -> None:
    spot = 2 + int(at * (len(data) - 3))
    path.write_bytes(data[:spot] + bytes([byte]) + data[spot + 1 :])
    with suppress(InputError):
        read(path)


def test_zeros_behind_gzip_data_are_padding(path: Path) -> None:
    path.write_bytes(gzip.compress(b"a\n") + bytes(70) + gzip.compress(b"b\n") + bytes(70))
    assert read(path, read=16) == [b"a", b"b"]


def test_a_batch_holds_no_more_lines_than_asked_for(path: Path) -> None:
    path.write_bytes(b"x\n" * 25)
    with LineFile(path) as file:
        assert [len(batch) for batch in file.batches(10)] == [10, 10, 5]


def test_the_lines_delivered_are_counted(path: Path) -> None:
    path.write_bytes(b"a\n\nb")
    with LineFile(path) as file:
        assert [(batch, file.lines) for batch in file.batches(2)] == [([b"a", b""], 2), ([b"b"], 3)]


def test_an_over_long_line_is_rejected_and_its_neighbours_are_not(path: Path) -> None:
    event = b'{"ts": 1772040000, "api_key": "k", "prompt": "Hi"}'
    path.write_bytes(b"\n".join([event, event + b" " * (2 * LARGEST), event]))
    lines = read(path)
    decoded = Decoder().decode(lines, 1_772_040_000)
    assert decoded.sources == [0, 2]
    assert [(no.source, no.reason) for no in decoded.rejections] == [(1, "too_large")]


def test_a_line_without_end_takes_bounded_memory(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as out:
        for _ in range(300):
            out.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        assert [len(line) for line in read(path)] == [LARGEST + 1]
        assert tracemalloc.get_traced_memory()[1] < 5 * LARGEST
    finally:
        tracemalloc.stop()


def test_the_position_ends_at_the_size_of_the_packed_file(path: Path) -> None:
    path.write_bytes(gzip.compress(b"line\n" * 10_000))
    with LineFile(path) as file:
        assert file.position == 0
        list(file.batches())
        assert file.position == file.size == path.stat().st_size


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stdin_is_read_and_its_size_unknown(pack: type[bytes]) -> None:
    program = (
        "from pipelines.traffic.files import LineFile\n"
        "with LineFile('-') as f: print(f.size, [x for b in f.batches() for x in b])"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=pack(b"a\nb"), capture_output=True)
    assert ran.stdout.decode().strip() == "None [b'a', b'b']"


def test_lines_from_a_pipe_come_before_it_is_closed() -> None:
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
def test_what_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as e:
        LineFile(tmp_path / name)
    assert str(tmp_path / name) in str(e.value)
    assert "name a file of requests" in str(e.value)

"""Recordings in the order of time, whatever the order of the files and in them."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import InputError
from monitor.requests.decoder import Decoder
from pipelines.traffic import recording as module
from pipelines.traffic import sorting
from pipelines.traffic.files import LineFile
from pipelines.traffic.recording import OutOfOrderError, Recording
from pipelines.traffic.sorting import Sorter

START = 1_772_040_000
reuse_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def line(ts: Any, **fields: Any) -> bytes:
    return json.dumps({"ts": ts, "api_key": "k", **fields}).encode()


def day(number: int, step: float = 1.0) -> list[bytes]:
    return [line(START + i * step, id=str(i)) for i in range(number)]


def write(path: Path, lines: list[bytes]) -> str:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def read(*paths: str, mapping: Any = "native") -> list[bytes]:
    """The elements of a recording, checked as a replay checks them."""
    decoder = Decoder(mapping)

    def run(recording: Recording) -> list[bytes]:
        found = []
        for values in recording.batches():
            recording.check(np.array([each.ts for each in decoder.decode(values, 2e9).events]))
            found += values
        return found

    return Recording(paths, decoder).run(run)


@pytest.mark.parametrize(
    "shuffle",
    [
        pytest.param(lambda lines: lines, id="in order"),
        pytest.param(lambda lines: lines[::-1], id="newest first"),
        pytest.param(lambda lines: lines[3_000:] + lines[:3_000], id="rotated"),
        pytest.param(lambda lines: random.Random(1).sample(lines, len(lines)), id="shuffled"),
        pytest.param(lambda lines: [*lines[:4_000], lines[4_001], lines[4_000]], id="one swapped"),
    ],
)
def test_recording_is_read_in_time_order(
    tmp_path: Path, shuffle: Callable[[list[bytes]], list[bytes]]
) -> None:
    lines = shuffle(day(5_000))
    found = read(write(tmp_path / "day", lines))
    assert found == day(5_000)[: len(lines)] if len(lines) == 5_000 else found == sorted(lines)


def test_recording_in_order_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "day", day(5_000))
    monkeypatch.setattr(module, "Sorter", None)
    assert read(path) == day(5_000)


def test_recording_of_newest_first_reverses_equal_times(tmp_path: Path) -> None:
    lines = [line(START + i // 7, id=str(i)) for i in range(100)]
    assert read(write(tmp_path / "day", lines[::-1])) == lines


def test_recording_merges_overlapping_shards(tmp_path: Path) -> None:
    lines = day(5_000)
    paths = [write(tmp_path / f"{i}", lines[i::3]) for i in range(3)]
    assert read(*reversed(paths)) == lines


def test_recording_merges_shards_that_are_newest_first(tmp_path: Path) -> None:
    lines = day(300)
    for i in range(3):
        write(tmp_path / f"{i}", lines[i * 100 : i * 100 + 100][::-1])
    assert read(str(tmp_path)) == lines


def test_recording_orders_shards_by_their_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = day(300)
    paths = [write(tmp_path / f"{i}", lines[i * 100 : i * 100 + 100]) for i in range(3)]
    monkeypatch.setattr(module, "Sorter", None)
    assert read(paths[2], paths[0], paths[1]) == lines


@reuse_path
@given(
    times=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    run_bytes=st.integers(1, 5_000),
    runs=st.integers(1, 4),
)
def test_sorter_spills_and_merges_runs(times: list[int], run_bytes: int, runs: int) -> None:
    sorter = Sorter(run_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "MOST_RUNS", runs)
        for i, ts in enumerate([*times, 99]):  # the last one makes steps forward likely
            sorter.add(float(ts), i % 2, i // 2, i, b"%d" % i)
        found = [(item.ts, item.number, item.value) for item in sorter.sorted()]
    assert [ts for ts, *_ in found] == sorted([*times, 99])
    assert sorted(number for _, number, _ in found) == [*range(len(times) + 1)]
    assert all(value == b"%d" % number for _, number, value in found)


def test_sorter_without_space_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sorting, "TemporaryFile", lambda **_: Full())
    sorter = Sorter(1)
    with pytest.raises(InputError, match=r"No space left.*TMPDIR"):
        sorter.add(1.0, 0, 0, 1, b"x")


def test_unreadable_elements_keep_their_place(tmp_path: Path) -> None:
    lines = [line(START), line(START + 2), b"{broken", line(None), line(START + 1), b"[]"]
    expected = [lines[i] for i in (0, 4, 5, 1, 2, 3)]
    assert read(write(tmp_path / "day", lines)) == expected


def test_arrays_on_lines_are_sorted_by_element(tmp_path: Path) -> None:
    one, two, three, four = day(4)
    lines = [b"[" + four + b"," + one + b"]", b"[" + three + b"]", two]
    assert read(write(tmp_path / "day", lines)) == [one, two, three, four]


@pytest.mark.parametrize("ts", ["2026-02-25T12:00:{:02}Z", "17720400{:02}"])
def test_times_in_any_form_are_sorted(tmp_path: Path, ts: str) -> None:
    lines = [line(ts.format(i)) for i in range(60)]
    assert read(write(tmp_path / "day", lines[::-1])) == lines


def test_times_of_mapped_formats_are_sorted(tmp_path: Path) -> None:
    mapping = {"ts": {"path": "/at", "unit": "ms"}, "api_key": "/key"}
    lines = [json.dumps({"at": (START + i) * 1_000, "key": "k"}).encode() for i in range(60)]
    assert read(write(tmp_path / "day", lines[::-1]), mapping=mapping) == lines


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stdin_is_sorted(pack: Callable[[bytes], bytes]) -> None:
    program = (
        "from tests.unit.traffic.test_recording import read, day\nassert read('-') == day(9_000)"
    )
    data = pack(b"\n".join(day(9_000)[::-1]))
    subprocess.run([sys.executable, "-c", program], input=data, check=True)


def test_pipe_is_read_again_from_its_copy() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a\nb\n")
    with LineFile(f"/dev/fd/{reader}", twice=True) as file:
        assert next(file.batches()) == [b"a", b"b"]
        os.write(writer, b"c\n")
        os.close(writer)
        file.rewind()
        assert [each for batch in file.batches() for each in batch] == [b"a", b"b", b"c"]
    os.close(reader)


# Places and damage


@pytest.mark.parametrize("backwards", [False, True])
def test_recording_tells_file_and_line(tmp_path: Path, backwards: bool) -> None:
    lines = [b"", *day(3)[:: -1 if backwards else 1], b"", line("no time")]
    path = write(tmp_path / "day", lines)
    recording = Recording([path], Decoder())
    if backwards:
        recording.sort()
    (values,) = recording.batches()
    assert [lines[int(recording.place(i).split()[-1]) - 1] for i in range(4)] == values
    assert recording.place(0).startswith(f"{path}, line ")


@pytest.mark.parametrize("backwards", [False, True])
def test_recording_is_read_up_to_the_damage(tmp_path: Path, backwards: bool) -> None:
    lines = day(20_000)[:: -1 if backwards else 1]
    packed = gzip.compress(b"\n".join(lines))
    path = tmp_path / "day.gz"
    path.write_bytes(packed[: len(packed) // 2])
    found: list[bytes] = []

    def run(recording: Recording) -> None:
        found.clear()
        for values in recording.batches():
            recording.check(np.array([json.loads(value)["ts"] for value in values]))
            found.extend(values)

    recording = Recording([str(path)], Decoder())
    with pytest.raises(InputError, match="gzip data is cut off"):
        recording.run(run)
    assert len(found) > 1_000
    assert found == sorted(found, key=lambda each: json.loads(each)["ts"])


def test_missing_shard_is_named_before_reading(tmp_path: Path) -> None:
    recording = Recording([write(tmp_path / "a", day(2)), str(tmp_path / "b")], Decoder())
    with pytest.raises(InputError, match=r"b: No such file"):
        next(recording.batches())


def test_check_compares_batches() -> None:
    recording = Recording(["x"], Decoder())
    recording.check(np.array([1.0, 1.0, 2.0]))
    recording.check(np.array([]))
    recording.check(np.array([2.0]))
    with pytest.raises(OutOfOrderError):
        recording.check(np.array([1.0]))

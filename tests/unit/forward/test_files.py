"""Log files are followed through rotation, truncation and restarts: each line once."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from monitor.requests.decoder import Decoder
from pipelines.forward.files import LogFiles
from pipelines.forward.intake import Intake
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.spool import Spool
from tests.support.apps import until


def line(number: int) -> bytes:
    return json.dumps({"ts": 1_772_020_800.0 + number, "api_key": "k", "n": number}).encode()


def append(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.writelines(line(number) + b"\n" for number in numbers)


@asynccontextmanager
async def following(spool: Spool, *patterns: object, silent: float = 60.0) -> AsyncIterator[None]:
    metrics = ForwardMetrics()
    intake = Intake(Decoder(), spool, metrics)
    saved = await spool.positions()
    files = LogFiles([str(each) for each in patterns], saved, intake, metrics, silent)
    task = asyncio.create_task(files.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def lines(spool: Spool) -> list[int]:
    spooled = await spool.next()
    return [json.loads(message.value)["n"] for message in spooled.messages]


async def stored(spool: Spool, number: int) -> None:
    await until(lambda: spool.count >= number)


async def test_growing_file_is_read_line_by_line(spool: Spool, tmp_path: Path) -> None:
    log = tmp_path / "a.json"
    append(log, 1, 2)
    async with following(spool, log):
        await stored(spool, 2)
        with log.open("ab") as file:
            file.write(line(3)[:20])
            file.flush()
            await asyncio.sleep(0.5)
            assert spool.count == 2
            file.write(line(3)[20:] + b"\n")
        await stored(spool, 3)
    assert await lines(spool) == [1, 2, 3]


async def test_new_files_of_a_pattern_are_found(spool: Spool, tmp_path: Path) -> None:
    async with following(spool, tmp_path / "*" / "*.json"):
        (tmp_path / "app").mkdir()
        append(tmp_path / "app" / "a.json", 1)
        await stored(spool, 1)


async def test_line_larger_than_one_read_is_whole(spool: Spool, tmp_path: Path) -> None:
    log, prompt = tmp_path / "a.json", "x" * (3 << 20)
    large = json.dumps({"ts": 1_772_020_800.0, "api_key": "k", "prompt": prompt}).encode()
    log.write_bytes(large + b"\n" + line(2) + b"\n")
    async with following(spool, log):
        await until(lambda: spool.count > 0)
        first = await spool.next()
        await spool.remove(first)
        second = await spool.next()
    assert [first.messages[0].value, second.messages[0].value] == [large, line(2)]


async def test_renamed_file_is_read_to_its_end(spool: Spool, tmp_path: Path) -> None:
    log = tmp_path / "a.json"
    append(log, 1)
    with log.open("ab") as writer:
        async with following(spool, log):
            await stored(spool, 1)
            log.rename(tmp_path / "a.json.1")
            append(log, 3)
            await stored(spool, 2)
            writer.write(line(2) + b"\n")  # the server has not opened the new file yet
            writer.flush()
            await stored(spool, 3)
    assert sorted(await lines(spool)) == [1, 2, 3]


async def test_last_line_of_a_deleted_file_needs_no_newline(spool: Spool, tmp_path: Path) -> None:
    log = tmp_path / "a.json"
    log.write_bytes(line(1) + b"\n" + line(2))
    async with following(spool, log, silent=0.2):
        await stored(spool, 1)
        log.unlink()
        await stored(spool, 2)
    assert await lines(spool) == [1, 2]


async def test_position_of_a_deleted_file_is_forgotten(spool: Spool, tmp_path: Path) -> None:
    log = tmp_path / "a.json"
    append(log, 1)
    async with following(spool, log, silent=0.2):
        await stored(spool, 1)
        assert len(await spool.positions()) == 1
        log.unlink()
        for _ in range(1_000):
            if not await spool.positions():
                break
            await asyncio.sleep(0.05)
        assert await spool.positions() == {}


def rename(log: Path) -> None:
    log.rename(f"{log}.1")


def copy_and_truncate(log: Path) -> None:
    shutil.copy(log, f"{log}.1")
    with log.open("rb+") as file:
        file.truncate()


ROTATIONS = [rename, copy_and_truncate]


@pytest.mark.parametrize("rotate", ROTATIONS)
async def test_restart_continues_behind_the_last_line(
    spool: Spool, tmp_path: Path, rotate: Callable[[Path], None]
) -> None:
    log = tmp_path / "a.json"
    append(log, 1, 2)
    async with following(spool, log):
        await stored(spool, 2)
    append(log, 3, 4)
    async with following(spool, log):
        await stored(spool, 4)
    append(log, 5)
    rotate(log)
    append(log, 6)
    async with following(spool, log):
        await stored(spool, 6)
        await asyncio.sleep(0.5)
    assert sorted(await lines(spool)) == [1, 2, 3, 4, 5, 6]


async def test_truncated_file_is_read_from_its_beginning(spool: Spool, tmp_path: Path) -> None:
    log = tmp_path / "a.json"
    append(log, 1, 2, 3)
    async with following(spool, log):
        await stored(spool, 3)
        copy_and_truncate(log)
        append(log, 4)
        await stored(spool, 4)
        copy_and_truncate(log)
        append(log, *range(5, 15))  # longer than what was read before
        await stored(spool, 14)
    assert await lines(spool) == [*range(1, 15)]


@pytest.mark.parametrize("rotate", ROTATIONS)
async def test_pattern_with_rotated_files_reads_each_line_once(
    spool: Spool, tmp_path: Path, rotate: Callable[[Path], None]
) -> None:
    log = tmp_path / "a.json"
    append(log, 1, 2)
    async with following(spool, f"{log}*"):
        await stored(spool, 2)
        rotate(log)
        append(log, 3)
        await stored(spool, 3)
    async with following(spool, f"{log}*"):
        append(log, 4)
        await stored(spool, 4)
        await asyncio.sleep(0.5)
    assert await lines(spool) == [1, 2, 3, 4]


async def test_unreadable_file_is_reported_once(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    link = tmp_path / "a.json"
    link.symlink_to("/proc/self/mem")  # a regular file whose first page cannot be read
    append(tmp_path / "b.json", 1)
    async with following(spool, tmp_path / "*.json"):
        await stored(spool, 1)
        await asyncio.sleep(0.6)
    assert caplog.text.count("file_unreadable") == 1


async def test_file_that_is_no_longer_asked_for_is_left_alone(spool: Spool, tmp_path: Path) -> None:
    log, other = tmp_path / "a.json", tmp_path / "b.json"
    append(log, 1)
    async with following(spool, log):
        await stored(spool, 1)
    append(log, 2)
    append(other, 3)
    async with following(spool, other):
        await stored(spool, 2)
    async with following(spool, log):
        await stored(spool, 3)
        await asyncio.sleep(0.5)
    assert await lines(spool) == [1, 3, 2]


async def test_zeros_of_a_server_that_does_not_append_are_left_out(
    spool: Spool, tmp_path: Path
) -> None:
    log = tmp_path / "a.json"
    with log.open("wb") as server:
        server.write(line(1) + b"\n")
        server.flush()
        async with following(spool, log):
            await stored(spool, 1)
            copy_and_truncate(log)
            await asyncio.sleep(0.5)
            server.write(line(2) + b"\n")  # where it would have been before
            server.flush()
            await stored(spool, 2)
    assert await lines(spool) == [1, 2]

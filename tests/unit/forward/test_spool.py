"""The spool keeps messages and positions together, within its bounds."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from pathlib import Path

import pytest

from monitor.errors import ConfigError
from pipelines.forward.spool import Spool, SpoolError, SpoolFullError
from pipelines.kafka.outlet import Message

MEGABYTE = 1 << 20


def messages(*values: bytes) -> list[Message]:
    return [Message(b"key", value) for value in values]


async def contents(spool: Spool) -> list[bytes]:
    return [message.value for message in (await spool.next()).messages]


async def test_messages_come_out_in_order_until_removed(spool: Spool) -> None:
    await spool.put(messages(b"1", b"2"))
    first = await spool.next()
    await spool.put(messages(b"3"))
    await spool.remove(first)
    assert first.messages == messages(b"1", b"2")
    assert await contents(spool) == [b"3"]


async def test_next_waits_for_a_message(spool: Spool) -> None:
    waiting = asyncio.create_task(spool.next())
    await asyncio.sleep(0.05)
    await spool.put(messages(b"1"))
    assert (await waiting).messages == messages(b"1")


async def test_message_and_position_survive_together(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MEGABYTE)
    await spool.put(messages(b"1"), "file:a", b"10")
    await spool.put(messages(b"2"), "file:a", b"20")
    await spool.put(messages(b"3"), "file:b", b"5")
    await spool.put([], "file:b", None)
    await spool.close()
    reopened = Spool(tmp_path, MEGABYTE)
    assert await reopened.positions() == {"file:a": b"20"}
    assert await contents(reopened) == [b"1", b"2", b"3"]
    assert (reopened.count, reopened.size > 0) == (3, True)
    await reopened.close()


async def test_full_spool_refuses_clients_and_holds_files(spool: Spool) -> None:
    half = bytes(MEGABYTE // 2)
    await spool.put(messages(half))
    with pytest.raises(SpoolFullError):
        await spool.put(messages(half), wait=False)
    waiting = asyncio.create_task(spool.put(messages(half, b"last")))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await spool.remove(await spool.next())
    await waiting
    assert await contents(spool) == [half, b"last"]


async def test_message_larger_than_the_spool_goes_through_an_empty_one(spool: Spool) -> None:
    await spool.put(messages(bytes(2 * MEGABYTE)), wait=False)
    await spool.remove(await spool.next())
    assert (spool.count, spool.size) == (0, 0)


async def test_spool_is_small_again_after_an_outage(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 64 * MEGABYTE)
    await spool.put(messages(*[bytes(MEGABYTE)] * 24))
    while spool.count:
        await spool.remove(await spool.next())
    await spool.close()
    assert (tmp_path / "spool.db").stat().st_size < MEGABYTE


async def test_full_disk_adds_nothing_and_is_reported(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 64 * MEGABYTE)
    await spool.put(messages(b"before"), "file:a", b"1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE, limits[1]))
    try:
        with pytest.raises(SpoolError, match="free space"):
            await spool.put(messages(bytes(2 * MEGABYTE)), "file:a", b"2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await spool.put(messages(b"after"))
    assert await contents(spool) == [b"before", b"after"]
    assert await spool.positions() == {"file:a": b"1"}
    await spool.close()


async def test_second_process_gets_a_clear_error(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Another `xm forward` uses the spool .* its own"):
        Spool(tmp_path / "spool", MEGABYTE)


def test_damaged_spool_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(ConfigError, match="cannot be used"):
        Spool(tmp_path, MEGABYTE)


def test_only_the_owner_reads_the_spool(spool: Spool, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    assert folder.stat().st_mode & 0o077 == 0
    assert [file.stat().st_mode & 0o077 for file in folder.iterdir()] == [0] * 2


async def test_spool_is_plain_sqlite(tmp_path: Path) -> None:
    await Spool(tmp_path, MEGABYTE).close()
    with sqlite3.connect(tmp_path / "spool.db") as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_schema")}
    assert {"messages", "positions"} <= tables


async def test_nothing_of_a_sent_message_stays_on_disk(spool: Spool, tmp_path: Path) -> None:
    secret = b"sk-secret-of-a-customer"
    await spool.put([Message(secret, b'{"prompt": "' + 100 * secret + b'"}')], "file:a", b"1")
    files = [*(tmp_path / "spool").iterdir()]
    assert any(secret in file.read_bytes() for file in files)
    await spool.remove(await spool.next())
    assert not any(secret in file.read_bytes() for file in files)


async def test_removing_twice_keeps_what_came_in_between(spool: Spool) -> None:
    await spool.put(messages(b"1", b"2"))
    sent = await spool.next()
    await spool.remove(sent)
    await spool.put(messages(b"3"))
    await spool.remove(sent)
    assert await contents(spool) == [b"3"]

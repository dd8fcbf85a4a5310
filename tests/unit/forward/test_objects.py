"""Objects are read once each, from S3 as from a local disk, and to their end after a restart."""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from monitor.errors import ConfigError
from monitor.requests.decoder import Decoder
from pipelines.forward.intake import Intake
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.objects import Objects
from pipelines.forward.spool import Spool
from tests.support.apps import until

Bucket = tuple[str, Any]  # its URL, and the storage


def lines(*numbers: int) -> bytes:
    each = ({"ts": 1_772_020_800.0 + n, "api_key": "k", "n": n} for n in numbers)
    return b"".join(json.dumps(line).encode() + b"\n" for line in each)


@asynccontextmanager
async def reading(spool: Spool, *urls: object) -> AsyncIterator[None]:
    metrics = ForwardMetrics()
    intake = Intake(Decoder(), spool, metrics)
    saved = await spool.positions()
    task = asyncio.create_task(Objects([str(each) for each in urls], saved, intake, 0.1).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def numbers(spool: Spool) -> list[int]:
    spooled = await spool.next()
    return [json.loads(message.value)["n"] for message in spooled.messages]


async def stored(spool: Spool, number: int) -> None:
    await until(lambda: spool.count >= number)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket, and a client, of a local S3 server that the environment names."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    storage = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    name = f"s3://{uuid.uuid4()}"
    storage.mkdir(name)
    yield name, storage
    server.stop()


async def test_objects_in_s3_are_read_as_they_come(bucket: Bucket, spool: Spool) -> None:
    name, storage = bucket
    storage.pipe(f"{name}/llm/1.jsonl.gz", gzip.compress(lines(1, 2)))
    storage.pipe(f"{name}/llm/_SUCCESS", b"")
    storage.pipe(f"{name}/other/1.jsonl", lines(9))
    async with reading(spool, f"{name}/llm"):
        await stored(spool, 2)
        storage.pipe(f"{name}/llm/2.jsonl", lines(3))
        await stored(spool, 3)
    async with reading(spool, f"{name}/llm"):
        storage.pipe(f"{name}/llm/3.jsonl", lines(4))
        await stored(spool, 4)
    assert await numbers(spool) == [1, 2, 3, 4]


async def test_storage_that_is_away_is_reported_once_and_read_later(
    bucket: Bucket, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    name, storage = bucket
    async with reading(spool, f"{name}-later"):
        await until(lambda: "objects_unreadable" in caplog.text)
        await asyncio.sleep(0.5)
        storage.mkdir(f"{name}-later")
        storage.pipe(f"{name}-later/1.jsonl", lines(1))
        await stored(spool, 1)
    assert caplog.text.count("objects_unreadable") == 1


async def test_restart_within_an_object_continues_behind_the_last_element(
    spool: Spool, tmp_path: Path
) -> None:
    total = 12_000  # more than the spool holds
    (tmp_path / "a.jsonl").write_bytes(lines(*range(total)))
    found: list[int] = []

    async def drain() -> None:
        spooled = await spool.next()
        found.extend(json.loads(message.value)["n"] for message in spooled.messages)
        await spool.remove(spooled)

    async with reading(spool, f"file://{tmp_path}/a.jsonl"):
        await stored(spool, 6_000)
    while spool.count:
        await drain()
    assert 6_000 <= len(found) < total
    async with reading(spool, f"file://{tmp_path}/a.jsonl"):
        while len(found) < total:
            await drain()
    assert found == [*range(total)]


async def test_changed_object_is_read_again(spool: Spool, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines(1))
    async with reading(spool, f"file://{file}"):
        for _ in range(1_000):
            if any(b'"finished":true' in each for each in (await spool.positions()).values()):
                break
            await asyncio.sleep(0.05)
        (tmp_path / "new").write_bytes(lines(1, 2))
        (tmp_path / "new").rename(file)
        await stored(spool, 3)
    assert await numbers(spool) == [1, 1, 2]


async def test_progress_of_deleted_objects_is_forgotten(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(1))
    (tmp_path / "b.jsonl").write_bytes(lines(2))
    async with reading(spool, f"file://{tmp_path}/*.jsonl"):
        await stored(spool, 2)
        (tmp_path / "a.jsonl").unlink()
        for _ in range(1_000):
            if len(await spool.positions()) == 1:
                break
            await asyncio.sleep(0.05)
        assert len(await spool.positions()) == 1


async def test_damaged_object_gives_what_is_before_the_damage(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = gzip.compress(lines(1, 2) + bytes(1 << 16)) + gzip.compress(lines(3))
    (tmp_path / "a.jsonl.gz").write_bytes(packed[:-12])
    async with reading(spool, f"file://{tmp_path}/a.jsonl.gz"):
        await stored(spool, 2)
        await until(lambda: "object_damaged" in caplog.text)
    assert (await numbers(spool))[:2] == [1, 2]


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("gs://bucket/a", r"pip install 'extraction-monitor\[gcs\]'"),
        ("gopher://host/a", "use one of file, gcs, gs, s3"),
    ],
)
def test_storage_without_a_library_is_a_clear_error(spool: Spool, url: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        Objects([url], {}, Intake(Decoder(), spool, ForwardMetrics()), 1.0)

"""Object files: new objects of a bucket, read once each.

An object is read as `xm replay` reads a file: JSON lines, arrays, CSV or Parquet, plain or packed.
It counts as new again if its content changes. After a restart, reading continues behind the last
element that was stored.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

import msgspec
from fsspec.core import url_to_fs

from monitor.errors import ConfigError, InputError
from pipelines.forward.intake import Intake
from pipelines.traffic.files import LineFile
from pipelines.traffic.unpack import is_hidden

log = logging.getLogger(__name__)

PREFIX = "object:"  # of the names of positions in the spool
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated")


class Progress(msgspec.Struct, frozen=True):
    """How far an object was read.

    Attributes:
        version: changes with its content.
        elements: stored so far.
        finished: whether that is all.
    """

    version: str
    elements: int = 0
    finished: bool = False


_decode_progress = msgspec.json.Decoder(Progress).decode


class Objects:
    """Reads the objects that some URLs name.

    Args:
        urls: such as `s3://bucket/folder`, or patterns such as `gs://bucket/*/llm-*.jsonl.gz`.
        saved: progress of an earlier run, by name.
        intake: takes the elements.
        seconds: between two looks for new objects.

    Raises:
        ConfigError: the library for a URL is not installed.
    """

    def __init__(
        self, urls: Sequence[str], saved: dict[str, bytes], intake: Intake, seconds: float
    ) -> None:
        self._places = [(url, *_filesystem(url)) for url in urls]
        self._intake, self._seconds = intake, seconds
        self._progress = {
            name.removeprefix(PREFIX): _decode_progress(progress)
            for name, progress in saved.items()
            if name.startswith(PREFIX)
        }
        self._failed: set[str] = set()

    async def run(self) -> None:
        """Read what is there and what comes, until cancelled."""
        while True:
            found: set[str] = set()
            failed = False
            for url, storage, path in self._places:
                try:
                    found |= await self._read_new(storage, path)
                except Exception as error:  # each storage has errors of its own
                    failed = True
                    self._complain(url, error)
                else:
                    self._failed.discard(url)
            gone = [] if failed else [*filter(self._covers, self._progress.keys() - found)]
            for name in gone:
                del self._progress[name]
                await self._intake.store("object", [], PREFIX + name, None)
            await asyncio.sleep(self._seconds)

    def _covers(self, name: str) -> bool:
        """Whether an object would be listed if it existed."""
        for _, storage, path in self._places:
            place = storage.unstrip_protocol(path)
            if name.startswith(f"{place.rstrip('/')}/") or fnmatch(name, place):
                return True
        return False

    async def _read_new(self, storage: Any, path: str) -> set[str]:
        """Read the new objects of a place; the names of all."""
        found = await asyncio.to_thread(_list, storage, path)
        for name, version in sorted(found.items()):
            known = self._progress.get(name)
            if known is None or known.version != version:
                known = Progress(version)
            if not known.finished:
                await self._read(storage, name, known)
        return {*found}

    async def _read(self, storage: Any, name: str, progress: Progress) -> None:
        """Store the elements of an object that are not stored yet."""
        stream = await asyncio.to_thread(storage.open, name, "rb")
        with stream, LineFile(name, opened=stream) as file:
            batches = file.batches()
            read = 0
            try:
                while batch := await asyncio.to_thread(next, batches, None):
                    new = batch[max(0, progress.elements - read) :]
                    read += len(batch)
                    if new:
                        values = [each for each in new if each.strip()]
                        progress = Progress(progress.version, read)
                        await self._store(name, values, progress)
            except InputError as error:
                if isinstance(error.__cause__, OSError):  # the storage is away
                    raise
                log.error("object_damaged name=%s reason=%r", name, str(error))
        await self._store(name, [], Progress(progress.version, read, finished=True))

    async def _store(self, name: str, values: Sequence[bytes], progress: Progress) -> None:
        await self._intake.store("object", values, PREFIX + name, msgspec.json.encode(progress))
        self._progress[name] = progress

    def _complain(self, url: str, error: Exception) -> None:
        if url not in self._failed:
            self._failed.add(url)
            reason = str(error) if isinstance(error, InputError) else repr(error)
            log.error("objects_unreadable url=%s reason=%r", _without_login(url), reason)


def _filesystem(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0]
    try:
        storage, path = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    except (ImportError, ValueError) as error:  # no such library, or no such protocol
        extra = _EXTRAS.get(protocol)
        remedy = (
            f"install it with `pip install 'extraction-monitor[{extra}]'`"
            if extra
            else f"use one of {', '.join(sorted({'file', *_EXTRAS}))}, or install its library"
        )
        raise ConfigError(f"{protocol}:// cannot be read ({error}): {remedy}.") from error
    except Exception as error:  # each storage has errors of its own
        raise ConfigError(
            f"The storage of {_without_login(url)} cannot be used ({error}): check the URL and "
            "the credentials."
        ) from error
    return storage, path


def _without_login(url: str) -> str:
    return re.sub("//[^/]*@", "//", url)


def _list(storage: Any, path: str) -> dict[str, str]:
    """The objects at a path or pattern, each with its version."""
    storage.invalidate_cache()
    if any(sign in path for sign in "*?["):
        found = storage.glob(path, detail=True)
    else:
        found = storage.find(path, detail=True)
    return {
        storage.unstrip_protocol(name): _version(info)
        for name, info in found.items()
        if info["type"] == "file" and info["size"] and not is_hidden(name.removeprefix(path))
    }


def _version(info: dict[str, Any]) -> str:
    return str(next((info[each] for each in _VERSIONS if info.get(each)), "")) or str(info["size"])

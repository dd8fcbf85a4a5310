"""Unpack recorded data: gzip, zstd, bz2, xz, and the members of zip and tar archives.

The first bytes decide, not the name. What comes out is looked at again, so that a zip archive of
gzip files is read too. Data is handed on in pieces: memory does not depend on its size.
"""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import zstandard

from monitor.errors import InputError

Chunks = Iterator[bytes]

PIECE = 1 << 20  # bytes of plain data at once
_SLICE = 1 << 16  # bytes of zstd data at once: its unpacker cannot limit what comes out
_NESTED = 4  # levels of packing, against data that unpacks to itself


class DamagedError(Exception):
    """What is wrong with data, to be completed by its place: "gzip data is cut off"."""


class Member(NamedTuple):
    """Recorded data, packed or not.

    Attributes:
        name: of the file, and of the member in its archive.
        chunks: the content, in pieces.
        file: the same content as a file with random access, if there is one.
        packing: what the content was unpacked from, the outermost first.
    """

    name: str
    chunks: Chunks
    file: IO[bytes] | None = None
    packing: tuple[str, ...] = ()

    def seekable(self) -> IO[bytes]:
        """The content with random access, copied to a temporary file if need be."""
        file = self.file
        if file is None:
            file = TemporaryFile(prefix="xm-")  # noqa: SIM115
            file.writelines(self.chunks)
        file.seek(0)
        return file


def peek(chunks: Chunks, is_enough: Callable[[bytes], bool]) -> tuple[bytes, Chunks]:
    """The beginning of data, read until it is enough, and the rest.

    Damage in the beginning is raised when the rest is read.
    """
    head = b""
    try:
        while not is_enough(head) and (chunk := next(chunks, b"")):
            head += chunk
    except DamagedError as error:
        return head, _Damaged(error)
    return head, chunks


def tells(head: bytes, signs: Iterable[bytes]) -> bool:
    """Whether the beginning tells which sign data begins with, if any. A pipe has few bytes."""
    return bool(head) and not any(len(head) < len(sign) and sign.startswith(head) for sign in signs)


class _Damaged(Iterator[bytes]):
    """Data that cannot be read."""

    def __init__(self, error: DamagedError) -> None:
        self._error = error

    def __next__(self) -> bytes:
        raise self._error


def unpack(packed: Member, level: int = 0) -> Iterator[Member]:
    """The members of packed data, each to be read before the next. Other data is one member.

    Raises:
        InputError: the format is known and cannot be read.
        DamagedError: here, or while a member is read.
    """
    head, rest = peek(packed.chunks, lambda head: tells(head, _MAGIC))
    for magic, what in _UNREADABLE.items():
        if head.startswith(magic):
            raise InputError(
                f"{packed.name} is {what}, which cannot be read. Convert it to JSON lines, CSV "
                "or Parquet."
            )
    packed = packed._replace(chunks=chain([head], rest))
    members = None if level == _NESTED else _members(head, packed)
    if members is None:
        yield packed
    else:
        for member in members:
            yield from unpack(member, level + 1)


def is_hidden(path: str) -> bool:
    """Whether a file of a folder or archive is no data by its name, such as `_SUCCESS`."""
    return any(part[:1] in ("_", ".") and part.strip(".") for part in path.split("/"))


def _members(head: bytes, packed: Member) -> Iterator[Member] | None:
    for magic, (kind, unpacker) in _STREAMS.items():
        if head.startswith(magic):
            plain = _decompress(packed.chunks, kind, unpacker)
            return iter([Member(packed.name, plain, packing=(*packed.packing, kind))])
    if head.startswith(_ZIP):
        return _zip_members(packed)
    return _tar_members(packed) if head[257:262] == b"ustar" else None


# Compressed streams


def _zstd() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def _xz() -> Any:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ)


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


_STREAMS: dict[bytes, tuple[str, Callable[[], Any]]] = {
    b"\x1f\x8b": ("gzip", _gzip),
    b"BZh": ("bz2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": ("xz", _xz),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
    **{bytes([low]) + b"\x2a\x4d\x18": ("zstd", _zstd) for low in range(0x50, 0x60)},
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_UNREADABLE = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a": "a rar archive",
    b"\x04\x22\x4d\x18": "lz4 data",
    b"\xff\x06\x00\x00sNaPpY": "snappy data",
    b"SQLite format 3\0": "an SQLite database",
}
_MAGIC = (*_STREAMS, *_ZIP, *_UNREADABLE)
_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


def _decompress(chunks: Chunks, kind: str, unpacker: Callable[[], Any]) -> Chunks:
    """The content of compressed data, which may hold several streams in a row."""
    stream = None
    for data in _sliced(chunks) if kind == "zstd" else chunks:
        more = False
        while data or more:
            if stream is None:
                data = data.lstrip(b"\0")  # some tools pad with zeros
                if not data:
                    break
                stream = unpacker()
            try:
                plain = stream.decompress(data, *([] if kind == "zstd" else [PIECE]))
            except _ERRORS as error:
                raise DamagedError(f"{kind} data is damaged") from error
            if plain:
                yield plain
            if stream.eof:
                data, more, stream = stream.unused_data, False, None
            else:
                data, more = getattr(stream, "unconsumed_tail", b""), len(plain) == PIECE
    if stream is not None:
        raise DamagedError(f"{kind} data is cut off")


def _sliced(chunks: Chunks) -> Chunks:
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE):
            yield chunk[start : start + _SLICE]


# Archives


def _zip_members(packed: Member) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(packed.seekable()) as archive:
            for info in archive.infolist():
                if not (info.is_dir() or is_hidden(info.filename)):
                    name = f"{packed.name}:{info.filename}"
                    yield Member(
                        name, _zip_content(archive, info), packing=(*packed.packing, "zip")
                    )
    except zipfile.BadZipFile as error:
        raise DamagedError("zip archive is damaged or cut off") from error


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Chunks:
    try:
        with archive.open(info) as content:
            yield from iter(lambda: content.read(PIECE), b"")
    except (RuntimeError, NotImplementedError) as error:
        raise DamagedError(f"zip archive cannot be unpacked ({error})") from error
    except (zipfile.BadZipFile, *_ERRORS) as error:
        raise DamagedError("zip archive is damaged") from error


def _tar_members(packed: Member) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=packed.seekable(), mode="r:") as archive:
            for info in archive:
                content = archive.extractfile(info)
                if content is not None and not is_hidden(info.name):
                    name = f"{packed.name}:{info.name}"
                    yield Member(name, _tar_content(content), packing=(*packed.packing, "tar"))
    except tarfile.TarError as error:
        raise DamagedError("tar archive is damaged or cut off") from error


def _tar_content(content: IO[bytes]) -> Chunks:
    try:
        yield from iter(lambda: content.read(PIECE), b"")
    except (tarfile.TarError, *_ERRORS) as error:
        raise DamagedError("tar archive is cut off") from error

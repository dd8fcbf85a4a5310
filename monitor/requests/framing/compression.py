"""Decompression of message values, bounded: a decompression bomb is `too_large`."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from monitor.requests.reasons import ElementError

_LZMA_BYTES = 128 << 20  # of memory for one xz value
_ZSTD_BYTES = 32 << 20  # the largest window of a zstd value
_NO_DECODER = {b"\x04\x22\x4d\x18": "lz4", b"\xff\x06\x00\x00sNaPpY": "snappy"}


def decompress(value: bytes, limit: int) -> bytes | None:
    """The decompressed value, `None` if its first bytes name no compression.

    Reads gzip, zstd, zlib, bzip2 and xz, also several streams one after the other.

    Args:
        limit: bytes that the result may have.

    Raises:
        ElementError: `too_large`, or `undecodable` if the value is damaged or of another format.
    """
    for magic, name in _NO_DECODER.items():
        if value.startswith(magic):
            raise ElementError(
                "undecodable",
                f"the value is compressed with {name}: send gzip or zstd, or let Kafka compress",
            )
    if value.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(value, limit)
    for magic, name, new in _STREAMS:
        if value.startswith(magic):
            return _streams(value, limit, magic, name, new)
    return None


def _zlib_header(second: int) -> bytes:
    return bytes((0x78, second))


_STREAMS: tuple[tuple[bytes, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b\x08", "gzip", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(memlimit=_LZMA_BYTES)),
    *((_zlib_header(second), "zlib", zlib.decompressobj) for second in (0x01, 0x5E, 0x9C, 0xDA)),
)


def _streams(value: bytes, limit: int, magic: bytes, name: str, new: Callable[[], Any]) -> bytes:
    parts, size = [], 0
    while value.startswith(magic):
        stream = new()
        try:
            part = stream.decompress(value, limit + 1 - size)
        except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
            raise _damaged(name) from None
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _bomb(limit)
        if not stream.eof:
            raise _damaged(name)
        value = stream.unused_data
    return b"".join(parts)


def _zstd(value: bytes, limit: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_BYTES)
    try:
        with decompressor.stream_reader(value, read_across_frames=True) as stream:
            found = stream.read(limit + 1)
        if len(found) < min(zstandard.frame_content_size(value), limit):
            raise _damaged("zstd")
    except zstandard.ZstdError:
        raise _damaged("zstd") from None
    if len(found) > limit:
        raise _bomb(limit)
    return found


def _bomb(limit: int) -> ElementError:
    return ElementError("too_large", f"the message has more than {limit} bytes decompressed")


def _damaged(name: str) -> ElementError:
    return ElementError("undecodable", f"the {name} value is cut off or damaged")

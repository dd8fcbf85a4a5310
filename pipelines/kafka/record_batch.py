"""Decodes Kafka's record batches into arrays, without a Python object per record.

A fetch contains a partition's records as the broker stores them: batches of a header and records,
often compressed, of variable-length integers, keys, values and headers. One compiled pass finds
each value. The result is five numbers per record and one block of bytes.

Source: message format 2 (KIP-98), https://kafka.apache.org/protocol#message_sets
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from aiokafka import codec
from aiokafka.errors import CorruptRecordException
from aiokafka.record.util import calc_crc32c
from numba import types

from monitor.kernels.buffers import PADDING, Integers, Messages
from monitor.kernels.jit import cached_jit

Flags = npt.NDArray[np.bool_]

FORMAT = 2  # the message format that `decode` reads
NO_TIME = -1  # timestamp of a record without one, by the protocol
_HEADER = np.dtype(
    [
        ("base_offset", ">i8"),
        ("length", ">i4"),  # of the rest, bytes
        ("leader_epoch", ">i4"),
        ("magic", "i1"),
        ("crc", ">u4"),  # of the rest
        ("attributes", ">i2"),
        ("last_offset_delta", ">i4"),
        ("first_timestamp", ">i8"),
        ("max_timestamp", ">i8"),
        ("producer_id", ">i8"),
        ("producer_epoch", ">i2"),
        ("base_sequence", ">i4"),
        ("count", ">i4"),
    ]
)
_LENGTH_END = 12  # offset in the header, bytes
_CRC_END = 21
_MAGIC = 16
_MIN_LENGTH = 14  # length of the smallest message, in the oldest format
_MIN_RECORD = 6  # bytes of the smallest record
_CODEC, _APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20  # bits of the attributes
_DECOMPRESS = {
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}


class Records:
    """Consecutive records of a partition. A slice shares the bytes of the whole.

    Attributes:
        offsets: `(n,) int64`, rising, with gaps.
        timestamps: `(n,) int64`, milliseconds since the epoch.
        values: n.
        keyed: `(n,) bool`, whether the record has a key.
    """

    __slots__ = ("keyed", "offsets", "timestamps", "values")

    def __init__(
        self, offsets: Integers, timestamps: Integers, values: Messages, keyed: Flags
    ) -> None:
        self.offsets = offsets
        self.timestamps = timestamps
        self.values = values
        self.keyed = keyed

    @classmethod
    def of(cls, records: Sequence[Any]) -> Records:
        """From objects with `offset`, `timestamp` (milliseconds), `key` and `value`."""
        return cls(
            np.array([record.offset for record in records], np.int64),
            np.array([NO_TIME if r.timestamp is None else r.timestamp for r in records], np.int64),
            Messages.of([record.value for record in records]),
            np.array([record.key is not None for record in records], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, part: slice) -> Records:
        return Records(
            self.offsets[part], self.timestamps[part], self.values[part], self.keyed[part]
        )

    def parts(self, most: int, most_bytes: int) -> list[Records]:
        """The records in parts of at most `most` records and `most_bytes` bytes of values.

        A larger record is a part of its own.
        """
        until = np.cumsum(np.maximum(self.values.ends - self.values.starts, 0))
        parts, start, size = list[Records](), 0, 0
        while start < len(self):
            fitting = int(np.searchsorted(until, size + most_bytes, side="right"))
            end = min(max(fitting, start + 1), start + most)
            parts.append(self[start:end])
            start, size = end, int(until[min(end, len(self)) - 1])
        return parts

    def __repr__(self) -> str:
        where = f", offsets {self.offsets[0]} to {self.offsets[-1]}" if len(self) else ""
        return f"<{len(self)} records{where}>"

    def clear(self) -> None:
        """Release the bytes and drop all records."""
        self.values = Messages.of([])
        self.offsets = self.timestamps = self.values.starts
        self.keyed = np.zeros(0, np.bool_)


def is_current(data: bytes) -> bool:
    """Whether all batches are in the format that `decode` reads."""
    return all(data[start + _MAGIC] == FORMAT for start in _starts(data))


def decode(data: bytes, position: int, *, check_crcs: bool = True) -> tuple[Records, int]:
    """Decode the records of a fetch.

    A batch that the fetch cuts off is left to the next fetch.

    Args:
        data: of the fetch.
        position: first offset to return.
        check_crcs: whether to verify the checksums.

    Returns:
        the records, and the position after them.

    Raises:
        CorruptRecordException: if a batch is corrupt.
    """
    starts = _starts(data)
    if not starts:
        return Records.of([]), position
    first = np.array(starts)
    raw = np.frombuffer(data, np.uint8)
    headers = raw[first[:, None] + np.arange(_HEADER.itemsize)].view(_HEADER)[:, 0]
    ends = first + _LENGTH_END + headers["length"]
    if check_crcs:
        _check(data, first, ends, headers)
    following = int(headers["base_offset"][-1]) + int(headers["last_offset_delta"][-1]) + 1

    wanted = headers["attributes"] & _CONTROL == 0
    headers, first, ends = headers[wanted], first[wanted] + _HEADER.itemsize, ends[wanted]
    if (headers["attributes"] & _CODEC).any():
        data, first, ends = _decompressed(data, first, ends, headers)
    else:
        data += PADDING
    raw = np.frombuffer(data, np.uint8)
    room = int(np.clip(headers["count"], 0, (ends - first) // _MIN_RECORD).sum())
    found = np.empty((5, room), np.int64)
    by_broker = headers["attributes"] & _APPEND_TIME != 0
    count = _find(
        raw,
        first,
        ends,
        headers["count"].astype(np.int64),
        headers["base_offset"].astype(np.int64),
        np.where(by_broker, headers["max_timestamp"], headers["first_timestamp"]).astype(np.int64),
        by_broker,
        position,
        found,
    )
    if count < 0:
        raise _corrupt(headers[-1 - count], "its records do not match its length")
    offsets, timestamps, begins, stops, keyed = found[:, :count]
    return Records(offsets, timestamps, Messages(data, begins, stops), keyed != 0), following


def _starts(data: bytes) -> list[int]:
    """The starts of the complete batches."""
    start, starts = 0, []
    while start + _LENGTH_END <= len(data):
        base, length = struct.unpack_from(">qi", data, start)
        end = start + _LENGTH_END + length
        if end > len(data):
            break
        if length < _MIN_LENGTH or (
            data[start + _MAGIC] == FORMAT and end - start < _HEADER.itemsize
        ):
            raise CorruptRecordException(f"The batch at offset {base} is shorter than its header.")
        starts.append(start)
        start = end
    return starts


def _check(data: bytes, starts: Integers, ends: Integers, headers: Any) -> None:
    view = memoryview(data)
    covered = zip((starts + _CRC_END).tolist(), ends.tolist(), strict=True)
    for i, ((start, end), crc) in enumerate(zip(covered, headers["crc"].tolist(), strict=True)):
        if calc_crc32c(view[start:end]) != crc:
            raise _corrupt(headers[i], "its checksum differs")


def _decompressed(
    data: bytes, starts: Integers, ends: Integers, headers: Any
) -> tuple[bytes, Integers, Integers]:
    """The records of all batches in one block, and each batch's start and end, `(k,) int64`."""
    parts = []
    codecs = (headers["attributes"] & _CODEC).tolist()
    for i, (start, end, name) in enumerate(zip(starts, ends, codecs, strict=True)):
        part = data[start:end]
        if name:
            try:
                part = _DECOMPRESS[name](part)
            except Exception as error:  # each codec has its own
                raise _corrupt(headers[i], f"it cannot be decompressed ({error!r})") from error
        parts.append(part)
    until = np.cumsum([len(part) for part in parts])
    return b"".join([*parts, PADDING]), np.concatenate([[0], until[:-1]]), until


def _corrupt(header: Any, why: str) -> CorruptRecordException:
    return CorruptRecordException(
        f"The batch at offset {header['base_offset']} is corrupt: {why}. If this repeats, move the "
        "group past it with kafka-consumer-groups --reset-offsets."
    )


@cached_jit()
def _varint(data: Any, at: int, end: int) -> tuple[Any, int]:
    """Decode a zigzag varint at `at`.

    Args:
        data: `(size,) uint8`.

    Returns:
        the integer and the position after it; beyond `end` if it is cut off or too long.
    """
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < 64:
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at  # zigzag
        shift += np.uint64(7)
    return 0, end + 1


@cached_jit()
def _bytes(data: Any, at: int, end: int) -> tuple[int, int, int]:
    """Find a length-prefixed value at `at`.

    Args:
        data: `(size,) uint8`.

    Returns:
        its start, its end (start - 1 for null) and the position after it; beyond `end` if cut off.
    """
    size, at = _varint(data, at, end)
    if size > end - at:
        return at, at, end + 1
    if size < 0:
        return at, at - 1, at
    return at, at + size, at + size


_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_INTEGERS = types.int64[::1]


# With types, so that it is compiled (or loaded from the cache) before the first fetch.
@cached_jit(
    types.int64(
        _BYTES,
        *[_INTEGERS] * 5,
        types.boolean[::1],
        types.int64,
        types.int64[:, ::1],
    )
)
def _find(
    data: Any,
    starts: Any,
    ends: Any,
    counts: Any,
    base_offsets: Any,
    timestamps: Any,
    by_broker: Any,
    position: int,
    found: Any,
) -> int:
    """Find the records of k batches with an offset of at least `position`.

    Args:
        data: `(size,) uint8`.
        starts: `(k,) int64`, start of each batch's records in `data`.
        ends: `(k,) int64`, their end.
        counts: `(k,) int64`, number of records.
        base_offsets: `(k,) int64`, added to the offsets of the batch's records.
        timestamps: `(k,) int64`, milliseconds, added to the timestamps of the batch's records.
        by_broker: `(k,) bool`, whether the batch's time applies to all its records instead.
        position: first offset to return.
        found: `(5, room) int64`, output: offset, timestamp, start and end of each value, and 1
            if the record has a key.

    Returns:
        the number of records, or -1 - i if the records of batch i are corrupt.
    """
    n = 0
    for i in range(len(starts)):
        at = starts[i]
        for _ in range(counts[i]):
            size, at = _varint(data, at, ends[i])
            if size < 0 or size > ends[i] - at:
                return -1 - i
            end = at + size
            later, at = _varint(data, at + 1, end)  # after one byte of unused attributes
            further, at = _varint(data, at, end)
            key, key_end, at = _bytes(data, at, end)
            first, last, at = _bytes(data, at, end)
            if at > end:
                return -1 - i
            at = end  # past the headers
            if base_offsets[i] + further < position:
                continue
            found[0, n] = base_offsets[i] + further
            found[1, n] = timestamps[i] + (0 if by_broker[i] else later)
            found[2, n] = first
            found[3, n] = last
            found[4, n] = key_end >= key
            n += 1
        if at != ends[i]:
            return -1 - i
    return n

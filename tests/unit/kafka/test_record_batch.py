"""Record batches as Kafka may send them, against aiokafka's own reader."""

from __future__ import annotations

import contextlib
import struct
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiokafka
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import (
    READ_COMMITTED,
    READ_UNCOMMITTED,
    Fetcher,
    PartitionRecords,
)
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kafka import fetch
from pipelines.kafka.fetch import RawBatches, RawPartition
from pipelines.kafka.record_batch import NO_TIME, Records, decode

HEADER = DefaultRecordBase.HEADER_STRUCT
ATTRIBUTES = DefaultRecordBase.ATTRIBUTES_OFFSET
TP = TopicPartition("topic", 0)
GZIP = DefaultRecordBase.CODEC_GZIP
PRODUCER, MARKER = 7, struct.pack(">HH", 0, 0)  # the key of the record that aborts a transaction

blobs = st.none() | st.binary(max_size=40) | st.integers(60, 9_000).map(lambda n: b"ab" * n)


class Record(NamedTuple):
    gap: int = 0  # offsets missing before it
    time: int = 1_772_000_000_000
    key: bytes | None = None
    value: bytes | None = b"value"
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Batch(NamedTuple):
    records: tuple[Record, ...] = (Record(),)
    codec: int = 0
    attributes: int = 0
    missing: int = 0  # offsets after the last record that compaction has emptied


records = st.builds(
    Record,
    st.integers(0, 3) | st.integers(0, 100_000),
    st.integers(0, 2**42),
    blobs,
    blobs,
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(
        tuple
    ),
)
batches = st.builds(
    Batch,
    st.lists(records, max_size=6).map(tuple),
    st.integers(0, 4),
    st.sampled_from([0, 0, 0, 0x08, 0x10, 0x20, 0x30]),
    st.integers(0, 3),
)


def built(batch: Batch, base: int) -> tuple[bytes, int]:
    """The bytes of a batch, and the first offset after it."""
    codec = batch.codec if batch.records else 0
    builder = DefaultRecordBatchBuilder(2, codec, 0, PRODUCER, 0, 0, 1 << 24)
    offset = -1
    for record in batch.records:
        offset += 1 + record.gap
        builder.append(offset, record.time, record.key, record.value, list(record.headers))
    data = bytearray(builder.build())
    fields = list(HEADER.unpack_from(data))
    fields[0], fields[5], fields[6] = base, fields[5] | batch.attributes, offset + batch.missing
    if not batch.records:
        fields[6] = batch.missing
    HEADER.pack_into(data, 0, *fields)
    return sealed(data), base + fields[6] + 1


def sealed(data: bytearray) -> bytes:
    crc = calc_crc32c(bytes(data[ATTRIBUTES:]))
    struct.pack_into(">I", data, DefaultRecordBase.CRC_OFFSET, crc)
    return bytes(data)


def fetch_of(parts: list[Batch], base: int = 0) -> tuple[bytes, int]:
    data = b""
    for batch in parts:
        part, base = built(batch, base)
        data += part
    return data, base


def rows(found: Records) -> list[tuple[int, int, bool, bytes | None]]:
    times, keyed = found.timestamps.tolist(), found.keyed.tolist()
    columns = found.offsets.tolist(), times, keyed, list(found.values)
    return list(zip(*columns, strict=True))


def drained(reader: Any, data: bytes, position: int, **how: Any) -> tuple[list[Any], int]:
    """What aiokafka would hand on of a fetch, and the position that it would go on from."""
    crcs, isolation = how.get("check_crcs", True), how.get("isolation", READ_UNCOMMITTED)
    memory = (MemoryRecords if reader is PartitionRecords else RawBatches)(data)
    aborted = how.get("aborted")
    found = reader(TP, memory, aborted, position, None, None, crcs, isolation)
    return list(found), found.next_fetch_offset


def aiokafkas(data: bytes, position: int, **how: Any) -> tuple[list[Any], int]:
    found, following = drained(PartitionRecords, data, position, **how)
    times = [NO_TIME if record.timestamp is None else record.timestamp for record in found]
    rows = zip(found, times, strict=True)
    return [(r.offset, t, r.key is not None, r.value) for r, t in rows], following


def ours(data: bytes, position: int, most: int | None = None, **how: Any) -> tuple[list[Any], int]:
    found, following = drained(
        lambda *arguments: RawPartition(most, *arguments), data, position, **how
    )
    return [row for each in found for row in rows(each)], following


@settings(deadline=None)
@given(st.lists(batches, min_size=1, max_size=5), st.data())
def test_decode_equals_aiokafka_from_any_position(parts: list[Batch], draw: st.DataObject) -> None:
    data, _ = fetch_of(parts, base=1_000)
    position = draw.draw(st.integers(1_000, built(parts[0], 1_000)[1]))
    data = data[: draw.draw(st.just(len(data)) | st.integers(0, len(data)))]
    assert ours(data, position) == aiokafkas(data, position)


@settings(deadline=None)
@given(batches, st.data())
def test_changed_byte_fails_the_checksum(batch: Batch, draw: st.DataObject) -> None:
    data = bytearray(built(batch, 0)[0])
    data[draw.draw(st.integers(ATTRIBUTES, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(CorruptRecordException):
        decode(bytes(data), 0)


@settings(deadline=None)
@given(st.lists(batches, min_size=1, max_size=3), st.data())
def test_changed_bytes_never_crash_the_decoder(parts: list[Batch], draw: st.DataObject) -> None:
    data = bytearray(fetch_of(parts)[0])
    for at in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        data[at] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptRecordException):
        found, _ = decode(bytes(data), 0, check_crcs=False)
        assert len(rows(found)) == len(found)


def test_corrupt_batch_is_named_and_moves_no_position() -> None:
    good, end = fetch_of([Batch()])
    bad = bytearray(fetch_of([Batch()], end)[0])
    bad[-3] ^= 1
    partition = RawPartition(None, TP, RawBatches(good + bad), None, 0, None, None, True, 0)
    with pytest.raises(CorruptRecordException, match=r"offset 1 .*checksum.*--reset-offsets"):
        list(partition)
    assert partition.next_fetch_offset == 0


def test_records_of_another_length_than_their_batch_are_corrupt() -> None:
    data = bytearray(built(Batch((Record(), Record())), 0)[0])
    for count in (1, 3, -1, 2**31 - 1):
        struct.pack_into(">i", data, HEADER.size - 4, count)
        with pytest.raises(CorruptRecordException, match="do not match its length"):
            decode(sealed(data), 0)


def test_undecompressible_bytes_are_corrupt() -> None:
    data = bytearray(built(Batch((Record(value=b"a" * 5_000),), GZIP), 0)[0])
    data[-20] ^= 1
    with pytest.raises(CorruptRecordException, match="decompressed"):
        decode(sealed(data), 0)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, GZIP])
def test_old_formats_equal_aiokafka(magic: int, codec: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    for offset, value in enumerate([b"one" * 99, None, b"three", b""]):
        builder.append(offset, 1_772_000_000_000 if magic else None, None, value)
    data = bytes(builder.build())
    assert ours(data, 0) == aiokafkas(data, 0)
    assert len(ours(data, 0)[0]) == 4


def test_aborted_transactions_are_skipped_if_read_committed() -> None:
    abort = Batch((Record(key=MARKER),), attributes=0x30)
    data, _ = fetch_of([Batch(attributes=0x10), Batch(), abort, Batch(attributes=0x10)])
    how = {"isolation": READ_COMMITTED, "aborted": [(PRODUCER, 0)]}
    assert ours(data, 0, **how) == aiokafkas(data, 0, **how)
    assert [offset for offset, *_ in ours(data, 0, **how)[0]] == [1, 3]


def test_parts_have_the_requested_size() -> None:
    data, end = fetch_of([Batch((Record(), Record(), Record())), Batch(missing=5)])
    partition = RawPartition(2, TP, RawBatches(data), None, 0, None, None, True, 0)
    positions = [(len(part), partition.next_fetch_offset) for part in partition]
    assert positions == [(2, 2), (2, 4)]
    assert partition.next_fetch_offset == end == 9


def test_slice_has_its_records_and_a_cleared_one_none() -> None:
    found, _ = decode(fetch_of([Batch(tuple(Record(value=b"%d" % i) for i in range(5)))])[0], 0)
    assert rows(found[1:3]) == rows(found)[1:3]
    found.clear()
    assert rows(found) == []


def test_unknown_aiokafka_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "_proc_fetch_request", lambda self: None)
    with pytest.raises(ImportError, match=rf"^aiokafka {aiokafka.__version__} parses fetches"):
        fetch.check_aiokafka()


@given(st.lists(st.none() | st.binary(max_size=40), max_size=60), st.integers(1, 9))
def test_parts_are_small_and_lose_nothing(values: list[bytes | None], most: int) -> None:
    records = Records.of(
        [SimpleNamespace(offset=n, timestamp=n, key=b"", value=v) for n, v in enumerate(values)]
    )
    parts = records.parts(most, 64)
    assert [row for part in parts for row in rows(part)] == rows(records)
    for part in parts:
        assert len(part) == 1 or sum(len(value or b"") for value in part.values) <= 64
        assert 0 < len(part) <= most

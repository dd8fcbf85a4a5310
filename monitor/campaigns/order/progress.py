"""Progress: a message on the topic of fingerprints that says how far partitions have been observed.

A worker sends one after each batch that ends ten minutes of event time, and one about all of its
partitions every few seconds. It follows the fingerprints of the requests that it counts, in the
same partition of the topic.
"""

from __future__ import annotations

import math

import msgspec

#: The first bytes of the message; no version of a fingerprint, and not the mark of several.
_PROGRESS = b"\x02\x80"
_MOST = 1 << 20  # partitions of a topic


class PartitionProgress(msgspec.Struct, array_like=True, frozen=True):
    """How far a partition of requests has been observed.

    Attributes:
        number: of the partition.
        watermark: the event time reached, epoch seconds.
        offset: the first message that is not observed.
        caught_up: whether Kafka has no message that is not observed.
    """

    number: int
    watermark: float
    offset: int
    caught_up: bool


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """The progress of some partitions of a topic of requests.

    Attributes:
        topic: its name.
        count: the number of its partitions.
        at: when the message was sent, wall-clock time, epoch seconds.
        partitions: those that the sender has.
    """

    topic: str
    count: int
    at: float
    partitions: list[PartitionProgress]


def encode(progress: Progress) -> bytes:
    """The message."""
    return _PROGRESS + msgspec.msgpack.encode(progress)


def is_progress(value: bytes) -> bool:
    """Whether a message is one of progress, readable or not."""
    return value[:2] == _PROGRESS


def decode(value: bytes) -> Progress | None:
    """The progress in a message; `None` if it is unreadable."""
    try:
        found = msgspec.msgpack.decode(value[2:], type=Progress)
    except msgspec.MsgspecError:
        return None
    numbers = (found.at, *(each.watermark for each in found.partitions))
    valid = all(map(math.isfinite, numbers)) and 0 < found.count <= _MOST
    return found if valid else None

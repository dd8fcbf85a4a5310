"""The partition of a message key, as Java's default partitioner and aiokafka choose it.

aiokafka hashes every key in pure Python, which takes as long as sending the message. Most keys
repeat, and a topic with one partition needs no hash.
"""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """The number of a key's partition in a topic with `partitions` partitions."""
    return _hash(key) % partitions if partitions > 1 else 0


@lru_cache(1 << 16)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF

"""The message key of a request, and the partition of a key.

Kafka gives all messages with one key to one worker. The key is the account behind the request, else
the payment, else the API key, so that keys which one account uses in turn are evaluated together.

The partition is that which Java's default partitioner and aiokafka choose.
aiokafka hashes every key in pure Python, which takes as long as sending the message. Most keys
repeat, and a topic with one partition needs no hash.
"""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2

from monitor.requests.decoder import RequestEvent


def partition_of(key: bytes, partitions: int) -> int:
    """The number of a key's partition in a topic with `partitions` partitions."""
    return _hash(key) % partitions if partitions > 1 else 0


@lru_cache(1 << 16)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def message_key(event: RequestEvent) -> bytes:
    """The Kafka key of a request."""
    return (event.account or event.payment or event.api_key).encode("utf-8", "surrogatepass")

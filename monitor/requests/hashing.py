"""Keyed hashes of texts, by the kind of value.

In all kernels here `data` is `(size,) uint8`, texts and `PADDING`, and `keys` is
`(len(HASH_KINDS), 2) uint64`.
"""

from __future__ import annotations

from typing import Any

from monitor.kernels.bits import U, inner
from monitor.kernels.jit import jit
from monitor.kernels.siphash import siphash

COUNTED_FIELDS = ("ip", "end_user", "user_agent", "system")  # their distinct values are counted
HASHED_FIELDS = (*COUNTED_FIELDS, "id", "model", "payment", "tls_fingerprint", "account")
NETWORK = len(HASHED_FIELDS)  # the column of the network's hash
HASH_KINDS = (*HASHED_FIELDS, "network")  # of values that are hashed, each with a key of its own
PART_KEY = HASH_KINDS.index("system")  # of the hashes of all parts


@inner
def hash_text(data: Any, at: Any, end: Any, keys: Any, kind: Any) -> Any:
    """The keyed hash of the text `data[at:end]`, which is not empty; uint64, never 0.

    Args:
        kind: index in HASH_KINDS.
    """
    return siphash(data, at, end, keys[kind, 0], keys[kind, 1]) or U(1)


@jit
def hash_each(data: Any, ends: Any, keys: Any, kind: int, hashes: Any) -> None:
    """Hash n texts that follow one another; an empty text gets 0.

    Args:
        data: `(size,) uint8`, the texts and `PADDING`.
        ends: `(n,) int64`, byte offset where each text ends.
        kind: index in HASH_KINDS.
        hashes: `(n,) uint64`, the result.
    """
    at = U(0)
    for i in range(len(ends)):
        end = U(ends[i])
        hashes[i] = hash_text(data, at, end, keys, kind) if end > at else U(0)
        at = end

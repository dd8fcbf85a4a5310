"""Byte pair encoding of chunks into tokens, with a cache of recent chunks.

Of all adjacent pairs of tokens, the one that comes first in the list of merges becomes one token,
until no pair can be merged. That is slow, so the tokens of a chunk are cached in one of two slots
given by the chunk's hash. A missing chunk is encoded and takes a slot. The cache never changes a
result: a chunk is identified by all 64 bits of a hash that is keyed with the secret.

In all kernels here `buffer` is `(size,) uint8`, the prompts; `at` and `end` are uint64 offsets in
it; `merges` is the `(131072,) uint64` of `Tokens`; tokens are int64, and a pair is
left << 16 | right, uint64; `tables` is `Tables` and `workspace` is `Workspace` (`kernel.py`).

Source: R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword
units", ACL 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import C1, HIGH, U, character, inner, load_bytes

OPENING, CLOSING = 4, 5  # chunks at the beginning and the end whose meaning is a feature
CACHED = 12  # tokens that a slot holds; a chunk with more is encoded each time
_NEVER = 1 << 40  # rank of two tokens that do not merge


@inner
def _slot(merges: Any, pair: Any) -> Any:
    """The slot of a pair in the table of merges, or the free slot where it would be; uint64."""
    slot = (pair * C1) >> U(47)
    while merges[slot] and merges[slot] >> U(32) != pair:
        slot = (slot + U(1)) & U(len(merges) - 1)
    return slot


@inner
def _merge_of(merges: Any, left: Any, right: Any) -> Any:
    """Rank << 16 | token of a pair, int64; `_NEVER` if the pair does not merge."""
    entry = merges[_slot(merges, U(left) << U(16) | U(right))]
    return np.int64(entry & U(0xFFFFFFFF)) if entry else np.int64(_NEVER)


@inner
def _encode_chunk(buffer: Any, at: Any, end: Any, spaced: Any, tables: Any, work: Any) -> int:
    """Write the tokens of a chunk to `work[0]`; return their number.

    Args:
        spaced: uint64, 1 if a space precedes the chunk.
        work: `(3, LONGEST + 8) int64`, scratch: token, rank of its merge with the next one, and
            index of the next one.
    """
    single, merges = tables.single, tables.merges
    token, rank, after = work[0], work[1], work[2]
    n = 0
    if spaced:
        token[0] = single[32]
        n = 1
    while at < end:
        code, size = character(buffer, at)
        known = single[code] if code < U(0x10000) else np.int16(-1)
        if known >= 0:
            token[n] = known
            n += 1
        else:
            for k in range(size):
                token[n] = 3 + np.int64(buffer[at + U(k)])  # token of a single byte
                n += 1
        at += size
    for i in range(n):
        after[i] = i + 1
        rank[i] = _merge_of(merges, token[i], token[i + 1]) if i + 1 < n else _NEVER
    while True:
        best, where, before, previous, i = np.int64(_NEVER), -1, -1, -1, 0
        while i < n:
            if rank[i] < best:
                best, where, before = rank[i], i, previous
            previous = i
            i = after[i]
        if where < 0:
            break
        token[where] = best & 0xFFFF
        gone = after[where]
        after[where] = after[gone]
        rank[where] = (
            _merge_of(merges, token[where], token[after[gone]]) if after[gone] < n else _NEVER
        )
        if before >= 0:
            rank[before] = _merge_of(merges, token[before], token[where])
    count, i = 0, 0
    while i < n:
        token[count] = token[i]
        count += 1
        i = after[i]
    return count


@inner
def append_tokens(
    buffer: Any, chunks: int, tables: Any, workspace: Any, n: int
) -> tuple[int, int, int, int, int]:
    """Append the tokens of all chunks of a prompt to `workspace.tokens`.

    Args:
        chunks: number of chunks in the workspace.
        n: number of tokens there already.

    Returns:
        Number of tokens, number of cache misses, index of the token after the opening, index of
        the first token of the closing, and number of tokens of ASCII letters.
    """
    slots, tokens, work = workspace.slots, workspace.tokens, workspace.work
    hashes, begins, ends = workspace.chunks[0], workspace.chunks[1], workspace.chunks[2]
    last, low = U(len(slots) - 1), U(0x7FFF)
    misses, opening, closing, spelt = 0, 0, n, 0
    for i in range(chunks):
        if i == OPENING:
            opening = n
        if i == chunks - CLOSING:
            closing = n
        chunk = hashes[i]
        begin = begins[i] >> U(1)
        eight = load_bytes(buffer, begin) << (U(8) * (U(8) - min(ends[i] - begin, U(8))))
        is_letter = buffer[begin] >= 97 and buffer[begin] <= 122 and eight & HIGH == U(0)
        slot = (chunk >> U(20)) & last
        way = 0 if slots[slot, 0, 0] == chunk else 1
        if slots[slot, way, 0] != chunk:
            spaced = begins[i] & U(1)
            count = _encode_chunk(buffer, begins[i] >> U(1), ends[i], spaced, tables, work)
            misses += 1
            if count > CACHED:
                for k in range(count):
                    tokens[n + k] = work[0, k]
                n += count
                spelt += count * is_letter
                continue
            way = 0
            for k in range(4):
                slots[slot, 1, k] = slots[slot, 0, k]
                slots[slot, 0, k] = U(0)
            for k in range(count):
                slots[slot, 0, 1 + k // 4] |= U(work[0, k]) << U(15 * (k % 4))
            slots[slot, 0, 0] = chunk
            slots[slot, 0, 1] |= U(count) << U(60)
        packed = slots[slot, way, 1]
        tokens[n] = packed & low
        tokens[n + 1] = (packed >> U(15)) & low
        tokens[n + 2] = (packed >> U(30)) & low
        tokens[n + 3] = (packed >> U(45)) & low
        count = int(packed >> U(60))
        for k in range(4, count):
            tokens[n + k] = (slots[slot, way, 1 + k // 4] >> U(15 * (k % 4))) & low
        n += count
        spelt += count * is_letter
    return n, misses, opening if chunks > OPENING else n, closing, spelt

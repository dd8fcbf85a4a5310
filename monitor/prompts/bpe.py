"""Words to tokens: byte pair encoding, and a table of the chunks met lately.

Of all pairs of neighbours the one that comes first in the list of merges becomes one token, again
and again (Sennrich, Haddow, Birch, ACL 2016). That takes long, so that the tokens of a chunk are
kept in a table, in one of two places that the chunk's hash points to. A chunk that is in neither
is spelled again and takes one of them: the table makes frequent chunks cheap and never changes a
result, for a chunk is known by all 64 bits of a hash keyed with the secret.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import C1, U, character, jit

OPENING, CLOSING = 4, 5  # chunks at a prompt's beginning and end whose meaning is kept apart
KEPT = 12  # tokens of a chunk that there is room for; a chunk of more is spelled each time
_NEVER = 1 << 40  # the rank of two tokens that do not merge


@jit
def _slot(merges: Any, pair: Any) -> Any:
    """Where a pair of tokens is in the hash table of merges, or where it would be."""
    slot = (pair * C1) >> U(47)
    while merges[slot] and merges[slot] >> U(32) != pair:
        slot = (slot + U(1)) & U(len(merges) - 1)
    return slot


@jit
def _merge(merges: Any, left: Any, right: Any) -> Any:
    """Rank << 16 | token of a pair."""
    entry = merges[_slot(merges, U(left) << U(16) | U(right))]
    return np.int64(entry & U(0xFFFFFFFF)) if entry else np.int64(_NEVER)


@jit
def _spell(buffer: Any, at: Any, end: Any, spaced: Any, tables: Any, work: Any) -> int:
    """Write the tokens of a chunk to `work[0]`; returns their number."""
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
                token[n] = 3 + np.int64(buffer[at + U(k)])  # the tokens of bytes
                n += 1
        at += size
    for i in range(n):
        after[i] = i + 1
        rank[i] = _merge(merges, token[i], token[i + 1]) if i + 1 < n else _NEVER
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
            _merge(merges, token[where], token[after[gone]]) if after[gone] < n else _NEVER
        )
        if before >= 0:
            rank[before] = _merge(merges, token[before], token[where])
    count, i = 0, 0
    while i < n:
        token[count] = token[i]
        count += 1
        i = after[i]
    return count


@jit
def look_up(
    buffer: Any, chunks: int, tables: Any, memory: Any, n: int
) -> tuple[int, int, int, int]:
    """Append the tokens of all chunks to the n that there are; returns how many there are then,
    how many chunks had to be spelled, where the tokens of the opening end, and where those of the
    closing begin."""
    slots, tokens, spelling = memory.slots, memory.tokens, memory.spelling
    hashes, begins, ends = memory.chunks[0], memory.chunks[1], memory.chunks[2]
    last, low = U(len(slots) - 1), U(0x7FFF)
    spelled, opening, closing = 0, 0, n
    for i in range(chunks):
        if i == OPENING:
            opening = n
        if i == chunks - CLOSING:
            closing = n
        chunk = hashes[i]
        slot = (chunk >> U(20)) & last
        way = 0 if slots[slot, 0, 0] == chunk else 1
        if slots[slot, way, 0] != chunk:
            spaced = begins[i] & U(1)
            count = _spell(buffer, begins[i] >> U(1), ends[i], spaced, tables, spelling)
            spelled += 1
            if count > KEPT:
                for k in range(count):
                    tokens[n + k] = spelling[0, k]
                n += count
                continue
            way = 0
            for k in range(4):
                slots[slot, 1, k] = slots[slot, 0, k]
                slots[slot, 0, k] = U(0)
            for k in range(count):
                slots[slot, 0, 1 + k // 4] |= U(spelling[0, k]) << U(15 * (k % 4))
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
    return n, spelled, opening if chunks > OPENING else n, closing

"""Judged text: one text per request, of the parts that `records/admission.py` chose.

A single part is judged where it stands. Several parts are written one after the other, in the
order of the request, up to LIMIT bytes. A sentence that is split over them is one again. If they
are longer, each gets a fair share: what a short part leaves is divided among the longer ones. If
there are too many for that, the longest ones and some that only the secret predicts take turns. Of
a part that is cut, the beginning, a piece from the middle and the end are kept. The secret also
decides where the middle piece begins.

Below, `data`, `(size,) uint8`, holds the texts of p parts of n requests, `places`, `(p, 2) int64`,
their byte offsets, `hashes`, `(p,) uint64`, their keyed hashes, `ranges`, `(n, 2) int64`, the first
and last part of each request, and `judged`, `(p,) bool`, which of them are judged. `out` is
`(size,) uint8`, and all offsets are int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, mix
from monitor.kernels.buffers import PADDING, Prompts
from monitor.kernels.jit import jit
from monitor.prompts.cleaning.windows import LIMIT

_LEAST = 256  # bytes that each of many parts gets


def judged_texts(
    data: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    ranges: npt.NDArray[np.int64],
    judged: npt.NDArray[np.bool_],
) -> Prompts:
    """The text to judge of each of n requests; empty if no part is chosen."""
    size, texts = len(data), np.zeros((len(ranges), 2), np.int64)
    joined = _single_places(places, ranges, judged, texts)
    if not joined:
        return Prompts(data, texts)
    out = np.empty(size + joined * 2 * LIMIT + len(PADDING), np.uint8)
    out[:size] = data
    end = _join(data, places, hashes, ranges, judged, out, size, texts)
    out[end : end + len(PADDING)] = 0
    return Prompts(out[: end + len(PADDING)], texts)


@jit
def _single_places(parts: Any, ranges: Any, judged: Any, places: Any) -> int:
    """Write the places of the texts of a single part; return the number of other texts."""
    joined = 0
    for e in range(len(ranges)):
        count = 0
        for p in range(ranges[e, 0], ranges[e, 1]):
            if judged[p]:
                count += 1
                places[e, 0], places[e, 1] = parts[p, 0], parts[p, 1]
        if count > 1:
            joined += 1
            places[e, 0] = -1
    return joined


@jit
def _join(
    data: Any, parts: Any, hashes: Any, ranges: Any, judged: Any, out: Any, o: int, places: Any
) -> int:
    """Write the texts of several parts to `out[o:]`; return the offset after the last one."""
    for e in range(len(ranges)):
        if places[e, 0] >= 0:
            continue
        begin, end = ranges[e, 0], ranges[e, 1]
        chosen = judged[begin:end].copy()
        share = _share(parts[begin:end], hashes[begin:end], chosen)
        places[e, 0] = o
        for i in range(end - begin):
            if chosen[i]:
                at, stop = parts[begin + i, 0], parts[begin + i, 1]
                if o > places[e, 0]:
                    out[o] = 32 if _continues(out[o - 1], data[at]) else 10
                    o += 1
                o = _copy_share(data, at, stop, share, hashes[begin + i], out, o)
        places[e, 1] = o
    return o


@jit
def _continues(last: int, first: int) -> bool:
    """Whether a sentence seems to continue from one part to the next.

    Args:
        last, first: bytes, the last one of a part and the first one of the next.
    """
    ends = last in (33, 46, 58, 59, 63) or last <= 32  # one of !.:;? or a blank
    return not ends and (97 <= first <= 122 or 48 <= first <= 57 or first >= 128)


@jit
def _share(parts: Any, hashes: Any, chosen: Any) -> int:
    """The bytes that a part gets at most.

    Args:
        parts: `(k, 2) int64`, places of the parts of one request.
        hashes: `(k,) uint64`.
        chosen: `(k,) bool`, those that are judged; parts without a share are taken out.
    """
    total, count, least = 0, 0, 0
    for i in range(len(parts)):
        if chosen[i]:
            size = parts[i, 1] - parts[i, 0]
            total += size + 1
            least += min(size, _LEAST) + 1
            count += 1
    if total <= LIMIT:
        return LIMIT
    if least > LIMIT:
        count = _choose(parts, hashes, chosen)
    room, left, share = LIMIT - count, count, 0
    while left and room // left > share:
        share = room // left
        room, left = LIMIT - count, 0
        for i in range(len(parts)):
            size = parts[i, 1] - parts[i, 0]
            if chosen[i] and size <= share:
                room -= size
            elif chosen[i]:
                left += 1
    return share


@jit
def _choose(parts: Any, hashes: Any, chosen: Any) -> int:
    """Keep the longest parts, and in turn those of the lowest hash, while there is room.

    Args:
        parts, hashes, chosen: as in `_share`.

    Returns:
        Number of parts kept.
    """
    waiting = chosen.copy()
    chosen[:] = False
    room, count = LIMIT, 0
    while True:
        best, longest, lowest = -1, -1, U(0)
        for i in range(len(parts)):
            if not waiting[i]:
                continue
            size, order = parts[i, 1] - parts[i, 0], mix(hashes[i])
            if best < 0 or (size > longest if count % 2 == 0 else order < lowest):
                best, longest, lowest = i, size, order
        if best < 0:
            return count
        room -= min(longest, _LEAST) + 1
        if room < 0:
            return count
        waiting[best], chosen[best] = False, True
        count += 1


@jit
def _copy_share(data: Any, at: int, end: int, share: int, hashed: Any, out: Any, o: int) -> int:
    """Write `data[at:end]`, cut to `share` bytes, to `out[o:]`; return the offset after it.

    Args:
        hashed: uint64, keyed hash of the part.
    """
    if end - at <= share:
        return int(copy(data, at, end, out, o))
    quarter = (share - 2) // 4
    first, last = at + 2 * quarter, end - quarter
    middle = first + int(mix(hashed) % U(last - quarter - first + 1))
    o = copy(data, at, character_start(data, first), out, o)
    out[o] = 10
    o = copy(
        data, character_start(data, middle), character_start(data, middle + quarter), out, o + 1
    )
    out[o] = 10
    return int(copy(data, character_start(data, last), end, out, o + 1))


@jit
def character_start(data: Any, at: int) -> int:
    """The offset of the character that the byte at `at` belongs to."""
    while U(data[at]) & U(0xC0) == U(0x80):
        at -= 1
    return int(at)


@jit
def copy(data: Any, at: int, end: int, out: Any, o: int) -> int:
    """Write `data[at:end]` to `out[o:]`; return the offset after it. Unsigned offsets are not
    checked for a negative index, so that whole vectors are copied."""
    begin, to = U(at), U(o)
    for i in range(U(max(end - at, 0))):
        out[to + i] = data[begin + i]
    return int(o + end - at)

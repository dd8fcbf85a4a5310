"""Frames: the sentences that a key sends again and again, and what varies between them.

An application states its task once, in a frame, and puts data into it. A distiller that works
through a prompt list sends a task with every item, whatever it wraps around it. So before the
prompts of a key are judged as tasks, its own frame is taken out: the sentences at the beginning and
at the end of a prompt that the key has sent lately. A record remembers the hashes of FRAMES
sentences. One that comes again stays longer than others (CLOCK; F. J. Corbató, A Paging Experiment
with the Multics System, 1968), and each prompt adds only a few.

Only prompts that are known to begin a conversation are judged so, and only those of keys that
follow up on few answers: the first FULL of each key, and one in SAMPLE of the others.

In all kernels here `data` is `(size,) uint8`, valid UTF-8 and padding, and `r` is one RECORD,
updated in place. Offsets are int64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, hash_bytes, mix
from monitor.kernels.buffers import PADDING, Prompts
from monitor.kernels.jit import jit
from monitor.prompts.cleaning.judged_text import character_start, copy
from monitor.records.profile import FRAMES, Records
from monitor.requests.marks import FIRST_TURN, FOLLOW_UP, HAS_PROMPT
from monitor.requests.parts import KIND, Parts
from monitor.requests.turns import SYSTEM

HALF = 512  # bytes kept of each end of a long text
STATED = 32  # bytes of a frame that can state a task
FIRST = 4  # prompts of a key from which its frame is known
FULL, SAMPLE = 64, 8  # prompts that are all judged; of those after them one in SAMPLE
_ADDED = 4  # new sentences at each end that a prompt adds to the memory
_MOST = 40  # sentences at each end that are compared
# What a follow-up adds to `followed` and what any other request takes from it, and from where on a
# key is attended. It rises if more than a third of the requests follow up.
_UP, _DOWN, _ATTENDED = 16, 8, 64
_MAX_FOLLOWED, _MAX_PROMPTS = 128, 65_535
_READ = 3  # see `admission.py`
LONGEST = 256  # bytes of a sentence

# Kinds of bytes: of letters, digits and signs, not of blanks and punctuation; the end of a sentence
# or a line; and bytes of characters that may be a full-width mark at the end of a sentence.
_TEXT, _END, _WIDE_END = 1, 2, 3
_KINDS = np.array([_TEXT * (byte >= 48) for byte in range(256)], np.uint8)
_KINDS[list(b"\n!.:;?")] = _END
_KINDS[[0x81, 0x82, 0x9A, 0x9B, 0x9F]] = _WIDE_END


class Varying(NamedTuple):
    """What varies in the prompts of m of n requests.

    Attributes:
        which: `(m,) int64`, the requests.
        prompts: their texts without the frame.
        unframed: `(m,) float32`, 1 if there is neither a frame nor a system prompt, less if they
            are short, 0 from STATED bytes on.
    """

    which: npt.NDArray[np.int64]
    prompts: Prompts
    unframed: npt.NDArray[np.float32]


def varying(
    records: Records,
    rows: npt.NDArray[np.int64],
    admitted: npt.NDArray[np.uint8],
    marks: npt.NDArray[np.uint16],
    parts: Parts,
    judged: npt.NDArray[np.bool_],
    prompts: Prompts,
    seed: np.uint64,
) -> Varying:
    """Update the frames of the keys of n requests, and cut them from the prompts.

    Args:
        records: `(capacity,) RECORD`, the table; the fields of the frame are updated.
        rows: `(n,) int64`, the record of each request.
        admitted, marks, parts, judged, prompts: as `admission.py` returns them.
        seed: of the hashes; depends on the deployment's secret.
    """
    sizes = np.minimum(prompts.sizes, 4 * HALF)
    out = np.empty(int(sizes.sum()) + _MOST * len(rows) + len(PADDING), np.uint8)
    places, unframed = np.empty((len(rows), 2), np.int64), np.zeros(len(rows), np.float32)
    which = np.empty(len(rows), np.int64)
    count = _cut(
        *(records, rows, admitted, marks, parts, judged, prompts.data, prompts.places, seed),
        *(out, places, which, unframed),
    )
    end = places[count - 1, 1] if count else 0
    out[end : end + len(PADDING)] = 0
    texts = Prompts(out[: end + len(PADDING)], places[:count])
    return Varying(which[:count], texts, unframed[:count])


@jit
def _cut(
    records: Any,
    rows: Any,
    admitted: Any,
    marks: Any,
    parts: Any,
    judged: Any,
    data: Any,
    places: Any,
    seed: Any,
    out: Any,
    cut: Any,
    which: Any,
    unframed: Any,
) -> int:
    """Write the texts of `Varying`, one after the other, to `out`; return their number.

    Args:
        places: `(n, 2) int64`, of the prompts in `data`.
        cut: `(n, 2) int64`, receives their places in `out`.
        which, unframed: `(n,)`, receive the fields of `Varying`.
    """
    added = np.empty(2 * _ADDED, np.int64)
    tail = np.empty((_MOST, 2), np.int64)
    count, o = 0, 0
    for e in range(len(rows)):
        r = records[rows[e]]
        followed = int(r["followed"])
        followed = followed + _UP if marks[e] & FOLLOW_UP else max(followed - _DOWN, 0)
        r["followed"] = min(followed, _MAX_FOLLOWED)
        begins = marks[e] & HAS_PROMPT and marks[e] & FIRST_TURN
        if admitted[e] != _READ or not begins or followed >= _ATTENDED:
            continue
        seen = int(r["frame_prompts"])
        r["frame_prompts"] = seen + 1 if seen < _MAX_PROMPTS else FULL
        if seen >= FULL and mix(seed ^ U(seen)) % U(SAMPLE) != U(0):
            continue
        begin = o
        o, known = _cut_one(r, data, places[e, 0], places[e, 1], seed, out, o, added, tail)
        if seen < FIRST or o == begin:
            o = begin
            continue
        for p in range(parts.ranges[e, 0], parts.ranges[e, 1]):
            if parts.kinds[p] & KIND == SYSTEM and not judged[p]:  # a new one is in the text
                known += parts.places[p, 1] - parts.places[p, 0]
        unframed[count] = max(1.0 - known / STATED, 0.0)
        cut[count, 0], cut[count, 1] = begin, o
        which[count] = e
        count += 1
    return count


@jit
def _cut_one(
    r: Any,
    data: Any,
    begin: int,
    end: int,
    seed: Any,
    out: Any,
    o: int,
    added: Any,
    tail: Any,
) -> tuple[int, int]:
    """Write a text without its frame to `out[o:]`, and add its new sentences to the frame.

    Args:
        added: `(2 * _ADDED,) int64`; tail: `(_MOST, 2) int64`; scratch.

    Returns:
        The offset after the text, and the bytes of the sentences that were known.
    """
    memory = r["frame"]
    start, count, known, new = o, 0, 0, 0
    at = begin
    for _ in range(_MOST):
        if at >= end or new == _ADDED:
            break
        stop = _sentence_end(data, at, end)
        short, size = _short(data, at, stop, seed)
        slot = _find(memory, short)
        if slot >= 0:
            memory[slot] |= 1
            known += size
        else:
            o = _append(data, at, stop, out, o, start)
            if short:
                added[count] = short
                count, new = count + 1, new + 1
        at = stop
    last, kept, new = end, 0, 0
    for _ in range(_MOST):
        if last <= at or new == _ADDED:
            break
        stop = _sentence_start(data, at, last)
        short, size = _short(data, stop, last, seed)
        slot = _find(memory, short)
        if slot >= 0:
            memory[slot] |= 1
            known += size
        else:
            tail[kept, 0], tail[kept, 1] = stop, last
            kept += 1
            if short:
                added[count] = short
                count, new = count + 1, new + 1
        last = stop
    o = _append(data, at, last, out, o, start)
    for i in range(kept):
        o = _append(data, tail[kept - 1 - i, 0], tail[kept - 1 - i, 1], out, o, start)
    for i in range(count):
        _add(r, added[i])
    return o, known


@jit
def _append(data: Any, at: int, end: int, out: Any, o: int, start: int) -> int:
    """Write `data[at:end]` to `out[o:]`, of a text that begins at `start`; return the offset after
    it. Of a long text its middle is dropped."""
    if end > at + 2 * HALF:
        o = copy(data, at, character_start(data, at + HALF), out, o)
        at = character_start(data, end - HALF)
    o = copy(data, at, end, out, o)
    if o - start > 2 * HALF:
        o = copy(
            *(out, character_start(out, o - HALF), o, out, character_start(out, start + HALF)),
        )
    return int(o)


@jit
def _is_end(data: Any, i: int) -> bool:
    """Whether the byte at `i` ends a sentence or a line."""
    kind = _KINDS[data[i]]
    if kind < _WIDE_END or i < 2:
        return bool(kind == _END)
    first, second = data[i - 2], data[i - 1]
    if data[i] == 0x82:
        return bool(first == 0xE3 and second == 0x80)  # an ideographic full stop
    return bool(first == 0xEF and second == 0xBC)  # one of !:;? in full width


@jit
def _sentence_end(data: Any, at: int, end: int) -> int:
    """The offset after the sentence that begins at `at`, or after LONGEST bytes of it."""
    i, stop = U(at), U(min(end, at + LONGEST))
    while i < stop and not _KINDS[data[i]] & _TEXT:
        i += U(1)
    i += U(1)
    while i < stop:
        if _KINDS[data[i]] >= _END and _is_end(data, i):
            return int(np.int64(i) + 1)
        i += U(1)
    return int(character_start(data, at + LONGEST)) if end > at + LONGEST else end


@jit
def _sentence_start(data: Any, begin: int, end: int) -> int:
    """The offset of the last sentence that ends at `end`, not before `begin`, or of its last
    LONGEST bytes."""
    i, stop = U(end), U(max(begin, end - LONGEST))
    while i > stop and not _KINDS[data[i - U(1)]] & _TEXT:
        i -= U(1)
    i -= U(i > stop)
    while i > stop:
        if _KINDS[data[i - U(1)]] >= _END and _is_end(data, i - U(1)):
            return int(np.int64(i))
        i -= U(1)
    return int(character_start(data, end - LONGEST)) if begin < end - LONGEST else begin


@jit
def _short(data: Any, at: int, end: int, seed: Any) -> tuple[int, int]:
    """Fifteen bits of the hash of a sentence without its outer marks, 0 if it has no text, and its
    bytes."""
    while at < end and not _KINDS[data[at]] & _TEXT:
        at += 1
    while end > at and not _KINDS[data[end - 1]] & _TEXT:
        end -= 1
    if at == end:
        return 0, 0
    hashed = hash_bytes(data, U(at), U(end), seed) >> U(49)
    return int(np.int64(max(hashed, U(1)))), end - at


@jit
def _find(memory: Any, short: int) -> int:
    """The index of a sentence in the frame, -1 if it is not there."""
    if short:
        bits, near = np.uint16(short << 1), False
        for i in range(FRAMES):  # without a branch: vectorised
            near |= memory[i] ^ bits <= np.uint16(1)
        if near:
            for i in range(FRAMES):
                if memory[i] ^ bits <= np.uint16(1):
                    return i
    return -1


@jit
def _add(r: Any, short: int) -> None:
    """Add a sentence to the frame, in the place of one that has not come again lately."""
    memory = r["frame"]
    if _find(memory, short) >= 0:  # twice in one prompt
        return
    hand = np.int64(r["frame_hand"])
    while memory[hand] & 1:
        memory[hand] &= 0xFFFE
        hand = (hand + 1) % FRAMES
    memory[hand] = short << 1
    r["frame_hand"] = (hand + 1) % FRAMES

"""Normalisation: prompts in lower case, long ones shortened, side by side in one buffer.

Of a prompt longer than `LIMIT` characters only the beginning, the middle and the end are kept
(half, a quarter and a quarter of the limit). An instruction that wraps a document stands before or
after it, and a prompt list shows in either.

Case is ignored. It separates users from prompt lists a little, but an attacker can easily change
it. Letters of up to two bytes in UTF-8 are folded (Latin, Greek and Cyrillic), if their lower case
has as many bytes.

In all kernels here `data` is `(size,) uint8`, whole prompts as UTF-8, and `out` is `(size,) uint8`,
the normalised ones; `at`, `end` and `o` are uint64 offsets, `o` in `out`, and `count` is uint64;
`lower` is `(2048,) uint16`, the lower case of each character.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import HIGH, ONES, U, count_ones, entry, inner, letters, load_bytes
from monitor.kernels.buffers import PADDING, Prompts
from monitor.prompts.characters import characters

LIMIT = 2048  # characters of a prompt that are kept
BORDER = b"\n.\n"  # after each prompt and in each cut: no word or phrase extends across it

_BORDER = tuple(BORDER)
_QUARTER = LIMIT // 4
_MAX_BYTES = 4 * LIMIT + 2 * len(BORDER)  # of a normalised prompt


class Texts(NamedTuple):
    """n normalised prompts as UTF-8. An absent prompt is empty.

    Attributes:
        data: the prompts, each followed by `BORDER`, then `PADDING`.
        starts: `(n,) int64`, byte offset where each prompt begins.
        ends: `(n,) int64`, byte offset where it ends.
        lengths: `(n,) int64`, characters of each whole prompt.
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, prompts: Sequence[str | None]) -> Texts:
        """Normalise strings.

        >>> texts = Texts.of(["Hi", None, "Grüezi"])
        >>> texts.data[texts.starts[2] : texts.ends[2]].decode(), texts.lengths.tolist()
        ('grüezi', [2, 0, 6])
        """
        return normalise(Prompts.of(prompts))


def normalise(prompts: Prompts) -> Texts:
    """Normalise n prompts, in their order."""
    n = len(prompts.places)
    sizes = prompts.places[:, 1] - prompts.places[:, 0]
    most = int(np.minimum(sizes, _MAX_BYTES).sum()) + int((sizes > LIMIT).sum()) * _MAX_BYTES
    out = np.empty(most + n * len(BORDER) + len(PADDING), np.uint8)
    texts = np.empty((3, n), np.int64)
    size = _normalise(prompts.data, prompts.places, characters().lower, out, texts)
    return Texts(out[:size].tobytes(), *texts)


@inner
def _count_characters(data: Any, at: Any, end: Any) -> Any:
    """The number of characters in `data[at:end]`, uint64: its bytes without continuation bytes."""
    count = end - at
    while at + U(8) <= end:
        x = load_bytes(data, at)
        if x & HIGH:
            count -= count_ones((x >> U(7)) & ~(x >> U(6)) & ONES)
        at += U(8)
    while at < end:
        count -= U(U(data[at]) & U(0xC0) == U(0x80))
        at += U(1)
    return count


@inner
def _skip(data: Any, at: Any, count: Any) -> Any:
    """The offset, uint64, after `count` characters."""
    while count:
        at += U(1)
        while U(data[at]) & U(0xC0) == U(0x80):
            at += U(1)
        count -= U(1)
    return at


@inner
def _copy(data: Any, at: Any, end: Any, out: Any, o: Any) -> Any:
    """Copy `data[at:end]` to `out[o:]`, ASCII letters in lower case, and append `BORDER`.

    Returns:
        Offset in `out`, uint64, where the border begins.
    """
    stop = o + (end - at)
    while o < stop:
        x = load_bytes(data, at)
        x |= letters(x) >> U(2)
        for k in range(8):
            out[o + U(k)] = (x >> U(8 * k)) & U(0xFF)
        at += U(8)
        o += U(8)
    o = stop
    for i in range(len(_BORDER)):
        out[o + U(i)] = _BORDER[i]
    return o


@inner
def _fold(lower: Any, out: Any, at: Any, end: Any) -> None:
    """Change the characters of two bytes in `out[at:end]` to lower case."""
    while at < end:
        first = U(out[at])
        if first >= U(0xC0) and first < U(0xE0):
            code = U(lower[(first & U(0x1F)) << U(6) | U(out[at + U(1)]) & U(0x3F)])
            out[at] = U(0xC0) | code >> U(6)
            out[at + U(1)] = U(0x80) | code & U(0x3F)
        at += U(1)


@entry
def _normalise(data: Any, places: Any, lower: Any, out: Any, texts: Any) -> Any:
    """Write n normalised prompts, with borders and padding.

    Args:
        places: `(n, 2) int64`, byte offsets in `data` where each one begins and ends.
        texts: `(3, n) int64`, the result: `starts`, `ends` and `lengths` of `Texts`.

    Returns:
        Bytes written, uint64.
    """
    o, border, quarter = U(0), U(len(BORDER)), U(_QUARTER)
    for i in range(len(places)):
        at, end = U(places[i, 0]), U(places[i, 1])
        count = _count_characters(data, at, end)
        texts[0, i], texts[2, i] = o, count
        if count > U(LIMIT):
            middle = _skip(data, at, (count - quarter) // U(2))
            o = border + _copy(data, at, _skip(data, at, U(2) * quarter), out, o)
            after = _skip(data, middle, quarter)
            o = border + _copy(data, middle, after, out, o)
            at = _skip(data, after, count - (count - quarter) // U(2) - U(2) * quarter)
        o = _copy(data, at, end, out, o)
        if count < end - U(places[i, 0]):
            _fold(lower, out, U(texts[0, i]), o)
        texts[1, i] = o
        o += border
    for i in range(len(PADDING)):
        out[o + U(i)] = 0
    return o + U(len(PADDING))

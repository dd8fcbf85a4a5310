"""Prompts side by side in one buffer, the shape in which compiled code reads them.

Of a prompt longer than `LIMIT` characters its beginning, its middle and its end are read (half, a
quarter and a quarter of the limit): whoever wraps a document in an instruction puts it before or
after, and a work list shows in either.

All is read in lower case. Case tells a person from a list a little, and costs whoever is told by
it a single call to undo; so nobody is. Letters change that keep their place in UTF-8 and take two
bytes at the most: those of Latin, Greek and Cyrillic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import HIGH, ONES, U, count_ones, entry, jit, letters, load
from monitor.kernels.buffers import PADDING, Prompts, encoded
from monitor.prompts.characters import characters

LIMIT = 2048  # characters of a prompt that are read
BORDER = b"\n.\n"  # between two prompts, and in a cut; no word and no phrase reaches across it

_BORDER = tuple(BORDER)
_QUARTER = LIMIT // 4
_LARGEST = 4 * LIMIT + 2 * len(BORDER)  # bytes of a prompt as it is read


class Texts(NamedTuple):
    """n prompts in lower case as UTF-8. Those that are absent are empty.

    Attributes:
        data: all of them, `BORDER` after each, and `PADDING`.
        starts: `(n,) int64`, where in `data` each one begins.
        ends: `(n,) int64`, and where it ends.
        lengths: `(n,) int64`, characters of each whole prompt.
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def join(prompts: Sequence[str | None]) -> Texts:
    """Put prompts side by side.

    >>> texts = join(["Hi", None, "Grüezi"])
    >>> texts.data[texts.starts[2] : texts.ends[2]].decode(), texts.lengths.tolist()
    ('grüezi', [2, 0, 6])
    """
    return lay(encoded(prompts))


def lay(prompts: Prompts) -> Texts:
    """Prompts as they are read, in their order."""
    n = len(prompts.places)
    sizes = prompts.places[:, 1] - prompts.places[:, 0]
    room = int(np.minimum(sizes, _LARGEST).sum()) + int((sizes > LIMIT).sum()) * _LARGEST
    out = np.empty(room + n * len(BORDER) + len(PADDING), np.uint8)
    texts = np.empty((3, n), np.int64)
    size = _lay(prompts.data, prompts.places, characters().lower, out, texts)
    return Texts(out[:size].tobytes(), *texts)


@jit
def _characters(data: Any, at: Any, end: Any) -> Any:
    """How many characters UTF-8 has: its bytes, but for those that continue one."""
    count = end - at
    while at + U(8) <= end:
        x = load(data, at)
        if x & HIGH:
            count -= count_ones((x >> U(7)) & ~(x >> U(6)) & ONES)
        at += U(8)
    while at < end:
        count -= U(U(data[at]) & U(0xC0) == U(0x80))
        at += U(1)
    return count


@jit
def _after(data: Any, at: Any, count: Any) -> Any:
    """Where so many characters end."""
    while count:
        at += U(1)
        while U(data[at]) & U(0xC0) == U(0x80):
            at += U(1)
        count -= U(1)
    return at


@jit
def _copy(data: Any, at: Any, end: Any, out: Any, o: Any) -> Any:
    """Copy bytes, eight at a time, those of ASCII in lower case, and a border behind them; where
    the border begins."""
    stop = o + (end - at)
    while o < stop:
        x = load(data, at)
        x |= letters(x) >> U(2)
        for k in range(8):
            out[o + U(k)] = (x >> U(8 * k)) & U(0xFF)
        at += U(8)
        o += U(8)
    o = stop
    for i in range(len(_BORDER)):
        out[o + U(i)] = _BORDER[i]
    return o


@jit
def _fold(lower: Any, out: Any, at: Any, end: Any) -> None:
    """Put characters of two bytes into lower case, where they are."""
    while at < end:
        first = U(out[at])
        if first >= U(0xC0) and first < U(0xE0):
            code = U(lower[(first & U(0x1F)) << U(6) | U(out[at + U(1)]) & U(0x3F)])
            out[at] = U(0xC0) | code >> U(6)
            out[at + U(1)] = U(0x80) | code & U(0x3F)
        at += U(1)


@entry
def _lay(data: Any, places: Any, lower: Any, out: Any, texts: Any) -> Any:
    """Copy n prompts or what is read of them, borders and padding; how many bytes that makes."""
    o, border, quarter = U(0), U(len(BORDER)), U(_QUARTER)
    for i in range(len(places)):
        at, end = U(places[i, 0]), U(places[i, 1])
        count = _characters(data, at, end)
        texts[0, i], texts[2, i] = o, count
        if count > U(LIMIT):
            middle = _after(data, at, (count - quarter) // U(2))
            o = border + _copy(data, at, _after(data, at, U(2) * quarter), out, o)
            after = _after(data, middle, quarter)
            o = border + _copy(data, middle, after, out, o)
            at = _after(data, after, count - (count - quarter) // U(2) - U(2) * quarter)
        o = _copy(data, at, end, out, o)
        if count < end - U(places[i, 0]):
            _fold(lower, out, U(texts[0, i]), o)
        texts[1, i] = o
        o += border
    for i in range(len(PADDING)):
        out[o + U(i)] = 0
    return o + U(len(PADDING))

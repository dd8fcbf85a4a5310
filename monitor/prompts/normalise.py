"""Normalisation: prompts as plain words in lower case, side by side in one buffer.

What hides words is removed first: look-alike and invisible characters, and encodings (`cleaning/`).

Of a prompt longer than `LIMIT` characters only windows are kept (`windows.py`): features describe
those. Phrases are searched for in more of it, up to `SEARCHED` characters, which follow the windows
in the buffer.

Case is ignored. It separates users from prompt lists a little, but an attacker can easily change
it. Letters of up to two bytes in UTF-8 are folded (Latin, Greek and Cyrillic), if their lower case
has as many bytes.

In all kernels here `data` is `(size,) uint8`, whole prompts as UTF-8, and `out` is `(size,) uint8`,
the normalised ones; `at`, `end` and `o` are uint64 offsets, `o` in `out`; `count` and `seed` are
uint64, the characters of a prompt and its keyed hash; `lower` is `(2048,) uint16`, the lower case
of each character.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.identity import derive
from monitor.kernels.bits import U, entry, inner, letters, load_bytes
from monitor.kernels.buffers import PADDING, Prompts
from monitor.prompts.characters import characters
from monitor.prompts.cleaning.clean import clean
from monitor.prompts.cleaning.inspection import base64_values, inspect
from monitor.prompts.cleaning.looks import looks
from monitor.prompts.cleaning.windows import LIMIT, WINDOWS, cut, window

SEARCHED = 16_384  # characters of a prompt that are searched for phrases
CLEANED = 8192  # characters that are cleaned of a prompt that needs it
BORDER = b"\n.\n"  # after each prompt and each window: no word or phrase extends across it

_BORDER = tuple(BORDER)
MAX_BYTES = 4 * LIMIT + WINDOWS * len(BORDER)  # of the windows of a prompt


class Texts(NamedTuple):
    """n normalised prompts as UTF-8. An absent prompt is empty.

    Attributes:
        data: the prompts, each followed by `BORDER`, then `PADDING`.
        starts: `(n,) int64`, byte offset where each prompt begins.
        ends: `(n,) int64`, byte offset where it ends, or where the windows of a long one end.
        stops: `(n,) int64`, byte offset where the text to search ends; after `ends` if the prompt
            is long, or if words around encoded ones are left out.
        lengths: `(n,) int64`, characters of each whole prompt.
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, prompts: Sequence[str | None]) -> Texts:
        """Normalise strings; windows of long ones do not depend on a secret.

        >>> texts = Texts.of(["Hi", None, "Grüezi"])
        >>> texts.data[texts.starts[2] : texts.ends[2]].decode(), texts.lengths.tolist()
        ('grüezi', [2, 0, 6])
        """
        return _without_secret()(Prompts.of(prompts))


class Normaliser:
    """Normalises prompts.

    Args:
        secret: up to 64 bytes, derived from the deployment's secret.

    Attributes:
        cleaned: prompts so far from which something was removed that hides words.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = np.frombuffer(derive(secret, "windows", 16), "<u8").astype(np.uint64)
        self.cleaned = 0

    def __call__(self, prompts: Prompts) -> Texts:
        """Normalise n prompts, in their order."""
        n = len(prompts.places)
        reasons, counts = np.empty(n, np.uint8), np.empty((2, n), np.uint64)
        classes, values = looks().classes, base64_values()
        data, places = prompts.data, prompts.places
        found = inspect(data, places, classes, values, self._key, LIMIT, reasons, counts)
        lengths = counts[0].astype(np.int64)
        rests = np.zeros((n, 2), np.int64)
        if found:
            data, places = self._clean(prompts, np.flatnonzero(reasons), counts, rests)
        sizes = places[:, 1] - places[:, 0]
        is_long = counts[0] > LIMIT
        searched = np.where(is_long, np.minimum(sizes, 4 * SEARCHED), 0) + rests[:, 1] - rests[:, 0]
        most = int(np.minimum(sizes, 4 * LIMIT).sum() + searched.sum())
        borders = n + (2 * WINDOWS + 1) * int(np.count_nonzero(searched))
        out = np.empty(most + borders * len(BORDER) + len(PADDING), np.uint8)
        texts = np.empty((3, n), np.int64)
        size = _normalise(data, places, rests, counts, characters().lower, out, texts)
        starts, ends, stops = texts
        return Texts(out[:size].tobytes(), starts, ends, stops, lengths)

    def _clean(
        self,
        prompts: Prompts,
        which: npt.NDArray[np.int64],
        counts: npt.NDArray[np.uint64],
        rests: npt.NDArray[np.int64],
    ) -> Prompts:
        """Clean the prompts at the indices `which`.

        Args:
            prompts: n prompts.
            which: `(m,) int64`.
            counts: see `inspect`; the numbers of characters are changed.
            rests: `(n, 2) int64`, the result: byte offsets of words around encoded ones.

        Returns:
            The n prompts.
        """
        cleaned, places = [prompts.data.tobytes()], prompts.places.copy()
        end = len(prompts.data)
        for i in which.tolist():
            begin, stop = prompts.places[i].tolist()
            text = prompts.data[begin:stop].tobytes().decode("utf-8", "replace")
            text, rest = clean(cut(text, CLEANED, int(counts[1, i]), BORDER.decode()))
            counts[0, i] = len(text)
            for part, where in ((text.encode(), places), (rest.encode(), rests)):
                where[i] = end, end + len(part)
                cleaned.append(part)
                end += len(part)
        self.cleaned += len(which)
        return Prompts(np.frombuffer(b"".join([*cleaned, PADDING]), np.uint8), places)


@lru_cache(1)
def _without_secret() -> Normaliser:
    return Normaliser(b"")


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


@inner
def _copy_windows(
    data: Any, at: Any, end: Any, count: Any, seed: Any, limit: Any, out: Any, o: Any
) -> Any:
    """Copy a prompt, or the windows of one with more than `limit` characters.

    Returns:
        Offset in `out`, uint64, where the border after it begins.
    """
    if count <= limit:
        return _copy(data, at, end, out, o)
    border, before = U(len(_BORDER)), U(0)
    for i in range(WINDOWS):
        begin, stop = window(i, count, limit, seed)
        at = _skip(data, at, begin - before)
        after = _skip(data, at, stop - begin)
        o = _copy(data, at, after, out, o) + border
        at, before = after, stop
    return o - border


@entry
def _normalise(
    data: Any, places: Any, rests: Any, counts: Any, lower: Any, out: Any, texts: Any
) -> Any:
    """Write n normalised prompts, with borders and padding.

    Args:
        places: `(n, 2) int64`, byte offsets in `data` where each one begins and ends.
        rests: `(n, 2) int64`, byte offsets of text to search that is not judged.
        counts: `(2, n) uint64`, see `inspect`.
        texts: `(3, n) int64`, the result: `starts`, `ends` and `stops` of `Texts`.

    Returns:
        Bytes written, uint64.
    """
    o, border = U(0), U(len(_BORDER))
    for i in range(len(places)):
        at, end = U(places[i, 0]), U(places[i, 1])
        count, seed = counts[0, i], counts[1, i]
        texts[0, i] = o
        o = _copy_windows(data, at, end, count, seed, U(LIMIT), out, o)
        texts[1, i] = o
        if count > U(LIMIT):
            o = _copy_windows(data, at, end, count, seed, U(SEARCHED), out, o + border)
        if rests[i, 1] > rests[i, 0]:
            o = _copy(data, U(rests[i, 0]), U(rests[i, 1]), out, o + border)
        if count < end - at or rests[i, 1] > rests[i, 0]:
            _fold(lower, out, U(texts[0, i]), o)
        texts[2, i] = o
        o += border
    for i in range(len(PADDING)):
        out[o + U(i)] = 0
    return o + U(len(PADDING))

"""Windows: the places of a long text that are read.

The beginning and the end are always read: instructions stand there. The rest of the limit is
spread over the text, one window at a random place of each of four equal parts. The places depend on
a hash of the text that is keyed with the secret: the same text gives the same windows, and nobody
without the secret can put words where they are not read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, entry, inner, mix

LIMIT = 4096  # characters of a prompt that features describe
WINDOWS = 6


@inner
def window(index: int, count: Any, limit: Any, seed: Any) -> tuple[Any, Any]:
    """The characters of a window, as the first one and the one after the last, both uint64.

    The windows of a text follow each other and do not overlap.

    Args:
        index: 0 to WINDOWS - 1.
        count: characters of the text, uint64, more than `limit`.
        limit: characters to read, uint64, a multiple of 8.
        seed: keyed hash of the text, uint64.
    """
    edge, size = limit // U(4), limit // U(8)
    if index == 0:
        return U(0), edge
    if index == WINDOWS - 1:
        return count - edge, count
    inside, parts = count - U(2) * edge, U(WINDOWS - 2)
    begin = edge + inside * U(index - 1) // parts
    free = edge + inside * U(index) // parts - begin - size
    random = mix(seed + U(index)) >> U(32)
    begin += (random * (free + U(1))) >> U(32)
    return begin, begin + size


@entry
def _windows(count: Any, limit: Any, seed: Any, found: Any) -> None:
    """Write all windows to `found`, `(WINDOWS, 2) uint64`."""
    for i in range(WINDOWS):
        found[i, 0], found[i, 1] = window(i, U(count), U(limit), U(seed))


def cut(text: str, limit: int, seed: int, border: str) -> str:
    """The windows of a text with a border between them; the text itself if it is not longer."""
    if len(text) <= limit:
        return text
    found: npt.NDArray[np.uint64] = np.empty((WINDOWS, 2), np.uint64)
    _windows(np.uint64(len(text)), np.uint64(limit), np.uint64(seed), found)
    return border.join(text[begin:end] for begin, end in found.tolist())

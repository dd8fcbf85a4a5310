"""Repeats: results for texts that came lately, so that equal texts are processed once.

Scheduled jobs, retries and evaluations send the same prompt again. A text is recognised by a keyed
hash, so nobody without the secret can make two texts share their results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, entry
from monitor.kernels.buffers import Prompts
from monitor.kernels.siphash import siphash

Arrays = Sequence[npt.NDArray[Any]]
Process = Callable[[Prompts], Arrays]  # n texts to arrays of n rows; a row depends on its text only

_SLOTS = 1 << 14


class Repeats:
    """Remembers the results for one text per slot.

    Args:
        process: gives the results of texts.
        key: 16 bytes, of the hash.
        slots: a power of two; the results do not depend on it.

    Attributes:
        processed: texts so far that had to be processed.

    >>> sizes = Repeats(lambda texts: [texts.sizes], bytes(16))
    >>> [size.tolist() for size in sizes(Prompts.of(["one", "three", "one"]))], sizes.processed
    ([[3, 5, 3]], 2)
    """

    def __init__(self, process: Process, key: bytes, *, slots: int = _SLOTS) -> None:
        self._process = process
        self._key = np.frombuffer(key, "<u8").astype(np.uint64)
        self._hashes = np.zeros(slots, np.uint64)  # of the text of each slot; 0 if it is free
        self._sources = np.arange(slots)  # see `_find`
        self._memory = [
            np.empty((slots, *each.shape[1:]), each.dtype) for each in process(Prompts.of([]))
        ]
        self.processed = 0

    def __call__(self, texts: Prompts) -> Arrays:
        """The results for n texts, arrays of n rows."""
        n = len(texts.places)
        sources, new = np.empty(n, np.int64), np.empty((2, n), np.int64)
        try:
            count = _find(
                texts.data, texts.places, self._key, self._hashes, self._sources, sources, new
            )
            which, slots = new[:, :count]
            found = self._process(Prompts(texts.data, texts.places[which]))
        except BaseException:
            self._hashes[:] = 0
            raise
        self.processed += count
        results = [np.empty((n, *each.shape[1:]), each.dtype) for each in found]
        memory = _as_bytes(self._memory)
        _settle(self._sources, slots)
        _copy(memory, _as_bytes(found), _as_bytes(results), sources, slots)
        return results


def _as_bytes(arrays: Arrays) -> tuple[npt.NDArray[np.uint8], ...]:
    """The rows of each array as bytes, `(n, size) uint8`, in the same memory."""
    sizes = [each.itemsize * math.prod(each.shape[1:]) for each in arrays]
    return tuple(
        each.view(np.uint8).reshape(len(each), size)
        for each, size in zip(arrays, sizes, strict=True)
    )


@entry
def _find(data: Any, places: Any, key: Any, hashes: Any, table: Any, sources: Any, new: Any) -> int:
    """Find n texts in the table, and give each new text a slot.

    A source is the slot that remembers a text, or -1 - k for the k-th new text.

    Args:
        data: `(size,) uint8`; `places`: `(n, 2) int64`, see `Prompts`.
        key: `(2,) uint64`.
        hashes, table: `(slots,) uint64` and `int64`, hash and source of the text of each slot.
        sources: `(n,) int64`, the result: source of each text.
        new: `(2, n) int64`, the result: index and slot of each new text.

    Returns:
        The number of new texts.
    """
    count = 0
    for i in range(len(places)):
        hashed = siphash(data, U(places[i, 0]), U(places[i, 1]), key[0], key[1]) | U(1)
        slot = (hashed >> U(32)) & U(len(hashes) - 1)
        if hashes[slot] != hashed:
            hashes[slot], table[slot] = hashed, -1 - count
            new[0, count], new[1, count] = i, slot
            count += 1
        sources[i] = table[slot]
    return count


@entry
def _settle(table: Any, slots: Any) -> None:
    """Make slots the sources of the new texts that still have them.

    Args:
        table: see `_find`.
        slots: `(m,) int64`, slot of each new text; -1, the result, if a later one took it.
    """
    for k in range(len(slots)):
        if table[slots[k]] == -1 - k:
            table[slots[k]] = slots[k]
        else:
            slots[k] = -1


@entry
def _copy(memory: Any, found: Any, results: Any, sources: Any, slots: Any) -> None:
    """Copy the results of n texts from where they are, then remember those of the m new ones.

    Args:
        memory, found, results: arrays of bytes, with a row per slot, new text and text.
        sources: `(n,) int64`, see `_find`; `slots`: `(m,) int64`, see `_settle`.
    """
    for a in range(len(memory)):
        kept, fresh, out = memory[a], found[a], results[a]
        width = U(kept.shape[1])
        for i in range(U(len(sources))):
            source = sources[i]
            row = kept[source] if source >= 0 else fresh[-1 - source]
            for j in range(width):
                out[i, j] = row[j]
        for k in range(U(len(slots))):
            if slots[k] >= 0:
                slot = U(slots[k])
                for j in range(width):
                    kept[slot, j] = fresh[k, j]

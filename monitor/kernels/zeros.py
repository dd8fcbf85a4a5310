"""Arrays of words without the words that are zero: the form in which records are stored.

Most words of a record are zero until its key has sent many requests of many kinds. A value is

    mark, number of words      two uint16
    one bit per word           uint32 for every 32 words; set if the word is not zero
    the words that are not     uint32 each

>>> table = np.array([[7, 0, 0], [0, 0, 9]], np.uint32)
>>> data, ends = compact(table, np.array([1]))
>>> ends.tolist(), expand([data.tobytes()], width=3).tolist()
([12], [[0, 0, 9]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

Words = npt.NDArray[np.uint32]

MARK = b"\xff\xff"  # at the start of each value; where a record not in this form has its version
_BITS = 32  # per word


def compact(
    table: Words, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The values of some rows of a table, `(n, width) uint32`.

    Args:
        rows: `(k,) int64`.

    Returns:
        the values one after another, and the byte offset where each ends, `(k,) int64`.
    """
    width = table.shape[1]
    data = np.empty(len(rows) * (_head(width) + width) + 1, np.uint32)
    ends = np.empty(len(rows), np.int64)
    size = _compact(table, rows, int.from_bytes(MARK, "little"), data, ends)
    return data[:size].view(np.uint8), ends * data.itemsize


def width_of(value: bytes) -> int | None:
    """The number of words of a value; `None` if it is not in this form."""
    return int.from_bytes(value[2:4], "little") if value[:2] == MARK else None


def expand(values: Sequence[bytes], width: int) -> Words:
    """The words of values with `width` words each, `(n, width) uint32`.

    Raises:
        ValueError: if one of them is damaged.
    """
    sizes = np.array([len(value) for value in values], np.int64)
    words = np.empty((len(values), width), np.uint32)
    if (sizes % words.itemsize).any():
        raise ValueError("its length is not one of whole words")
    data = np.frombuffer(b"".join(values), np.uint32)
    if not _expand(data, np.cumsum(sizes) // words.itemsize, words):
        raise ValueError("its words do not match its bits")
    return words


def expanded(value: bytes) -> bytes:
    """The bytes of the words of a value. A value in another form stays as it is; of a damaged one
    nothing remains."""
    width = width_of(value)
    try:
        return value if width is None else expand([value], width).tobytes()
    except ValueError:
        return b""


def _head(width: int) -> int:
    """The words of a value before those of the array."""
    return 1 + -(-width // _BITS)


@jit
def _compact(table: Any, rows: Any, mark: int, data: Any, ends: Any) -> int:
    """Write the values of some rows.

    Args:
        table: `(n, width) uint32`.
        rows: `(k,) int64`.
        mark: MARK as a number.
        data: uint32, output; one word longer than the values can be.
        ends: `(k,) int64`, output, in words.

    Returns:
        the size of the values in words.
    """
    width = table.shape[1]
    at = 0
    for i in range(len(rows)):
        words = table[rows[i]]
        data[at] = np.uint32(mark | width << 16)
        at += 1
        bits_at = at
        at += (width + _BITS - 1) // _BITS
        for first in range(0, width, _BITS):
            bits = np.uint32(0)
            for j in range(min(_BITS, width - first)):
                word = words[first + j]
                data[at] = word  # the next word overwrites it if it is zero
                present = np.uint32(word != 0)
                at += present
                bits |= present << np.uint32(j)
            data[bits_at] = bits
            bits_at += 1
        ends[i] = at
    return at


@jit
def _expand(data: Any, ends: Any, table: Any) -> bool:
    """Write the words of all values; False if one of them is damaged.

    Args:
        data: uint32, the values.
        ends: `(n,) int64`, in words.
        table: `(n, width) uint32`, output.
    """
    width = table.shape[1]
    start = 0
    for i in range(len(ends)):
        bits_at = start + 1
        at = bits_at + (width + _BITS - 1) // _BITS
        for first in range(0, width, _BITS):
            if bits_at >= ends[i]:
                return False
            bits = data[bits_at]
            bits_at += 1
            for j in range(min(_BITS, width - first)):
                present = bits >> np.uint32(j) & np.uint32(1)
                if present and at >= ends[i]:
                    return False
                table[i, first + j] = data[at] if present else np.uint32(0)
                at += present
        if at != ends[i]:
            return False
        start = ends[i]
    return True

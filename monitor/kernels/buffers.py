"""Messages side by side in one run of bytes, as a fetch brings them and compiled code reads them.

>>> messages = Messages.of([b"ab", None, b"c"])
>>> messages[1:].starts.tolist(), list(messages)
([2, 2], [b'ab', None, b'c'])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


class Messages(Sequence[bytes | None]):
    """The values of n messages, `None` for one without. A slice shares the bytes of the whole.

    Args:
        data: the values in any order, and at least `PADDING` after them.
        starts: `(n,) int64`, where each value begins.
        ends: `(n,) int64`, and where it ends: before its beginning where there is none.
    """

    __slots__ = ("data", "ends", "starts")

    def __init__(self, data: bytes, starts: Integers, ends: Integers) -> None:
        self.data = data
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Messages:
        """The same of values that lie apart."""
        if isinstance(values, Messages):
            return values
        sizes = np.array([0 if value is None else len(value) for value in values], np.int64)
        missing = np.array([value is None for value in values], np.int64)
        ends = np.cumsum(sizes)
        return cls(b"".join([*filter(None, values), PADDING]), ends - sizes, ends - missing)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, which: int) -> bytes | None: ...
    @overload
    def __getitem__(self, which: slice) -> Messages: ...
    def __getitem__(self, which: int | slice) -> bytes | Messages | None:
        if isinstance(which, slice):
            return Messages(self.data, self.starts[which], self.ends[which])
        start, end = int(self.starts[which]), int(self.ends[which])
        return self.data[start:end] if end >= start else None

    def __repr__(self) -> str:
        return f"<{len(self)} messages>"


PADDING = b"\0" * 16  # after the last one, so that eight bytes can be read anywhere


class Prompts(NamedTuple):
    """n whole prompts as valid UTF-8, wherever they lie.

    Attributes:
        data: `(size,) uint8`, the prompts in any order, and `PADDING`.
        places: `(n, 2) int64`, where in `data` each one begins and ends.
    """

    data: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]

    def only(self, which: npt.NDArray[np.bool_]) -> Prompts:
        """The same without all but some."""
        return Prompts(self.data, np.where(which[:, None], self.places, 0))


def encoded(prompts: Sequence[str | None]) -> Prompts:
    """Prompts as bytes."""
    present = [prompt or "" for prompt in prompts]
    try:
        parts = list(map(str.encode, present))
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry and UTF-8 cannot
        parts = [prompt.encode("utf-8", "replace") for prompt in present]
    edges = np.cumsum([0, *map(len, parts)])
    data = np.frombuffer(bytearray().join([*parts, PADDING]), np.uint8)
    return Prompts(data, np.stack([edges[:-1], edges[1:]], axis=1))

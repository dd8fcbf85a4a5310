"""Messages side by side in one run of bytes, as a fetch brings them and compiled code reads them.

>>> messages = Messages.of([b"ab", None, b"c"])
>>> messages[1:].starts.tolist(), list(messages)
([2, 2], [b'ab', None, b'c'])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from monitor.features.texts import PADDING

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

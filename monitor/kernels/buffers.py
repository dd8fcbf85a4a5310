"""Batches of messages and prompts, each in one byte buffer that compiled code reads.

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

PADDING = b"\0" * 16  # after the last text, so that eight bytes can be read at any offset


class Messages(Sequence[bytes | None]):
    """The values of n messages. A slice shares the buffer.

    Args:
        data: the values in any order, followed by `PADDING`.
        starts: `(n,) int64`, byte offset where each value begins.
        ends: `(n,) int64`, byte offset where it ends; less than its start if there is no value.
    """

    __slots__ = ("data", "ends", "starts")

    def __init__(self, data: bytes, starts: Integers, ends: Integers) -> None:
        self.data = data
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Messages:
        """Messages with these values; `None` is a message without a value."""
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


class Prompts(NamedTuple):
    """n whole prompts as valid UTF-8.

    Attributes:
        data: `(size,) uint8`, the prompts in any order, followed by `PADDING`.
        places: `(n, 2) int64`, byte offsets where each prompt begins and ends.
    """

    data: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]

    @property
    def sizes(self) -> Integers:
        """Bytes of each prompt, `(n,) int64`."""
        return self.places[:, 1] - self.places[:, 0]

    def take(self, which: npt.NDArray[np.bool_]) -> Prompts:
        """The prompts where `which`, `(n,) bool`, is true. They share the buffer."""
        return Prompts(self.data, self.places[which])

    @classmethod
    def of(cls, prompts: Sequence[str | None]) -> Prompts:
        """Prompts with these texts; `None` is an empty prompt."""
        texts = [prompt or "" for prompt in prompts]
        try:
            parts = list(map(str.encode, texts))
        except UnicodeEncodeError:  # a lone surrogate, which JSON can carry and UTF-8 cannot
            parts = [text.encode("utf-8", "replace") for text in texts]
        edges = np.cumsum([0, *map(len, parts)])
        data = np.frombuffer(bytearray().join([*parts, PADDING]), np.uint8)
        return cls(data, np.stack([edges[:-1], edges[1:]], axis=1))

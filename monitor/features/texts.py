"""Prompts side by side in one buffer, the shape in which compiled code reads them.

Of a prompt longer than `LIMIT` characters its beginning, its middle and its end are read (half, a
quarter and a quarter of the limit): whoever wraps a document in an instruction puts it before or
after, and a work list shows in either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LIMIT = 2048  # characters of a prompt that are read
BORDER = b"\n.\n"  # between two prompts; no word and no phrase reaches across it
PADDING = b"\0" * 16  # after the last one, so that eight bytes can be read anywhere

_QUARTER = LIMIT // 4
_CUT = "\n.\n"


class Texts(NamedTuple):
    """n prompts as UTF-8. Those that are absent are empty.

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
    ('Grüezi', [2, 0, 6])
    """
    present = [prompt or "" for prompt in prompts]
    count = len(present)
    lengths = np.fromiter(map(len, present), np.int64, count)
    for i in np.flatnonzero(lengths > LIMIT).tolist():
        present[i] = _sampled(present[i])
    try:
        encoded = list(map(str.encode, present))
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry and UTF-8 cannot
        encoded = [prompt.encode("utf-8", "replace") for prompt in present]
    sizes = np.fromiter(map(len, encoded), np.int64, count)
    ends = np.cumsum(sizes + len(BORDER)) - len(BORDER)
    return Texts(BORDER.join([*encoded, PADDING]), ends - sizes, ends, lengths)


def _sampled(prompt: str) -> str:
    middle = (len(prompt) - _QUARTER) // 2
    parts = prompt[: 2 * _QUARTER], prompt[middle : middle + _QUARTER], prompt[-_QUARTER:]
    return _CUT.join(parts)

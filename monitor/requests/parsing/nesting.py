"""Nesting: JSON with everything deeper than a limit replaced by null, without recursion.

A client can nest a value so deeply that no recursive parser reads the request it belongs to. The
kernel is compiled, so that megabytes of brackets cost milliseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit

MAX_DEPTH = 100  # levels of objects and arrays; anything deeper is read as null

_NULL = np.frombuffer(b"null", np.uint8)
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_OPENING, _CLOSING = (tuple(map(ord, marks)) for marks in ("[{", "]}"))


def shallow(raw: bytes) -> bytes:
    """JSON without what is deeper than `MAX_DEPTH`."""
    out = np.empty(2 * len(raw) + len(_NULL), np.uint8)  # the shortest container has two bytes
    size = _copy_shallow(np.frombuffer(raw, np.uint8), out)
    return out[:size].tobytes()


@jit
def _copy_shallow(data: Any, out: Any) -> int:
    """Copy `data`, `(size,) uint8`, to `out`; return the number of bytes written."""
    depth, written, in_string, escaped = 0, 0, False, False
    for byte in data:
        if in_string:
            in_string = escaped or byte != _QUOTE
            escaped = not escaped and byte == _BACKSLASH
        elif byte == _QUOTE:
            in_string = True
        elif byte == _OPENING[0] or byte == _OPENING[1]:
            depth += 1
            if depth == MAX_DEPTH + 1:
                out[written : written + len(_NULL)] = _NULL
                written += len(_NULL)
        elif byte == _CLOSING[0] or byte == _CLOSING[1]:
            depth -= 1
            if depth == MAX_DEPTH:
                continue
        if depth <= MAX_DEPTH:
            out[written] = byte
            written += 1
    return written

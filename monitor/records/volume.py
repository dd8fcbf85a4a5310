"""Volume: requests and tokens in the ring buffers of a record, and their levels over SCALES."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit
from monitor.records.profile import (
    LONG,
    MAX_IN_PANE,
    MIDDLE,
    OWN,
    REQUESTS,
    SHORT,
    TOKENS,
    Records,
)

_SHORT_WIDTH, _SHORT_PANES = SHORT
_MIDDLE_WIDTH, _MIDDLE_PANES = MIDDLE
_LONG_WIDTH, _LONG_PANES = LONG
_MINUTE_PANES = 60 // _SHORT_WIDTH
_REQUESTS_1M, _REQUESTS_5M, _REQUESTS_1H, _REQUESTS_24H = range(REQUESTS.start, REQUESTS.stop)
_TOKENS_1M, _TOKENS_5M, _TOKENS_1H, _TOKENS_24H = range(TOKENS.start, TOKENS.stop)


@jit
def add_to_panes(r: Any, t: float, sent: float, requests: int, tokens: float) -> None:
    """Count a request. A late one counts where the pane of its own time still exists.

    Args:
        r: RECORD, updated in place.
        t: event time, epoch seconds.
        sent: the request's own time, epoch seconds.
        requests: 1, or 0 for another record of a request that is counted.
        tokens: of the request.
    """
    short_requests, short_tokens = r["short_requests"], r["short_tokens"]
    middle_requests, middle_tokens = r["middle_requests"], r["middle_tokens"]
    long_requests, long_tokens = r["long_requests"], r["long_tokens"]
    r["short_head"] = _advance(
        r["short_head"], int(t // _SHORT_WIDTH), short_requests, short_tokens
    )
    r["middle_head"] = _advance(
        r["middle_head"], int(t // _MIDDLE_WIDTH), middle_requests, middle_tokens
    )
    r["long_head"] = _advance(r["long_head"], int(t // _LONG_WIDTH), long_requests, long_tokens)
    short, middle = int(sent // _SHORT_WIDTH), int(sent // _MIDDLE_WIDTH)
    long = int(sent // _LONG_WIDTH)
    if short > r["short_head"] - _SHORT_PANES:
        slot = short % _SHORT_PANES
        short_requests[slot] = min(short_requests[slot] + requests, MAX_IN_PANE)
        short_tokens[slot] += tokens
    if middle > r["middle_head"] - _MIDDLE_PANES:
        slot = middle % _MIDDLE_PANES
        middle_requests[slot] = min(middle_requests[slot] + requests, MAX_IN_PANE)
        middle_tokens[slot] += tokens
    if long > r["long_head"] - _LONG_PANES:
        long_requests[long % _LONG_PANES] += requests
        long_tokens[long % _LONG_PANES] += tokens


@jit
def _advance(head: int, pane: int, requests: Any, tokens: Any) -> int:
    """Move a ring buffer's head to `pane` if that is newer, and clear the panes in between.

    Args:
        requests, tokens: `(panes,)`, updated in place.

    Returns:
        The head.
    """
    if pane <= head:
        return head
    panes = len(requests)
    for p in range(max(head + 1, pane - panes + 1), pane + 1):
        requests[p % panes] = 0
        tokens[p % panes] = 0
    return pane


@jit
def update_levels(r: Any, levels: Any) -> float:
    """Compute the levels of requests and tokens over SCALES.

    Args:
        r: RECORD.
        levels: `(LEVELS,) float64`, updated in place.

    Returns:
        Requests in the last hour.
    """
    for i in range(OWN):
        levels[i] = 0.0
    for p in range(_SHORT_PANES):
        slot = (r["short_head"] - p) % _SHORT_PANES
        if p < _MINUTE_PANES:
            levels[_REQUESTS_1M] += r["short_requests"][slot]
            levels[_TOKENS_1M] += r["short_tokens"][slot]
        levels[_REQUESTS_5M] += r["short_requests"][slot]
        levels[_TOKENS_5M] += r["short_tokens"][slot]
    for p in range(_MIDDLE_PANES):
        levels[_REQUESTS_1H] += r["middle_requests"][p]
        levels[_TOKENS_1H] += r["middle_tokens"][p]
    for p in range(_LONG_PANES):
        levels[_REQUESTS_24H] += r["long_requests"][p]
        levels[_TOKENS_24H] += r["long_tokens"][p]
    last_hour = levels[_REQUESTS_1H]
    for i in range(OWN):
        levels[i] = np.log2(1.0 + levels[i])
    return float(last_hour)


def last_hour(records: Records, now: float) -> npt.NDArray[np.float64]:
    """Requests and tokens in the hour before event time `now`, `(2, len(records)) float64`."""
    panes = records["middle_head"].astype(np.int64)[:, None] - np.arange(_MIDDLE_PANES)
    recent = panes > now // _MIDDLE_WIDTH - _MIDDLE_PANES
    sums = [
        np.where(recent, np.take_along_axis(records[name], panes % _MIDDLE_PANES, 1), 0).sum(axis=1)
        for name in ("middle_requests", "middle_tokens")
    ]
    return np.array(sums, np.float64)

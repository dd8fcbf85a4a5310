"""The kernel that carries a batch of requests into the records of their keys.

One pass in stream order. A record after it depends on the key's own requests and their order
alone, never on where batches begin or end: the same stream gives the same bytes live, in replay
and after a crash. For the same reason detectors do not look once a batch. They look when a key
has made enough further requests to tell something new, and see the record as it was then: the
kernel copies it aside.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from monitor.sketches.profile import (
    FARTHEST,
    HOUR,
    IDS,
    LEVELS,
    LONG,
    MIDDLE,
    RECORD,
    SHORT,
)
from monitor.sketches.public import BINS, PER_LEVEL

FIRST_LOOK = 8  # requests of a key before anything is said of it
LOOK_EVERY = 4  # requests between two looks, at the least
LOOK_SHARE = 16  # and a sixteenth of the last hour's, so that a fast key costs no more

# The sequential test of elicitation: share of matching prompts of an ordinary key at the most,
# and the share under which a campaign could hide and still make sense.
ORDINARY_SHARE, ELICITING_SHARE = 0.05, 0.35
MATCH = float(np.log(ELICITING_SHARE / ORDINARY_SHARE))
MISS = float(np.log((1 - ELICITING_SHARE) / (1 - ORDINARY_SHARE)))
CAP = 40.0  # nats: what a key has shown beyond this would only take longer to forget

OWN_HOURS = 168.0  # active hours after which older ones fade

SHORT_WIDTH, SHORT_PANES = SHORT
MINUTE_PANES = 60 // SHORT_WIDTH
MIDDLE_WIDTH, MIDDLE_PANES = MIDDLE
LONG_WIDTH, LONG_PANES = LONG

# bits of an event's mark
HAS_PROMPT = 1
INTENT = 2  # the first intent's; the next one's is twice that


@numba.njit(cache=True, nogil=True)
def _turn(head: int, pane: int, requests: Any, tokens: Any) -> int:
    """Clear the panes between `head` and `pane`; the newer of the two is the new head."""
    if pane <= head:
        return head
    panes = len(requests)
    for p in range(max(head + 1, pane - panes + 1), pane + 1):
        requests[p % panes] = 0
        tokens[p % panes] = 0
    return pane


@numba.njit(cache=True, nogil=True)
def _bin(level: float) -> int:
    return min(int(level * PER_LEVEL), BINS - 1)


@numba.njit(cache=True, nogil=True)
def _close_hour(own_hours: float, mean: Any, variance: Any, peak: Any, ceiling: Any) -> float:
    """Fold an hour's peaks into what is usual for the key; a peak counts up to `ceiling` only,
    or a key could make itself a past in which nothing is unusual."""
    weight = min(own_hours + 1.0, OWN_HOURS)
    for i in range(LEVELS):
        x = min(peak[i], ceiling[i])
        delta = x - mean[i]
        mean[i] += delta / weight
        variance[i] += (delta * (x - mean[i]) - variance[i]) / weight
        peak[i] = 0.0
    return weight


@numba.njit(cache=True, nogil=True)
def update(
    records: Any,
    rows: Any,
    ts: Any,
    tokens: Any,
    ids: Any,
    marks: Any,
    today: Any,
    day: int,
    ceiling: Any,
    looks: Any,
    look_at: Any,
) -> tuple[int, int]:
    """Observe n requests in stream order.

    Args:
        records: the table, `(capacity,) RECORD`, updated in place.
        rows: `(n,) int64`, which record each request belongs to.
        ts: `(n,) float64`, epoch seconds.
        tokens: `(n,) float64`, input and output tokens.
        ids: `(n,) uint64`, hashes of the request ids, 0 where there is none.
        marks: `(n,) uint8`, bits HAS_PROMPT and INTENT.
        today: `(LEVELS, BINS) float64`, keys by their peak of `day`, updated in place.
        day: the day of the partition's watermark, in days since the epoch.
        ceiling: `(LEVELS,) float64`, levels that hardly any ordinary key passes.
        looks: `(n,) RECORD`, takes the records that detectors should look at, as they were.
        look_at: `(n,) int64`, takes the request that brought each look about.

    Returns:
        how many looks there are, and how many requests were repeats of a recent id.
    """
    n_looks = 0
    n_repeated = 0
    now = np.empty(LEVELS, np.float64)
    for e in range(len(rows)):
        r = records[rows[e]]
        t = ts[e]
        ident = ids[e]
        if ident != 0:
            known = False
            for i in range(IDS):
                if r["ids"][i] == ident:
                    known = True
                    break
            if known:
                n_repeated += 1
                continue
            r["ids"][r["requests"] % IDS] = ident

        if r["requests"] == 0:
            r["first_seen"] = t
            r["day"] = -1
            r["hour"] = int(t // HOUR)
        r["requests"] += 1
        r["tokens"] += tokens[e]
        r["last_seen"] = max(r["last_seen"], t)

        # Panes. A late request counts where its pane is still there.
        short = int(t // SHORT_WIDTH)
        middle = int(t // MIDDLE_WIDTH)
        long = int(t // LONG_WIDTH)
        short_requests, short_tokens = r["short_requests"], r["short_tokens"]
        middle_requests, middle_tokens = r["middle_requests"], r["middle_tokens"]
        long_requests, long_tokens = r["long_requests"], r["long_tokens"]
        r["short_head"] = _turn(r["short_head"], short, short_requests, short_tokens)
        r["middle_head"] = _turn(r["middle_head"], middle, middle_requests, middle_tokens)
        r["long_head"] = _turn(r["long_head"], long, long_requests, long_tokens)
        if short > r["short_head"] - SHORT_PANES:
            short_requests[short % SHORT_PANES] += 1
            short_tokens[short % SHORT_PANES] += tokens[e]
        if middle > r["middle_head"] - MIDDLE_PANES:
            middle_requests[middle % MIDDLE_PANES] += 1
            middle_tokens[middle % MIDDLE_PANES] += tokens[e]
        if long > r["long_head"] - LONG_PANES:
            long_requests[long % LONG_PANES] += 1
            long_tokens[long % LONG_PANES] += tokens[e]

        # Levels of requests and tokens over the four scales.
        now[:] = 0.0
        for p in range(SHORT_PANES):
            slot = (r["short_head"] - p) % SHORT_PANES
            if p < MINUTE_PANES:
                now[0] += short_requests[slot]
                now[4] += short_tokens[slot]
            now[1] += short_requests[slot]
            now[5] += short_tokens[slot]
        for p in range(MIDDLE_PANES):
            now[2] += middle_requests[p]
            now[6] += middle_tokens[p]
        for p in range(LONG_PANES):
            now[3] += long_requests[p]
            now[7] += long_tokens[p]
        last_hour = now[2]
        for i in range(8):
            now[i] = np.log2(1.0 + now[i])

        # The sequential tests of elicitation: Page's cumulative sum of log-likelihood ratios.
        mark = marks[e]
        for i in range(2):
            now[8 + i] = r["level"][8 + i]
            if mark & HAS_PROMPT:
                if mark & (INTENT << i):
                    r["matches"][i] += 1
                    step = MATCH
                else:
                    step = MISS
                now[8 + i] = min(max(now[8 + i] + step / 2, 0.0), CAP / 2)
        if mark & HAS_PROMPT:
            r["prompts"] += 1

        # Peaks: of the hour for the key's own past, of the day for the public.
        hour = int(t // HOUR)
        if hour > r["hour"]:
            r["own_hours"] = _close_hour(
                r["own_hours"], r["own_mean"], r["own_variance"], r["hour_peak"], ceiling
            )
            r["hour"] = hour
        fresh = day > r["day"]
        if fresh:
            r["day"] = day
        for i in range(LEVELS):
            level = min(now[i], FARTHEST)
            r["level"][i] = level
            r["hour_peak"][i] = max(r["hour_peak"][i], level)
            if fresh:
                r["day_peak"][i] = level
                today[i, _bin(level)] += 1.0
            elif level > r["day_peak"][i]:
                today[i, _bin(r["day_peak"][i])] -= 1.0
                today[i, _bin(level)] += 1.0
                r["day_peak"][i] = level

        since = r["requests"] - r["looked"]
        if r["requests"] >= FIRST_LOOK and since >= max(LOOK_EVERY, last_hour / LOOK_SHARE):
            r["looked"] = r["requests"]
            looks[n_looks] = records[rows[e]]
            look_at[n_looks] = e
            n_looks += 1
    return n_looks, n_repeated


def warm() -> None:
    """Have the kernel compiled, or loaded if it was compiled before, ahead of the first batch."""
    none = np.zeros(0)
    records = np.zeros(0, RECORD)
    rows = none.astype(np.int64)
    ids, marks = none.astype(np.uint64), none.astype(np.uint8)
    today, ceiling = np.zeros((LEVELS, BINS)), np.zeros(LEVELS)
    update(records, rows, none, none, ids, marks, today, 0, ceiling, records, rows)

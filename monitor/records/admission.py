"""Admission: which requests are new, and which of their prompts are read.

A request id counts once per key. Work per key is bounded: of the prompts of five minutes the first
BUDGET are read, and of those beyond them the n-th with probability BUDGET / n, decided by a hash of
the request. A sample of a few hundred prompts shows as much as ten thousand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import mix
from monitor.kernels.jit import jit
from monitor.records.profile import IDS, MIDDLE

BUDGET = 64  # prompts per key in five minutes
_PANE_SECONDS = MIDDLE.width

# A request is ignored, counted without its prompt, or counted with its prompt.
REPEATED, UNREAD, READ = 0, 1, 2


@jit
def time_bits(ts: float) -> Any:
    """A time in epoch seconds as uint64 microseconds, to be hashed."""
    return np.uint64(np.int64(ts * 1e6))


@jit
def admit(records: Any, rows: Any, ts: Any, ids: Any, admitted: Any) -> None:
    """Decide which of n requests are new and which of their prompts are read.

    Args:
        records: `(capacity,) RECORD`, the table; only ids and budget are updated, in place.
        rows: `(n,) int64`, the record of each request.
        ts: `(n,) float64`, epoch seconds.
        ids: `(n,) uint32`, hashes of the request ids, 0 without one.
        admitted: `(n,) uint8`, receives REPEATED, UNREAD or READ.
    """
    for e in range(len(rows)):
        r = records[rows[e]]
        if ids[e] != 0:
            known = False
            for i in range(IDS):
                known |= r["ids"][i] == ids[e]
            if known:
                admitted[e] = REPEATED
                continue
            r["ids"][r["id_count"]] = ids[e]
            r["id_count"] = (r["id_count"] + 1) % IDS
        pane = int(ts[e] // _PANE_SECONDS)
        if pane > r["budget_pane"]:
            r["budget_pane"] = pane
            r["budget_used"] = 0
        r["budget_used"] += 1
        used = r["budget_used"]
        admitted[e] = READ
        if used > BUDGET:
            coin = mix(time_bits(ts[e]) ^ (np.uint64(used) << np.uint64(32)) ^ np.uint64(ids[e]))
            if float(coin >> np.uint64(11)) * 2.0**-53 * used >= BUDGET:
                admitted[e] = UNREAD

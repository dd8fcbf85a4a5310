"""Which requests are new, and which of their prompts are read.

A repeated id of a key counts once. And work is bounded a key, not a request: of the prompts of five
minutes all of the first BUDGET are read, of those beyond every n-th with probability BUDGET / n,
by a coin that is a hash of the request. Ten thousand tell no more than a few hundred.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import mix
from monitor.kernels.jit import jit
from monitor.records.profile import IDS, MIDDLE

BUDGET = 64  # prompts of a key in five minutes
WIDTH = MIDDLE.width

# what a request is found to be
REPEATED, COUNTED, READ = 0, 1, 2


@jit
def bits(ts: float) -> Any:
    return np.uint64(np.int64(ts * 1e6))


@jit
def admit(records: Any, rows: Any, ts: Any, ids: Any, found: Any) -> None:
    """Find out which of n requests are new and which of their prompts are to be read.

    Args:
        records: the table; only what tells repeats and the budget is updated.
        rows: `(n,) int64`, which record each request belongs to.
        ts: `(n,) float64`, epoch seconds.
        ids: `(n,) uint32`, hashes of the request ids, 0 without one.
        found: `(n,) uint8`, takes REPEATED, COUNTED or READ.
    """
    for e in range(len(rows)):
        r = records[rows[e]]
        if ids[e] != 0:
            known = False
            for i in range(IDS):
                known |= r["ids"][i] == ids[e]
            if known:
                found[e] = REPEATED
                continue
            r["ids"][r["id_count"] % IDS] = ids[e]
            r["id_count"] += 1
        pane = int(ts[e] // WIDTH)
        if pane > r["budget_pane"]:
            r["budget_pane"] = pane
            r["budget_used"] = 0
        r["budget_used"] += 1
        used = r["budget_used"]
        found[e] = READ
        if used > BUDGET:
            coin = mix(bits(ts[e]) ^ (np.uint64(used) << np.uint64(32)) ^ np.uint64(ids[e]))
            if float(coin >> np.uint64(11)) * 2.0**-53 * used >= BUDGET:
                found[e] = COUNTED

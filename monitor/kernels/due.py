"""Which findings have consequences: most only confirm that an alert goes on.

The kernel reads the state of alerts in the records, so that Python sees only the findings that open
or raise an alert, and those after which a decision may have to be made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from monitor.kernels.jit import jit


class Ladders(NamedTuple):
    """The decisions that alerts lead to, see `alerting/policy.py`. Actions are numbers, 0 for none.

    Attributes:
        actions: `(slots, severities, 2) int64`, the first action and the last one for the alert in
            each slot of a record and each severity, 0 for no alert.
        seconds: `(actions,) float64`, durations.
        step: seconds between two steps up.
    """

    actions: Any
    seconds: Any
    step: float


@jit
def next_due(
    records: Any,
    rows: Any,
    slots: Any,
    severities: Any,
    ts: Any,
    limits: Any,
    ladders: Ladders,
    start: int,
) -> int:
    """Confirm open alerts up to the next finding that opens or raises one, or may need a decision.

    Args:
        records: `(capacity,) RECORD`, the table; the times of confirmation are updated in place.
        rows: `(n,) int64`, the record of each of n findings, in stream order.
        slots: `(n,) int64`, slot of the alert that each finding may open or confirm.
        severities: `(n,) uint8`, severity of each finding, 0 if it only confirms.
        ts: `(n,) float64`, event times, epoch seconds.
        limits: `(n, k) int64`, the strongest actions that may be allowed after each finding.
        ladders: see `Ladders`.
        start: index of the first finding to read.

    Returns:
        The index of that finding; n if there is none.
    """
    for i in range(start, len(rows)):
        r, slot = records[rows[i]], slots[i]
        before = r["severity"][slot]
        if severities[i] > 0 or before > 0:
            r["confirmed"][slot] = max(r["confirmed"][slot], np.uint32(ts[i]))
        if severities[i] > before or _may_be_due(r, ts[i], limits[i], ladders):
            return i
    return len(rows)


@jit
def _may_be_due(r: Any, now: float, limits: Any, ladders: Ladders) -> bool:
    """Whether a decision on the subject of one RECORD is due under one of the limits."""
    decided, reached, before = r["decided"], 0, 0
    for slot in range(len(ladders.actions)):
        severity = r["severity"][slot]
        if severity > 0:
            first, last = ladders.actions[slot, severity]
            opened = r["opened"][slot]
            steps = max(int((now - opened) // ladders.step), 0)
            reached = max(reached, min(first + steps, last))
            steps = max(int((decided - opened) // ladders.step), 0)
            before = max(before, min(first + steps, last))
    due = False
    for limit in limits:
        action = min(reached, limit)
        renews = now - decided >= ladders.seconds[action] / 2
        due |= action > 0 and (renews or action > min(before, limit))
    return due

"""HTTP status: which requests were refused.

A refused request got an error instead of an answer, for a reason other than its content: no valid
key, too many requests, or a server that failed. Nothing was extracted by it, and anybody can send
it under any key. So it is counted and otherwise ignored.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

_REFUSED = (401, 403, 429)
_SERVER_ERRORS = "5xx"
LABELS = (*map(str, _REFUSED), _SERVER_ERRORS)


def refused(status: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of n requests were refused, `(n,) bool`.

    Args:
        status: `(n,) int64`, 0 if unknown.
    """
    return np.asarray(np.isin(status, _REFUSED) | (status // 100 == 5))


def by_label(status: npt.NDArray[np.int64]) -> Counter[str]:
    """The number of refused requests by label: their status, or one label for all of 5xx."""
    values, numbers = np.unique(status[refused(status)], return_counts=True)
    counts: Counter[str] = Counter()
    for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
        counts[str(value) if value in _REFUSED else _SERVER_ERRORS] += number
    return counts

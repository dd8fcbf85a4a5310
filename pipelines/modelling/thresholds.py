"""Thresholds: how improbable a finding must be, for the false alerts a day that are accepted.

Counted are key-days: a key may be accused once a day, on the smallest probability that any finding
ever gave it. Of the share of ordinary key-days below the j-th smallest of n such probabilities,
order statistics know the distribution whatever theirs is: gamma, of shape j, over n. Its quantile
CERTAINTY is what is reckoned with, so that a short recording costs recall and not false alerts.

Below everything seen, the share is taken to fall as a power of the probability. The exponent is 1
where probabilities are what they say they are, and less where they are too small. It is estimated
from the smallest seen (B. M. Hill, Annals of Statistics 3, 1975), shrunk towards 1, and reckoned
with as low as it may well be.

>>> ordinary = np.linspace(0.0001, 1.0, 10_000)
>>> [each.probability for each in fit(ordinary, 10_000, keys=1_000, false_alerts=1.0)]
[0.00869, 0.0006, 1e-05]
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Severity

CERTAINTY = 0.9
_NORMAL = 1.2815515655446004  # the standard normal quantile of it

# Of the false alerts that are accepted, and probabilities that no ordinary traffic makes telling.
SHARES: dict[Severity, float] = {"info": 10.0, "warning": 1.0, "critical": 0.05}
CAPS: dict[Severity, float] = {"info": 1e-2, "warning": 1e-3, "critical": 1e-5}

_TAIL = 50  # key-days from which its exponent is estimated
_PRIOR = 10.0  # key-days that an exponent of 1 is worth beside them
_LEAST = 1e-300  # as small as a tail of the public becomes

Floats = npt.NDArray[np.float64]


class Threshold(NamedTuple):
    """Where a severity begins, and what it costs.

    Attributes:
        at_most: ordinary keys a day that reach it, by CERTAINTY no more.
        seen: key-days of the recording that reached it.
    """

    severity: Severity
    probability: float
    at_most: float
    seen: int


class Tail:
    """How common small probabilities are among ordinary key-days.

    Args:
        smallest: `(n,) float64`, the smallest probability of each key and day that was looked at.
        key_days: how many there are with those that never were.
    """

    def __init__(self, smallest: Floats, key_days: float) -> None:
        ranked: Floats = np.sort(np.maximum(smallest, _LEAST))
        self._values, first = np.unique(np.append(ranked, 1.0), return_index=True)
        self._shares = quantile(np.asarray(first + 1, np.float64)) / key_days  # below each value
        tail = ranked[: _TAIL + 1]
        excess = float(np.log(tail[-1] / tail).sum()) if len(tail) else 0.0
        worth = np.array([max(len(tail) - 1, 0) + _PRIOR])
        slowly = float(quantile(worth, 1.0 - CERTAINTY)[0]) / (excess + _PRIOR)
        self._exponent = min(1.0, slowly)

    def share(self, probability: float) -> float:
        """Of key-days that get a probability or less, by CERTAINTY no more than this share."""
        i = int(np.searchsorted(self._values, probability, side="right"))
        if i == 0:
            fall = (probability / float(self._values[0])) ** self._exponent
            return min(float(self._shares[0] * fall), 1.0)
        return min(float(self._shares[i]), 1.0) if i < len(self._shares) else 1.0

    def probability(self, share: float) -> float:
        """The largest that at most this share of key-days get, to three digits."""
        i = int(np.searchsorted(self._shares, share, side="right"))
        if i:
            return _below(float(self._values[i - 1]))
        fall = (share / float(self._shares[0])) ** (1.0 / self._exponent)
        return _below(float(self._values[0] * fall))


def fit(smallest: Floats, key_days: float, *, keys: float, false_alerts: float) -> list[Threshold]:
    """The thresholds of all severities.

    Args:
        smallest: as in `Tail`.
        key_days: likewise.
        keys: ordinary keys a day of the deployment.
        false_alerts: ordinary keys a day that may be accused, by a warning or worse.
    """
    tail = Tail(smallest, key_days)
    found = []
    for severity, times in SHARES.items():
        p = min(tail.probability(times * false_alerts / keys), CAPS[severity])
        seen = int(np.count_nonzero(smallest <= p))
        found.append(Threshold(severity, p, keys * tail.share(p), seen))
    return found


def needed(*, keys: float, false_alerts: float) -> float:
    """Key-days without any finding that would show so few false alerts."""
    return float(quantile(np.ones(1))[0]) * keys / false_alerts


def quantile(shapes: Floats, certainty: float = CERTAINTY) -> Floats:
    """A quantile, CERTAINTY or 1 - CERTAINTY, of gamma distributions of these shapes, `(n,)`: by
    the cube of a normal variable (E. B. Wilson and M. M. Hilferty, PNAS 17, 1931)."""
    normal = np.copysign(_NORMAL, certainty - 0.5)
    cube = 1.0 - 1.0 / (9.0 * shapes) + normal / (3.0 * np.sqrt(shapes))
    return np.asarray(shapes * cube**3)


def _below(x: float) -> float:
    """The next smaller number of three digits."""
    exact = Decimal(x)
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    down = exact.quantize(step, ROUND_FLOOR)
    return max(float(down if float(down) < x else down - step), _LEAST)

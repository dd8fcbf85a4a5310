"""Alert thresholds for an accepted number of false alerts per day.

The unit is the key-day: a key can raise at most one false alert per day, at the smallest
probability that any evaluation gave it. The share of ordinary key-days below the j-th smallest of
n such probabilities has, whatever their distribution, approximately a gamma distribution of shape
j, divided by n. Its CONFIDENCE quantile is used, so a short recording costs recall, not false
alerts.

Below the smallest observed value, the share is assumed to fall as a power of the probability. The
exponent is 1 if probabilities are exact and smaller if they are too small. It is estimated from
the smallest observed values (B. M. Hill, Annals of Statistics 3, 1975), shrunk towards 1, and
replaced by its lower confidence bound.

>>> ordinary = np.linspace(0.0001, 1.0, 10_000)
>>> [t.probability for t in fit_thresholds(ordinary, 10_000, keys=1_000, false_alerts=1.0)]
[0.00869, 0.0006, 1e-05]
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Severity

CONFIDENCE = 0.9
_NORMAL_QUANTILE = 1.2815515655446004  # of the standard normal distribution at CONFIDENCE

# Multiples of the accepted false alerts, and upper limits whatever the traffic.
SHARES: dict[Severity, float] = {"info": 10.0, "warning": 1.0, "critical": 0.05}
CAPS: dict[Severity, float] = {"info": 1e-2, "warning": 1e-3, "critical": 1e-5}

_TAIL_SIZE = 50  # key-days from which the exponent is estimated
_PRIOR_WEIGHT = 10.0  # key-days that the prior exponent of 1 counts as
_SMALLEST = 1e-300  # the smallest probability that detectors return

Floats = npt.NDArray[np.float64]


class Threshold(NamedTuple):
    """The threshold of a severity, and its cost.

    Attributes:
        probability: per key and day, at which an alert of this severity opens.
        max_per_day: upper CONFIDENCE bound of ordinary keys per day that reach it.
        seen: key-days of the recording that reached it.
    """

    severity: Severity
    probability: float
    max_per_day: float
    seen: int


class Tail:
    """How frequent small probabilities are among ordinary key-days.

    Args:
        smallest: `(n,) float64`, the smallest probability of each evaluated key-day.
        key_days: number of key-days, including those without an evaluation.
    """

    def __init__(self, smallest: Floats, key_days: float) -> None:
        ranked: Floats = np.sort(np.maximum(smallest, _SMALLEST))
        self._values, first = np.unique(np.append(ranked, 1.0), return_index=True)
        ranks = np.asarray(first + 1, np.float64)
        self._shares = gamma_quantile(ranks) / key_days  # below each value
        tail = ranked[: _TAIL_SIZE + 1]
        excess = float(np.log(tail[-1] / tail).sum()) if len(tail) else 0.0
        weight = np.array([max(len(tail) - 1, 0) + _PRIOR_WEIGHT])
        lower = float(gamma_quantile(weight, 1.0 - CONFIDENCE)[0]) / (excess + _PRIOR_WEIGHT)
        self._exponent = min(1.0, lower)

    def share(self, probability: float) -> float:
        """Upper CONFIDENCE bound of the share of key-days at or below a probability."""
        i = int(np.searchsorted(self._values, probability, side="right"))
        if i == 0:
            fall = (probability / float(self._values[0])) ** self._exponent
            return min(float(self._shares[0] * fall), 1.0)
        return min(float(self._shares[i]), 1.0) if i < len(self._shares) else 1.0

    def probability(self, share: float) -> float:
        """The largest probability, to three digits, that at most this share of key-days reach."""
        i = int(np.searchsorted(self._shares, share, side="right"))
        if i:
            return _round_down(float(self._values[i - 1]))
        fall = (share / float(self._shares[0])) ** (1.0 / self._exponent)
        return _round_down(float(self._values[0] * fall))


def fit_thresholds(
    smallest: Floats, key_days: float, *, keys: float, false_alerts: float
) -> list[Threshold]:
    """Fit the threshold of each severity.

    Args:
        smallest, key_days: as for `Tail`.
        keys: ordinary keys per day in the deployment.
        false_alerts: accepted number of ordinary keys per day with a warning or a critical alert.
    """
    tail = Tail(smallest, key_days)
    thresholds = []
    for severity, multiple in SHARES.items():
        p = min(tail.probability(multiple * false_alerts / keys), CAPS[severity])
        seen = int(np.count_nonzero(smallest <= p))
        thresholds.append(Threshold(severity, p, keys * tail.share(p), seen))
    return thresholds


def key_days_needed(*, keys: float, false_alerts: float) -> float:
    """Key-days without an alert that confirm this number of false alerts per day."""
    return float(gamma_quantile(np.ones(1))[0]) * keys / false_alerts


def gamma_quantile(shapes: Floats, confidence: float = CONFIDENCE) -> Floats:
    """A quantile of gamma distributions with scale 1.

    Source: the cube of a normal variable, E. B. Wilson and M. M. Hilferty, PNAS 17, 1931.

    Args:
        shapes: `(n,) float64`.
        confidence: CONFIDENCE or 1 - CONFIDENCE.

    Returns:
        `(n,) float64`.
    """
    normal = np.copysign(_NORMAL_QUANTILE, confidence - 0.5)
    cube = 1.0 - 1.0 / (9.0 * shapes) + normal / (3.0 * np.sqrt(shapes))
    return np.asarray(shapes * cube**3)


def _round_down(x: float) -> float:
    """The next smaller number with three significant digits."""
    exact = Decimal(x)
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    down = exact.quantize(step, ROUND_FLOOR)
    return max(float(down if float(down) < x else down - step), _SMALLEST)

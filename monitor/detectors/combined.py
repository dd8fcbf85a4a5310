"""Combined: all detectors together, as one probability.

Several weak signs may be strong evidence. The statistic is the product of the probabilities that
are small enough to count as signs, in nats below the bound of a sign. For independent tests its
distribution is known (the truncated product; D. V. Zaykin et al., Genetic Epidemiology 22, 2002).
These tests are not independent: a key that sends much also asks for much. So the statistic is also
compared with the baseline, which includes all dependence. But a baseline has a limited number of
keys. The larger of the two probabilities counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import ClassVar

import numpy as np

from monitor.detectors.base import (
    ORDINARY_SHARE,
    Detector,
    Evidence,
    Finding,
    Floats,
    counted,
    first_seen,
)
from monitor.records.baseline import Baseline
from monitor.records.profile import COMBINED, Profile

_NATS = "_nats"


@dataclass(frozen=True, slots=True)
class Combined:
    """The sum of the logarithms of all probabilities, compared with ordinary keys.

    Attributes:
        parts: the detectors.
        sign: largest probability that counts as a sign.
        within: pairs of a detector and another one that presupposes what the first one sees. Of
            the first, only what exceeds the other counts.
    """

    parts: Sequence[Detector]
    sign: float = 0.1
    within: Sequence[tuple[str, str]] = (("automation", "harvest"),)
    name: ClassVar[str] = "combined"
    slot: ClassVar[int] = 6
    levels: ClassVar[Sequence[int]] = (COMBINED,)

    @property
    def evidence(self) -> Mapping[str, Evidence]:
        """The nats of each detector, and their combination."""
        return {
            **{f"{part.name}{_NATS}": Evidence("nats", part.name) for part in self.parts},
            "signs": Evidence("count", "signals"),
            "level": Evidence("score", "combined, nats / 2"),
            **ORDINARY_SHARE,
        }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys with all detectors and combine the findings."""
        return self.evaluate(keys, baseline)[0][-1]

    def evaluate(self, keys: Profile, baseline: Baseline) -> tuple[list[Finding], Floats]:
        """Evaluate n keys with all detectors.

        Returns:
            The findings of each detector and the combined finding, and the combined level,
            `(n,) float64`.
        """
        findings = [part(keys, baseline) for part in self.parts]
        nats = {
            part.name: np.log(self.sign / finding.p).clip(0.0)
            for part, finding in zip(self.parts, findings, strict=True)
        }
        for name, other in self.within:
            if name in nats and other in nats:
                nats[name] = (nats[name] - nats[other]).clip(0.0)
        level = sum(nats.values(), np.zeros(len(keys))) / 2.0
        return [*findings, self._combine(keys, baseline, nats, level)], level

    def _combine(
        self, keys: Profile, baseline: Baseline, nats: Mapping[str, Floats], level: Floats
    ) -> Finding:
        signs = sum((np.sign(each) for each in nats.values()), np.zeros(len(keys)))

        def evidence() -> Mapping[str, Floats]:
            return {
                **{f"{name}{_NATS}": each for name, each in nats.items()},
                "signs": signs,
                "level": level,
                "ordinary_share": self._share(baseline, level),
            }

        p = np.where(signs > 1, self.probability(level, baseline), 1.0)
        return Finding(p, first_seen(keys), evidence)

    def probability(self, level: Floats, baseline: Baseline) -> Floats:
        """Probability that an ordinary key reaches levels in a day with several signs, `(n,)`."""
        independent = truncated_product(2.0 * level, len(self.parts), self.sign)
        return np.maximum(self._share(baseline, level), independent)

    def _share(self, baseline: Baseline, level: Floats) -> Floats:
        """Share of ordinary keys that reach levels `(n,)` in a day, `(n,) float64`."""
        return baseline.tail(np.array(self.levels), level[:, None])[:, 0]

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The signs, the strongest first."""
        nats = {name: value for name, value in evidence.items() if name.endswith(_NATS)}
        strongest = sorted((name for name in nats if nats[name] > 0.0), key=lambda n: -nats[n])
        if not strongest:
            return "no signals"
        names = ", ".join(name.removesuffix(_NATS) for name in strongest)
        return f"{counted(evidence['signs'], 'signal')}: {names}"


def truncated_product(nats: Floats, tests: int, sign: float) -> Floats:
    """Probability that the signs among `tests` independent tests sum to `nats` or more.

    The number of signs is binomial. The nats of each are exponentially distributed, so that k signs
    exceed x with the probability that a Poisson variable of mean x is below k.

    Args:
        nats: `(n,) float64`.
        sign: largest probability that counts as a sign.

    Returns:
        `(n,) float64`.
    """
    total, term, below = np.zeros_like(nats), np.exp(-nats), np.zeros_like(nats)
    for k in range(1, tests + 1):
        below = below + term
        term = term * nats / k
        total += comb(tests, k) * sign**k * (1.0 - sign) ** (tests - k) * below
    return np.asarray(np.where(nats > 0.0, total, 1.0))

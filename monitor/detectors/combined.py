"""Combined: what all detectors say of a key together, as one probability.

Several weak signs may be a strong case. The product of the probabilities that are small enough to
be signs measures it, in nats below the bound of a sign. For independent tests its distribution is
known (the truncated product; D. V. Zaykin et al., Genetic Epidemiology 22, 2002). These are not:
who sends much also asks for much, and a narrow application is flat as well as repetitive. So it is
a statistic like any other: the public says how far ordinary keys get on a day, all dependence and
all continuous looking included. But a public can only have seen so much. The case is as strong as
the weaker of the two says.

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Combined([])(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from monitor.detectors.base import Detector, Finding, Floats
from monitor.records.baseline import Baseline
from monitor.records.profile import COMBINED, KINDS, Profile

_NATS = "_nats"


@dataclass(frozen=True, slots=True)
class Combined:
    """The sum of the logarithms of all probabilities, against the public.

    Attributes:
        parts: the detectors.
        sign: probability from which on a finding counts as one.
    """

    parts: Sequence[Detector]
    sign: float = 0.1
    name = "combined"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        return self.examine(keys, baseline)[-1]

    def examine(self, keys: Profile, baseline: Baseline) -> list[Finding]:
        """What each detector says of n keys, and last what all of them say together."""
        findings = [part(keys, baseline) for part in self.parts]
        said = zip(self.parts, findings, strict=True)
        nats = {part.name: np.log(self.sign / finding.p).clip(0.0) for part, finding in said}
        return [*findings, self._together(keys, baseline, nats)]

    def _together(self, keys: Profile, baseline: Baseline, told: Mapping[str, Floats]) -> Finding:
        total = sum(told.values(), np.zeros(len(keys)))
        level = total / 2.0
        share = baseline.tail(slice(COMBINED, COMBINED + 1), level[:, None])[:, 0]
        evidence = {f"{name}_nats": told[name] for name in told}
        evidence["signs"] = sum((np.sign(nats) for nats in told.values()), np.zeros(len(keys)))
        evidence["level"] = level
        evidence["ordinary_share"] = share
        p = np.where(evidence["signs"] > 1, self.probability(level, baseline), 1.0)
        return Finding(p, keys["first_seen"].astype(np.float64), evidence)

    def probability(self, level: Floats, baseline: Baseline) -> Floats:
        """Of an ordinary key that ever gets to such levels on a day with several signs, `(n,)`."""
        share = baseline.tail(slice(COMBINED, COMBINED + 1), level[:, None])[:, 0]
        return np.maximum(share, truncated_product(2.0 * level, len(self.parts), self.sign))

    def summary(self, evidence: Mapping[str, float]) -> str:
        told = {kind: evidence.get(f"{kind}{_NATS}", 0.0) for kind in KINDS}
        names = [kind for kind in sorted(told, key=lambda k: -told[k]) if told[kind] > 0.0]
        return f"{evidence['signs']:.0f} signs together: {', '.join(names)}"


def truncated_product(nats: Floats, tests: int, sign: float) -> Floats:
    """Probability that of so many independent tests the signs come to as many nats, `(n,)`.

    The number of signs is binomial, and each is worth an exponential one, so that k of them exceed
    x with the probability that a Poisson variable of mean x stays below k.
    """
    found, term, below = np.zeros_like(nats), np.exp(-nats), np.zeros_like(nats)
    for k in range(1, tests + 1):
        below = below + term
        term = term * nats / k
        found += comb(tests, k) * sign**k * (1.0 - sign) ** (tests - k) * below
    return np.asarray(np.where(nats > 0.0, found, 1.0))

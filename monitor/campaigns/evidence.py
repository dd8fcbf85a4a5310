"""Evidence: how much likelier a trait is in a group than in the whole population.

Each kind of evidence gives every key a log-likelihood ratio in nats: the density of the key's trait
among the group's members over its density among all other keys. So the data decide what a kind of
evidence is worth. A payment that only the group shares counts for much, a cloud network or a stock
system prompt that thousands of keys have counts for almost nothing. A key's own value is left out
of the group's density. Each kind is clipped, so no kind decides alone.

Within a group, a number is normal about the median. Its standard deviation follows from the median
deviation, between two bounds, so that a group cannot widen until it includes its neighbours. In the
rest of the population, the density is a histogram. Identifiers have frequencies. A value that was
never seen gets the share of the values that were seen once.

Source: I. J. Good, Biometrika 40 (1953), for values never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PRIOR = 2.0  # weight of a uniform density, in keys
_CELLS = 400  # of a histogram, at most
_KERNEL = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
_NORMAL = 1.4826  # standard deviations of a normal distribution per median deviation


@dataclass(frozen=True, slots=True)
class NumericEvidence:
    """Evidence from a number that is similar within a group.

    Attributes:
        min_spread, max_spread: bounds of its standard deviation in a group, in the trait's unit.
        min_nats, max_nats: bounds of the evidence, nats.
        rising: whether more than the group's median is as good as the median.
    """

    min_spread: float
    max_spread: float
    min_nats: float
    max_nats: float
    rising: bool = False

    def __call__(self, x: Floats, member: Floats) -> Floats:
        """The evidence on n keys, `(n,) float64`, nats; 0 where the trait is unknown.

        Args:
            x: `(n,) float64`, the trait, NaN where it is unknown.
            member: `(n,) float64`, the probability that each key is a member.
        """
        known = np.isfinite(x)
        inside = known & (member > 0.5)
        if np.count_nonzero(inside) < 2:
            return np.zeros(len(x))
        centre = median(x[inside])
        sigma = min(max(robust_deviation(x[inside]), self.min_spread), self.max_spread)
        z = (np.where(known, x, centre) - centre) / sigma
        if self.rising:
            z = np.minimum(z, 0.0)
        nats = -0.5 * z**2 - np.log(sigma * np.sqrt(2.0 * np.pi))
        nats -= np.log(self._density_outside(x, known, member))
        return np.where(known, np.clip(nats, self.min_nats, self.max_nats), 0.0)

    def _density_outside(self, x: Floats, known: npt.NDArray[np.bool_], member: Floats) -> Floats:
        """The density of the trait among all other keys, at each key's value, `(n,)`."""
        width = self.min_spread / 2.0
        lowest = float(x[known].min())
        at = np.minimum(((np.where(known, x, lowest) - lowest) / width).astype(np.int64), _CELLS)
        cells = int(at.max()) + 1
        counts = np.bincount(at, np.where(known, 1.0 - member, 0.0), cells)
        smooth = np.convolve(counts, _KERNEL, mode="full")[len(_KERNEL) // 2 :][:cells]
        return np.asarray((smooth[at] + _PRIOR / cells) / ((counts.sum() + _PRIOR) * width))


@dataclass(frozen=True, slots=True)
class IdentifierEvidence:
    """Evidence from an identifier that keys share.

    Attributes:
        min_nats, max_nats: bounds of the evidence, nats.
    """

    min_nats: float
    max_nats: float

    def __call__(
        self, codes: npt.NDArray[np.int64], member: Floats, eligible: npt.NDArray[np.bool_]
    ) -> Floats:
        """The evidence on n keys, `(n,) float64`, nats: that of each key's strongest value.

        Args:
            codes: `(n, k) int64`, the values of each key as small integers, 0 if unknown.
            member: `(n,) float64`, the probability that each key is a member.
            eligible: `(n,) bool`, which keys may be members.
        """
        each, k = int(codes.max(initial=0)) + 1, codes.shape[1]
        which = np.flatnonzero(member)
        inside = np.bincount(codes[which].ravel(), np.repeat(member[which], k), each)
        count = np.bincount(codes[eligible].ravel(), minlength=each)
        having = (codes[:, 0] != 0) & eligible
        members, all_ = float(member[having].sum()), float(np.count_nonzero(having))
        if members < 1.0 or all_ - members < 1.0:
            return np.zeros(len(codes))
        inside[0] = count[0] = 0.0
        alone = (inside[(inside > 0) & (inside <= 1.0)].sum() + 0.5) / (members + 1.0)
        alone_outside = (np.count_nonzero(count == 1) + 0.5) / (all_ + 1.0)
        unshared = min(float(np.log(alone / alone_outside)), 0.0)
        nats = np.where(having, max(unshared, self.min_nats), 0.0)
        # Few keys have a value that members have. The others are done.
        sharing, shared_code = np.zeros(len(codes), bool), inside >= 0.5
        for column in codes.T:
            sharing |= shared_code[column]
        rows = np.flatnonzero(sharing & having)
        codes, member = codes[rows], member[rows]
        others = inside[codes] - member[:, None]
        share = np.maximum(others, 0.0) / members
        outside = (count[codes] - inside[codes] + 0.5) / (all_ - members + 1.0)
        shared = np.log(np.maximum(share, 1e-9) / outside)
        best = np.where(others >= 0.5, shared, np.where(codes != 0, unshared, -np.inf)).max(axis=1)
        nats[rows] = np.clip(best, self.min_nats, self.max_nats)
        return nats


def robust_deviation(x: Floats) -> float:
    """The standard deviation of numbers `(n,)`, n > 0, from their median deviation."""
    return _NORMAL * median(np.abs(x - median(x)))


def median(x: Floats) -> float:
    """The median of numbers `(n,)`, n > 0; for few numbers faster than NumPy's."""
    ordered = np.sort(x)
    return float(ordered[(len(x) - 1) // 2] + ordered[len(x) // 2]) / 2.0

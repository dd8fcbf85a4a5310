"""Evidence: how much likelier a trait is in a group than in the population at large.

Each kind of evidence gives every key a log-likelihood ratio, in nats: the density of its trait
among the members of a group over that among all others. So evidence weighs what it is worth: a
payment that only the group shares says much, a cloud network or a stock system prompt that
thousands have says next to nothing, and nobody has to say which is which. A key's own part is left
out of the group's density, or every key would resemble itself. Each kind is clipped: none convicts
alone, none acquits alone.

Numbers of a group are taken as normal about its median, as wide as its median deviation within
bounds: a group is of one kind, and does not grow wide enough to take in whatever lies near. The
others have the density that is counted, in cells. Identifiers have frequencies, in which a value
never seen has the share of those seen once (I. J. Good, Biometrika 40, 1953).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PRIOR = 2.0  # keys that an even density is worth
_CELLS = 400  # at the most
_KERNEL = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
_NORMAL = 1.4826  # median deviations to a standard one


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number that the keys of a group have alike.

    Attributes:
        least, most: its standard deviation in a group.
        against, favour: nats at the most.
        rising: whether more than the group has is as good.
    """

    least: float
    most: float
    against: float
    favour: float
    rising: bool = False

    def __call__(self, x: Floats, member: Floats) -> Floats:
        """Nats of n keys.

        Args:
            x: `(n,)`, the trait, NaN where it is not known.
            member: `(n,)`, how surely each is a member.
        """
        known = np.isfinite(x)
        mine = known & (member > 0.5)
        if np.count_nonzero(mine) < 2:
            return np.zeros(len(x))
        centre = float(np.median(x[mine]))
        spread = _NORMAL * float(np.median(np.abs(x[mine] - centre)))
        sigma = min(max(spread, self.least), self.most)
        away = (np.where(known, x, centre) - centre) / sigma
        if self.rising:
            away = np.minimum(away, 0.0)
        nats = -0.5 * away**2 - np.log(sigma * np.sqrt(2.0 * np.pi))
        nats -= np.log(self._elsewhere(x, known, member))
        return np.where(known, np.clip(nats, -self.against, self.favour), 0.0)

    def _elsewhere(self, x: Floats, known: npt.NDArray[np.bool_], member: Floats) -> Floats:
        """The density of the trait among the others, at each key's."""
        cell = self.least / 2.0
        least = float(x[known].min())
        at = np.minimum(((np.where(known, x, least) - least) / cell).astype(np.int64), _CELLS)
        cells = int(at.max()) + 1
        counts = np.bincount(at, np.where(known, 1.0 - member, 0.0), cells)
        smooth = np.convolve(counts, _KERNEL, mode="full")[len(_KERNEL) // 2 :][:cells]
        return np.asarray((smooth[at] + _PRIOR / cells) / ((counts.sum() + _PRIOR) * cell))


@dataclass(frozen=True, slots=True)
class Identifier:
    """A value that keys share.

    Attributes:
        against, favour: nats at the most.
    """

    against: float
    favour: float

    def __call__(
        self, codes: npt.NDArray[np.int64], member: Floats, eligible: npt.NDArray[np.bool_]
    ) -> Floats:
        """Nats of n keys: the strongest of a key's values.

        Args:
            codes: `(n, k) int64`, numbers of values, 0 for none.
            member: `(n,)`, how surely each is a member.
            eligible: `(n,)`, who counts.
        """
        each, k = int(codes.max(initial=0)) + 1, codes.shape[1]
        which = np.flatnonzero(member)
        own = np.bincount(codes[which].ravel(), np.repeat(member[which], k), each)
        count = np.bincount(codes[eligible].ravel(), minlength=each)
        having = (codes[:, 0] != 0) & eligible
        mine, all_ = float(member[having].sum()), float(np.count_nonzero(having))
        if mine < 1.0 or all_ - mine < 1.0:
            return np.zeros(len(codes))
        own[0] = count[0] = 0.0
        alone = (own[(own > 0) & (own <= 1.0)].sum() + 0.5) / (mine + 1.0)
        alone_outside = (np.count_nonzero(count == 1) + 0.5) / (all_ + 1.0)
        unshared = min(float(np.log(alone / alone_outside)), 0.0)
        nats = np.where(having, max(unshared, -self.against), 0.0)
        # Few keys show what members do; the others are done.
        showing, shown = np.zeros(len(codes), bool), own >= 0.5
        for column in codes.T:
            showing |= shown[column]
        rows = np.flatnonzero(showing & having)
        codes, member = codes[rows], member[rows]
        others = own[codes] - member[:, None]
        share = np.maximum(others, 0.0) / mine
        outside = (count[codes] - own[codes] + 0.5) / (all_ - mine + 1.0)
        shared = np.log(np.maximum(share, 1e-9) / outside)
        best = np.where(others >= 0.5, shared, np.where(codes != 0, unshared, -np.inf)).max(axis=1)
        nats[rows] = np.clip(best, -self.against, self.favour)
        return nats

"""A group: keys that act as one, and how surely each of them is one of it.

A group is a mixture of two: the keys that belong to it and all the others. What tells them apart is
each kind of evidence (`evidence.py`): the direction in which a key's prompts deviate from the
public's, held against the group's own, without the key; when it came, how fast and how evenly it
asks, how varied, how like a work list; and what it shares with members and not with others.
Expectation and maximisation in turn (A. P. Dempster, N. M. Laird, D. B. Rubin, JRSS B 39, 1977),
with the kinds taken as independent given membership and each of them clipped.

Pairs of slow keys say little (two accounts of one campaign, half ordinary, are no more alike than
two strangers); a key and the sum of all other members say much.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitor.campaigns.evidence import Identifier, Numeric
from monitor.campaigns.population import Population, PopulationView
from monitor.records.profile import HOUR, MINUTE

Floats = npt.NDArray[np.float64]

LEAST = 8  # prompts of a key below which nothing is said of it
SURE = 0.95  # from which on a member is spoken of as one

_HARDLY = -7.0  # log odds below which a key does not belong: about what is remembered of it

_DIRECTION = Numeric(0.05, 0.2, 8.0, 6.0, rising=True)
_NUMBERS = {
    "born": Numeric(10 * MINUTE, HOUR, 2.0, 3.0),
    "pace": Numeric(0.3, 0.8, 4.0, 2.0),
    "even": Numeric(0.7, 2.0, 2.0, 1.5),
    "variety": Numeric(0.4, 1.0, 3.0, 1.5),
}
_LIKENESS = Numeric(0.4, 1.2, 4.0, 3.0)
_SHARED = {
    "payment": Identifier(0.5, 4.0),
    "network": Identifier(0.5, 4.0),
    "tls_fingerprint": Identifier(0.5, 3.0),
    "user_agent": Identifier(0.5, 1.0),
    "system": Identifier(2.0, 3.0),
    "model": Identifier(1.0, 2.0),
}
KINDS = ("direction", "likeness", *_NUMBERS, *_SHARED)


@dataclass(slots=True)
class Group:
    """How surely each key of the population belongs together.

    Attributes:
        member: `(n,) float64`, probabilities, in the population's order.
        nats: by kind of evidence, `(n,) float64`.
        alike: `(n,) float64`, the cosine of a key's deviation with the rest of the group's.
    """

    member: Floats
    nats: dict[str, Floats] = field(default_factory=dict)
    alike: Floats = field(default_factory=lambda: np.zeros(0))

    def step(
        self, population: Population | PopulationView, eligible: npt.NDArray[np.bool_]
    ) -> None:
        """Learn from the members what they have in common, and ask again who they are."""
        member = np.where(eligible, self.member, 0.0)
        direction = population.direction
        which = np.flatnonzero(member)
        weight = np.zeros(len(member), np.float32)
        sketched = population.rows["said"]["sketched"][which]
        weight[which] = member[which] * np.sqrt(np.minimum(sketched, 256))
        total = weight[which] @ direction[which]
        # A key's cosine with the sum of the others: no vector of its own in it.
        with_all = direction @ total
        rest = np.sqrt(np.maximum(total @ total - 2.0 * weight * with_all + weight**2, 1e-9))
        self.alike = ((with_all - weight) / rest).astype(np.float64)
        traits, nats = population.traits, {}
        seen = np.where(eligible, self.alike, np.nan)
        nats["direction"] = _DIRECTION(seen, member)
        list_ = int((member[which] @ population.lists[which]).argmax())
        nats["likeness"] = _LIKENESS(np.where(eligible, population.lists[:, list_], np.nan), member)
        for name, number in _NUMBERS.items():
            nats[name] = number(np.where(eligible, getattr(traits, name), np.nan), member)
        for name, identifier in _SHARED.items():
            nats[name] = identifier(population.codes(name), member, eligible)
        share = (member.sum() + 1.0) / (eligible.sum() + 2.0)
        odds = np.log(share / (1.0 - share)) + sum(nats.values())
        self.nats = nats
        belongs = eligible & (odds > _HARDLY)
        self.member = np.zeros(len(member))
        self.member[belongs] = 1.0 / (1.0 + np.exp(-np.minimum(odds[belongs], 50.0)))

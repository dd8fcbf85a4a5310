"""Group membership: the probability that each key belongs to a group of coordinated keys.

A group is a mixture of two classes: members and all other keys. Every kind of evidence
(`evidence.py`) separates them: the direction in which a key's prompts deviate from the baseline,
compared with the group's direction without the key; when the key was first seen; its request rate,
steadiness and variety; its similarity to distillation prompt lists; and the identifiers that it
shares with members and not with others. Expectation maximisation alternates between what members
have in common and who the members are. The kinds are taken as independent given membership.

Two slow keys of one campaign, half of whose prompts are ordinary, are no more similar than two
ordinary keys. A key and the sum of all other members are.

Source: A. P. Dempster, N. M. Laird, D. B. Rubin, JRSS B 39 (1977).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitor.campaigns.evidence import IdentifierEvidence, NumericEvidence
from monitor.campaigns.imported import Imports
from monitor.campaigns.population import Population, PopulationView
from monitor.records.profile import HOUR, MINUTE

Floats = npt.NDArray[np.float64]

MIN_PROMPTS = 8  # of a key that may be a member
IMPORTED = "imported"  # kind of evidence
SURE = 0.95  # probability from which a key is named as a member

_STEPS_WITHOUT = 3  # of a group, without imports
_MIN_LOG_ODDS = -7.0  # below these, the probability is 0

_DIRECTION = NumericEvidence(0.05, 0.2, -8.0, 6.0, rising=True)  # cosines
_LIKENESS = NumericEvidence(0.4, 1.2, -4.0, 3.0)  # octaves
_NUMBERS = {  # kind of evidence: trait, evidence
    "born": ("first_seen", NumericEvidence(10 * MINUTE, HOUR, -2.0, 3.0)),
    "pace": ("rate", NumericEvidence(0.3, 1.2, -2.5, 2.0)),
    "even": ("unevenness", NumericEvidence(0.7, 2.0, -2.0, 1.5)),
    "variety": ("variety", NumericEvidence(0.4, 1.0, -3.0, 1.5)),
    "follow_ups": ("follow_ups", NumericEvidence(0.1, 0.3, -3.0, 1.5)),
    "repeats": ("repeats", NumericEvidence(0.1, 0.3, -4.0, 1.0)),
}
_SHARED = {
    "payment": IdentifierEvidence(-0.5, 4.0),
    "network": IdentifierEvidence(-0.5, 4.0),
    "tls_fingerprint": IdentifierEvidence(-0.5, 3.0),
    "user_agent": IdentifierEvidence(-0.5, 1.0),
    "system": IdentifierEvidence(-2.0, 3.0),
    "model": IdentifierEvidence(-1.0, 2.0),
}


@dataclass(slots=True)
class Group:
    """Membership of every key in one group.

    Attributes:
        member: `(n,) float64`, probabilities, in the population's order.
        nats: the evidence of each kind, `(n,) float64`.
        cosine: `(n,) float64`, between a key's direction and that of the other members.
    """

    member: Floats
    nats: dict[str, Floats] = field(default_factory=dict)
    cosine: Floats = field(default_factory=lambda: np.zeros(0))

    def step(
        self,
        population: Population | PopulationView,
        eligible: npt.NDArray[np.bool_],
        imports: Imports | None = None,
    ) -> None:
        """One step of expectation maximisation.

        Args:
            population: n keys.
            eligible: `(n,) bool`, which keys may be members.
            imports: of the n keys; by default there are none.
        """
        member = np.where(eligible, self.member, 0.0)
        direction = population.direction
        which = np.flatnonzero(member)
        weight = np.zeros(len(member), np.float32)
        sketched = population.rows["fingerprint"]["sketch_prompts"][which]
        weight[which] = member[which] * np.sqrt(np.minimum(sketched, 256))
        total = weight[which] @ direction[which]
        # The cosine of a key's direction with the sum of the others': its own part is subtracted.
        with_all = direction @ total
        rest = np.sqrt(np.maximum(total @ total - 2.0 * weight * with_all + weight**2, 1e-9))
        self.cosine = ((with_all - weight) / rest).astype(np.float64)
        traits, nats = population.traits, {}
        nats["direction"] = _DIRECTION(np.where(eligible, self.cosine, np.nan), member)
        list_ = int((member[which] @ population.lists[which]).argmax())
        nats["likeness"] = _LIKENESS(np.where(eligible, population.lists[:, list_], np.nan), member)
        for kind, (trait, number) in _NUMBERS.items():
            nats[kind] = number(np.where(eligible, getattr(traits, trait), np.nan), member)
        for name, identifier in _SHARED.items():
            nats[name] = identifier(population.codes(name), member, eligible)
        if imports:
            nats[IMPORTED] = imports.evidence(member, eligible)
        share = (member.sum() + 1.0) / (eligible.sum() + 2.0)
        log_odds = np.log(share / (1.0 - share)) + sum(nats.values())
        self.nats = nats
        belongs = eligible & (log_odds > _MIN_LOG_ODDS)
        self.member = np.zeros(len(member))
        self.member[belongs] = 1.0 / (1.0 + np.exp(-np.minimum(log_odds[belongs], 50.0)))

    def without_imports(
        self, population: Population | PopulationView, eligible: npt.NDArray[np.bool_]
    ) -> Group:
        """The group by evidence without imports; this one if they say nothing of its members."""
        nats = self.nats.get(IMPORTED)
        if nats is None or not nats[self.member > 0.0].any():
            return self
        own = Group(self.member)
        for _ in range(_STEPS_WITHOUT):
            own.step(population, eligible)
        return own

"""Evaluate a group again: its members, their evidence, and what each criterion says.

A linker stores the members of a group, but not the evidence on each. The evidence follows from
the population: one step of the group, as in a round, and a new verdict. Nothing is written.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.campaigns import criteria, verdict
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.imported import Imports
from monitor.campaigns.membership import SURE, Group
from monitor.campaigns.rounds import eligible, group_of
from monitor.linker import LinkPartition

Rows = npt.NDArray[np.int64]

_ROUTE = "evidence"  # of all criteria


class CriterionResult(msgspec.Struct, frozen=True):
    """A criterion, the group's value and what the value says.

    Attributes:
        evidence: name of the number in the campaign's evidence.
        measures: what the number is.
        value: `None` if there is not enough to compute it.
        bound: the value that says nothing.
        at_least: whether higher values speak for a campaign.
        met: whether the value speaks for a campaign.
        way, route: "evidence"; earlier versions had several.
        comparison: of values that speak for a campaign with the bound: ≥ or ≤.
        unit: of the value.
        meaning: of the result, in plain words.
        nats: log-likelihood ratio of a campaign.
    """

    evidence: str = msgspec.field(name="name")
    measures: str = msgspec.field(name="asks")
    value: float | None
    bound: float
    at_least: bool = msgspec.field(name="least")
    met: bool
    way: str
    route: str
    comparison: str
    unit: str
    meaning: str
    nats: float = 0.0


class Evaluated(NamedTuple):
    """A group as of now.

    Attributes:
        group: over the whole population, with the evidence of every kind.
        members: rows of the sure members; of a campaign, those of the named keys.
        eligible: `(n,) bool`, which keys may be members.
        evidence: of the last verdict; of a group without two sure members, nothing.
        weights: of the criteria.
    """

    group: Group
    members: Rows
    eligible: npt.NDArray[np.bool_]
    evidence: dict[str, float]
    weights: criteria.Weights


def evaluate(partition: LinkPartition, campaign: Campaign) -> Evaluated:
    """Evaluate one of a partition's groups again."""
    population, group = partition.population, group_of(campaign, partition.population)
    weights = partition.rounds.weights
    if not campaign.membership:
        group.member[population.rows_of(campaign.named)] = 1.0
    sure = np.flatnonzero(group.member > SURE)
    may = _eligible(partition, campaign)
    imports = Imports.of(partition.rounds.imports, population, partition.watermark)
    group.step(population, may, imports)
    if campaign.named:
        named = population.rows_of(campaign.named)
        return Evaluated(group, named, may, campaign.evidence, weights)
    if len(sure) < 2:
        return Evaluated(group, sure, may, {}, weights)
    evidence = verdict.traits_of(population, group, sure, may)
    return Evaluated(group, sure, may, evidence, weights)


def _eligible(partition: LinkPartition, campaign: Campaign) -> npt.NDArray[np.bool_]:
    """Which keys may be members of a group, `(n,) bool`: no sure member of another campaign."""
    others = [c for c in partition.rounds.campaigns if c is not campaign]
    taken = [key for c in others if c.opened for key, p in c.membership.items() if p > SURE]
    among = eligible(partition.population, [campaign, *others], partition.watermark)
    among[partition.population.rows_of(taken)] = False
    return among


def results(evaluated: Evaluated) -> list[criteria.Result]:
    """The criteria applied to a group, as far as its evidence reaches."""
    if not evaluated.evidence:
        return []
    evidence = {**evaluated.evidence, "members": float(len(evaluated.members))}
    return criteria.apply(evidence, evaluated.weights)


def criterion_results(evaluated: Evaluated) -> list[CriterionResult]:
    """The same for views and JSON."""
    return [
        CriterionResult(
            evidence=each.criterion.evidence,
            measures=each.criterion.measures,
            value=each.value if each.known else None,
            bound=each.bound,
            at_least=each.criterion.rising,
            met=each.met,
            way=_ROUTE,
            route=_ROUTE,
            comparison="≥" if each.criterion.rising else "≤",
            unit=each.criterion.unit,
            meaning=each.meaning,
            nats=each.nats,
        )
        for each in results(evaluated)
    ]


def why_not(evaluated: Evaluated) -> str:
    """Why a group is no campaign, in plain words."""
    found = results(evaluated)
    if not found:
        return "it has fewer than two sure members"
    if criteria.log_odds(found, evaluated.weights) > 0.0:
        return "it is one only now; the next round decides"
    return criteria.reason(found, campaign=False)

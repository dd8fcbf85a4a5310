"""The verdict on a group: one campaign, or people who have something in common.

Colleagues, classmates and the users of one client library are groups, too. Pooled, a group's
sketches have the power that no slow key's have, and six questions are put to them:

- Do the prompts deviate from the public's together, and further than those of random groups of the
  same size?
- Is it one work? Two members' prompts are then about as alike as two of one member's, but for what
  is ordinary among them. Applications that lie near each other each have a template of their own.
  Of forty and more this is not asked: so many do not keep one pace by chance, and if most of what
  they ask is ordinary there is little else to see.
- Is it the work of many? Whoever takes shards off a list asks for other things than the next one:
  all members together ask for much more than each. Classmates ask for the same, each in words of
  their own: it is templates that are counted.
- Are they openly one customer? Keys with one payment make no secret of belonging together; such a
  customer is judged by what each key does.
- Are they accused already, most of them, each for itself?
- Or do they come as no people come, evenly, hour after hour, and all at one pace, though what each
  asks is as varied as a person's, and detectors are surprised at each a little? Applications come
  evenly, too, at least by night, but each at its own pace.

A group is a campaign if it deviates and is accused; or if it deviates, works at one thing, shares
it out, hides what it is, and comes evenly at one pace, all ten or more of it.

Source: pooled statistics of groups against random ones, as in Q. Cao et al., SynchroTrap
(CCS 2014); the test of pooled means is that of `sketches/kernel_mean.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import COUNTED, IDENTIFIERS, Fingerprints
from monitor.campaigns.membership import Group
from monitor.campaigns.population import Population, PopulationView, content, hours
from monitor.records.profile import MINUTE
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import KernelMeans

UNLIKE = 1e-6  # probability that a random group deviates as much, at the most
FARTHER = 0.8  # standard deviations that the mean prompt is from the public's, at the least
ACCUSED = 0.5  # share of members
SHARDS = 3.0  # times as many different templates as a member has
ONE_CUSTOMER = 0.8  # share of members with one payment
EVEN = 0.15  # squared coefficient of variation of members' hours, beyond chance
COMMON = 0.3  # share of the likeness of a member's own prompts that those of two members have
ONE_PACE = 0.3  # octaves that members' paces are apart, beyond chance: a standard deviation
VARIED = 3.4  # log2 of prompts to a template, at the most, for what a person may ask
SURPRISE = 2.0  # nats, of the mean member
UNTOLD = 99.0
CROWD = 40  # members among whom one pace is no chance, whatever else each asks
MANY = 10  # members that it takes where none of them is accused
_LEAST_P = 1e-12


class Verdict(NamedTuple):
    """What is found of a group.

    Attributes:
        guilty: whether it is a campaign.
        probability: that a random group of as many keys deviates as much.
        evidence: numbers by name.
        reason: what decides, in words.
    """

    is_campaign: bool
    probability: float
    evidence: dict[str, float]
    reason: str


def judge(
    population: Population | PopulationView,
    group: Group,
    members: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.bool_],
) -> Verdict:
    """Put the questions to a group's members (rows of the population)."""
    told = _answers(population, group, members, eligible)
    deviates = told["deviation"] >= FARTHER and told["probability"] <= UNLIKE
    if deviates and told["accused_share"] >= ACCUSED:
        return Verdict(True, told["probability"], told, "most are accused by themselves")
    one_work = told["common"] >= COMMON or len(members) >= CROWD
    one_list = one_work and told["shards"] >= SHARDS
    hides = told["largest_payment_share"] < ONE_CUSTOMER
    paced = told["uneven"] <= EVEN and told["pace_spread"] <= ONE_PACE
    asks = math.log2(told["prompts_a_template"]) <= VARIED and told["surprise"] >= SURPRISE
    many = len(members) >= MANY
    is_campaign = deviates and one_list and hides and paced and asks and many
    reason = "they share one list out, at one pace, hour after hour"
    return Verdict(is_campaign, told["probability"], told, reason)


def _answers(
    population: Population | PopulationView,
    group: Group,
    members: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.bool_],
) -> dict[str, float]:
    said, traits = population.rows["said"][members], population.traits
    direction = population.direction[members]
    together = direction.mean(axis=0, dtype=np.float64)
    together /= max(float(np.linalg.norm(together)), 1e-9)
    inside = np.zeros(len(eligible), bool)
    inside[members] = True
    payments = population.rows["seen"][members, IDENTIFIERS.index("payment"), 0]
    first, last = np.quantile(traits.born[members], (0.1, 0.9))
    return {
        "probability": _against_random(group.alike[eligible], inside[eligible]),
        "deviation": float((direction @ together * traits.strength[members]).mean()),
        "common": _common(content(said)),
        "alike": float(np.median(group.alike[members])),
        "accused_share": float((said["severity"] >= 2).mean()),
        "shards": _shards(said),
        "largest_payment_share": _largest_share(payments),
        "uneven": _uneven(said),
        "pace_spread": _apart(traits.pace[members], said["requests"]),
        "prompts_a_template": float(2.0 ** np.median(traits.variety[members])),
        "surprise": float(np.minimum(traits.nats[members], 8.0).mean()),
        "requests_an_hour": float(2.0 ** np.median(traits.pace[members])),
        "born_spread_minutes": float(last - first) / MINUTE,
    }


def _against_random(alike: npt.NDArray[np.float64], members: npt.NDArray[np.bool_]) -> float:
    """How seldom a random group of others goes the members' way as much as the members do.

    The mean of their cosines with the group's direction is nearly normal. A member's is with all
    others but itself; that they have these in common is allowed for by counting half of them.
    """
    others = alike[~members]
    if len(others) < 2:
        return 1.0
    error = max(float(others.std()), 1e-3) / math.sqrt(np.count_nonzero(members) / 2.0)
    z = float(alike[members].mean() - others.mean()) / error
    return max(0.5 * math.erfc(z / math.sqrt(2.0)), _LEAST_P)


def _common(each: KernelMeans) -> float:
    """How alike prompts of two members are, beside two prompts of one member."""
    total, pairs = each.sum.sum(axis=0), each.weight.sum() ** 2 - (each.weight**2).sum()
    across = (float(total @ total) - float((each.sum**2).sum())) / max(float(pairs), 1e-9)
    return across / max(float(np.median(each.self_similarity)), 1e-9)


def _shards(said: Fingerprints) -> float:
    """How many times as many different templates all have than each has."""
    registers = said["distinct"][:, COUNTED.index("templates")]
    union = (registers & 15).max(axis=0) | (registers & 0xF0).max(axis=0)
    each = hyperloglog.estimate(registers).mean()
    return float(hyperloglog.estimate(union[None])[0] / max(each, 1.0))


def _largest_share(values: npt.NDArray[np.uint64]) -> float:
    """The share of the commonest of some identifiers, of those that are known."""
    known = values[values != 0]
    if not len(known):
        return 0.0
    return float(np.unique(known, return_counts=True)[1].max() / len(known))


def _uneven(said: Fingerprints) -> float:
    """How unevenly members fill their hours, all together: a squared coefficient of variation
    beyond that of a Poisson process; UNTOLD where it cannot be told."""
    counts, whole = hours(said)
    n = whole.sum(axis=1)
    told = n >= 2
    if np.count_nonzero(told) < 3:
        return UNTOLD
    counts, whole, n = counts[told], whole[told], n[told]
    mean = (counts * whole).sum(axis=1) / n
    variance = (((counts - mean[:, None]) * whole) ** 2).sum(axis=1) / (n - 1)
    return float((variance - mean).sum() / max(float((mean**2).sum()), 1e-9))


def _apart(pace: npt.NDArray[np.float64], requests: npt.NDArray[np.uint32]) -> float:
    """The standard deviation of paces beyond that which so many requests have by chance.

    It is taken from their median deviation, so that a few who are counted in by mistake do not
    matter, and is what it does not exceed with 95% certainty, so that a few who are near by chance
    do not either.
    """
    spread = 1.4826 * float(np.median(np.abs(pace - np.median(pace))))
    spread *= 1.0 + 1.92 / math.sqrt(len(pace))
    chance = float(np.median(1.0 / (requests * math.log(2.0) ** 2)))
    return math.sqrt(max(spread**2 - chance, 0.0))

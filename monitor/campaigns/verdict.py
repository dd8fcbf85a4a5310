"""The verdict on a group: a campaign, or keys that only have something in common.

Colleagues, classmates and the users of one client library are groups, too. The members' sketches
together have the statistical power that one slow key does not have. This module computes the traits
of a group from them; `criteria.py` says how much each trait speaks for a campaign.

Source: pooled statistics of groups against random groups as in Q. Cao et al., SynchroTrap
(CCS 2014). The test of pooled means is that of `sketches/kernel_mean.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import WARNING
from monitor.campaigns import criteria
from monitor.campaigns.criteria import UNKNOWN, Weights
from monitor.campaigns.evidence import robust_deviation
from monitor.campaigns.fingerprint import FINGERPRINT_DISTINCT, IDENTIFIERS, Fingerprints
from monitor.campaigns.membership import Group
from monitor.campaigns.population import Population, PopulationView
from monitor.campaigns.usage import content, hours
from monitor.records.profile import HOUR, MINUTE
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import KernelMeans

_MAX_SURPRISAL = 8.0  # nats of one member that count
_MIN_P = 1e-12
_MIN_OTHERS = 20  # keys with which the members' first requests are compared

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Verdict(NamedTuple):
    """The result of evaluating a group.

    Attributes:
        is_campaign: whether the group is more likely a campaign than not.
        evidence: numbers by name; of each criterion also its nats.
        reason: the criteria that speak most for the verdict, in plain words.
        is_coordinated: whether it is a campaign without regard to the members' own alerts.
    """

    is_campaign: bool
    evidence: dict[str, float]
    reason: str
    is_coordinated: bool


def evaluate(
    population: Population | PopulationView,
    group: Group,
    members: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.bool_],
    weights: Weights,
) -> Verdict:
    """Evaluate a group.

    Args:
        population: n keys.
        group: after at least one step.
        members: `(m,) int64`, rows of the members.
        eligible: `(n,) bool`, which keys may be members.
        weights: of the criteria.
    """
    evidence = traits_of(population, group, members, eligible)
    results = criteria.apply(evidence, weights)
    log_odds = criteria.log_odds(results, weights)
    nats = {f"for_{each.criterion.evidence}": each.nats for each in results}
    return Verdict(
        log_odds > 0.0,
        {**evidence, "log_odds": log_odds, **nats},
        criteria.reason(results, log_odds > 0.0),
        criteria.log_odds(results, weights, without=("own-alerts",)) > 0.0,
    )


def traits_of(
    population: Population | PopulationView,
    group: Group,
    members: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.bool_],
) -> dict[str, float]:
    """The traits of a group by name; arguments as above."""
    fingerprints, traits = population.rows["fingerprint"][members], population.traits
    direction = population.direction[members]
    mean = direction.mean(axis=0, dtype=np.float64)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    inside = np.zeros(len(eligible), bool)
    inside[members] = True
    payments = population.rows["identifiers"][members, IDENTIFIERS.index("payment"), 0]
    first, last = np.quantile(traits.first_seen[members], (0.1, 0.9))
    surprisal = np.minimum(traits.prompt_surprisal[members], _MAX_SURPRISAL)
    together = _distinct(fingerprints)
    return {
        "probability": _p_random(group.cosine[eligible], inside[eligible]),
        "deviation": float((direction @ mean * traits.deviation[members]).mean()),
        "common": _similarity_between(content(fingerprints)),
        "accused_share": float((fingerprints["severity"] >= WARNING).mean()),
        "births": _births(traits.first_seen, inside, eligible),
        "distinct_prompts": together,
        "recurrence": float(fingerprints["sketch_prompts"].sum()) / max(together, 1.0),
        "repeats": _median(traits.repeats[members]),
        "follow_ups": _median(traits.follow_ups[members]),
        "end_users": max(_median(np.exp2(traits.end_users[members]) - 1.0), 1.0),
        "timers": _mean(traits.regular[members]),
        "largest_payment_share": _largest_share(payments),
        "uneven": _unevenness(fingerprints),
        "pace_spread": _rate_spread(traits.rate[members], fingerprints["requests"]),
        "surprise": _mean(surprisal),
        "requests_an_hour": float(2.0 ** np.median(traits.rate[members])),
        "born_spread_minutes": float(last - first) / MINUTE,
        "members": float(len(members)),
    }


def _median(x: Floats) -> float:
    """The median of the known numbers; `UNKNOWN` without any."""
    known = x[np.isfinite(x)]
    return float(np.median(known)) if len(known) else UNKNOWN


def _mean(x: Floats) -> float:
    """The mean of the known numbers; `UNKNOWN` without any."""
    known = x[np.isfinite(x)]
    return float(known.mean()) if len(known) else UNKNOWN


def _births(first_seen: Floats, inside: Mask, eligible: Mask) -> float:
    """The spread of all other keys' first requests over that of the members'.

    Keys that were there in the stream's first hour may be older; when they began is unknown. Such
    members count as spread like the others. The upper confidence bound of the members' spread is
    used, so a few times that are close by chance do not matter.

    Args:
        first_seen: `(n,) float64`, epoch seconds.
        inside, eligible: `(n,) bool`, which keys are members, and which may be.
    """
    known = first_seen > first_seen.min() + HOUR
    members, others = first_seen[known & inside], first_seen[known & eligible & ~inside]
    if len(members) < 2 or len(others) < _MIN_OTHERS:
        return 1.0
    spread = robust_deviation(members) * (1.0 + 1.92 / math.sqrt(len(members)))
    ratio = max(robust_deviation(others), MINUTE) / max(spread, MINUTE)
    return float(ratio ** (len(members) / np.count_nonzero(inside)))


def _p_random(cosine: npt.NDArray[np.float64], members: npt.NDArray[np.bool_]) -> float:
    """The probability that a random group of as many keys follows the group's direction as closely.

    The mean of the keys' cosines with that direction is nearly normal. Each member's cosine is with
    all other members, so the cosines are correlated: only half of them are counted.
    """
    others = cosine[~members]
    if len(others) < 2:
        return 1.0
    error = max(float(others.std()), 1e-3) / math.sqrt(np.count_nonzero(members) / 2.0)
    z = float(cosine[members].mean() - others.mean()) / error
    return max(0.5 * math.erfc(z / math.sqrt(2.0)), _MIN_P)


def _similarity_between(each: KernelMeans) -> float:
    """The similarity of two members' prompts, relative to that of two prompts of one member."""
    total, pairs = each.sum.sum(axis=0), each.weight.sum() ** 2 - (each.weight**2).sum()
    between = (float(total @ total) - float((each.sum**2).sum())) / max(float(pairs), 1e-9)
    return between / max(float(np.median(each.self_similarity)), 1e-9)


def _distinct(fingerprints: Fingerprints) -> float:
    """Different prompts of all members together."""
    registers = fingerprints["distinct"][:, FINGERPRINT_DISTINCT.index("prompts")]
    union = (registers & 15).max(axis=0) | (registers & 0xF0).max(axis=0)
    return float(hyperloglog.estimate(union[None])[0])


def _largest_share(values: npt.NDArray[np.uint64]) -> float:
    """The share of the most common identifier among those that are known (not 0)."""
    known = values[values != 0]
    if not len(known):
        return 0.0
    return float(np.unique(known, return_counts=True)[1].max() / len(known))


def _unevenness(fingerprints: Fingerprints) -> float:
    """The variation of the members' requests per hour, pooled.

    Returns:
        the squared coefficient of variation beyond that of a Poisson process; `UNKNOWN` if fewer
        than three members have two complete hours.
    """
    counts, complete = hours(fingerprints)
    n = complete.sum(axis=1)
    known = n >= 2
    if np.count_nonzero(known) < 3:
        return UNKNOWN
    counts, complete, n = counts[known], complete[known], n[known]
    mean = (counts * complete).sum(axis=1) / n
    variance = (((counts - mean[:, None]) * complete) ** 2).sum(axis=1) / (n - 1)
    return float((variance - mean).sum() / max(float((mean**2).sum()), 1e-9))


def _rate_spread(rate: npt.NDArray[np.float64], requests: npt.NDArray[np.uint32]) -> float:
    """The standard deviation of the members' request rates beyond chance, in octaves.

    It follows from the median deviation, so a few wrong members do not matter. The 95% upper
    confidence bound is used, so a few rates that are close by chance do not matter either.

    Args:
        rate: `(m,) float64`, log2 of requests per hour.
        requests: `(m,) uint32`.
    """
    spread = robust_deviation(rate)
    spread *= 1.0 + 1.92 / math.sqrt(len(rate))
    chance = float(np.median(1.0 / (requests * math.log(2.0) ** 2)))
    return math.sqrt(max(spread**2 - chance, 0.0))

"""Campaign criteria: the one table that the verdict, the views and the documentation read.

A group of keys is a campaign if it is more likely one than not. Each criterion looks at one trait
of the group and gives a log-likelihood ratio in nats: a trait is clipped to a range, placed in it
from 0 to 1, and compared with a neutral place where it says nothing. Its weight bounds what it can
say, so no trait decides alone. A fleet may vary its rates, its hours or its payments, and an honest
group may have any one trait of a fleet. A trait that is unknown gives 0 nats.

`verdict.py` computes the traits. `weights.json` has the weights, fitted to labelled days by
`pipelines/modelling/fit_campaigns.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from monitor.errors import ConfigError

UNKNOWN = 99.0  # value of a trait that is unknown
MAX_NATS = 4.0  # of one criterion, for or against
SHIPPED = Path(__file__).with_name("weights.json")
_NAMED = 3  # criteria in a reason


@dataclass(frozen=True, slots=True)
class Criterion:
    """What one trait of a group says.

    Attributes:
        id: unique name.
        evidence: name of the trait in the campaign's evidence.
        low, high: values beyond which the trait says no more.
        rising: whether higher values are more like a campaign.
        ratio: whether the trait is placed by its logarithm.
        unit: of the trait; empty for counts, shares and ratios.
        measures: what the trait is.
        met, not_met: what it means if it speaks for a campaign or against one, in plain words.
    """

    id: str
    evidence: str
    low: float
    high: float
    rising: bool
    ratio: bool
    unit: str
    measures: str
    met: str
    not_met: str

    def place(self, value: float) -> float:
        """The place of a value between the least (0) and the most (1) like a campaign."""
        value = min(max(value, self.low), self.high)
        if self.ratio:
            at = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            at = (value - self.low) / (self.high - self.low)
        return at if self.rising else 1.0 - at

    def value(self, place: float) -> float:
        """The value at a place."""
        at = place if self.rising else 1.0 - place
        if self.ratio:
            return float(self.low * (self.high / self.low) ** at)
        return self.low + at * (self.high - self.low)


CRITERIA = (
    Criterion(
        "births",
        "births",
        0.5,
        8.0,
        True,
        True,
        "",
        "spread of all keys' first requests over that of the members'; 1 if unknown",
        "they began together",
        "they began at different times, or before the monitor did",
    ),
    Criterion(
        "one-rate",
        "pace_spread",
        0.25,
        2.5,
        False,
        True,
        "octaves",
        "spread of the members' request rates, beyond chance",
        "they send at similar rates",
        "each has its own request rate",
    ),
    Criterion(
        "steady",
        "uneven",
        0.03,
        8.0,
        False,
        True,
        "",
        "squared coefficient of variation of requests per hour, beyond chance",
        "they send steadily, hour after hour",
        "they come in sessions, as users do",
    ),
    Criterion(
        "split-list",
        "recurrence",
        1.0,
        8.0,
        False,
        True,
        "",
        "prompts of all members together, relative to the different ones among them",
        "together they send each prompt about once, as from a list",
        "they send the same prompts again and again, as classmates do",
    ),
    Criterion(
        "no-repeats",
        "repeats",
        0.0,
        0.8,
        False,
        False,
        "",
        "share of the median member's prompts that it had sent before",
        "none repeats its own prompts",
        "each repeats its own prompts",
    ),
    Criterion(
        "no-follow-ups",
        "follow_ups",
        0.0,
        0.8,
        False,
        False,
        "",
        "share of the median member's requests that continue a conversation",
        "they do not follow up on answers",
        "they hold conversations",
    ),
    Criterion(
        "no-end-users",
        "end_users",
        1.0,
        16.0,
        False,
        True,
        "",
        "end users of the median member, at least 1",
        "they serve no end users",
        "they serve many end users",
    ),
    Criterion(
        "no-timers",
        "timers",
        0.0,
        12.0,
        False,
        False,
        "nats",
        "mean of the members' sequential tests for the gaps of a timer",
        "their requests do not come from timers",
        "their requests come at fixed intervals, as from scheduled jobs",
    ),
    Criterion(
        "one-task",
        "common",
        0.1,
        0.35,
        True,
        False,
        "",
        "similarity of two members' prompts, relative to two prompts of one member",
        "they work on one task",
        "each works on a task of its own",
    ),
    Criterion(
        "not-random",
        "probability",
        1e-12,
        1.0,
        False,
        True,
        "",
        "chance that as many random keys deviate as much together",
        "random keys do not deviate as much together",
        "random keys deviate as much together",
    ),
    Criterion(
        "unusual-members",
        "surprise",
        0.0,
        8.0,
        True,
        False,
        "nats",
        "mean surprisal (-log p) of the members' strongest detectors of prompts",
        "detectors find the members' prompts unusual",
        "detectors find the members' prompts ordinary",
    ),
    Criterion(
        "own-alerts",
        "accused_share",
        0.0,
        1.0,
        True,
        False,
        "",
        "share of members with an open alert of their own, warning or worse",
        "members also triggered their own alerts",
        "few members triggered their own alerts",
    ),
    Criterion(
        "depth",
        "distinct_prompts",
        32.0,
        2048.0,
        True,
        True,
        "",
        "different prompts of all members together",
        "together they send many different prompts",
        "together they send few different prompts",
    ),
    Criterion(
        "many-payments",
        "largest_payment_share",
        0.3,
        1.0,
        False,
        False,
        "",
        "share of members with the most common payment",
        "they do not pay as one customer",
        "they are openly one customer",
    ),
    Criterion(
        "rate",
        "requests_an_hour",
        1.0,
        32.0,
        True,
        True,
        "",
        "requests per hour of the median member",
        "they send many requests",
        "they send few requests",
    ),
    Criterion(
        "size",
        "members",
        2.0,
        32.0,
        True,
        True,
        "",
        "members with at least 95% confidence",
        "there are enough members to rule out chance",
        "there are few members",
    ),
)


class Weight(msgspec.Struct, frozen=True):
    """What a criterion is worth.

    Attributes:
        weight: nats between the least and the most like a campaign.
        neutral: place that says nothing.
    """

    weight: float
    neutral: float


class Weights(msgspec.Struct, frozen=True):
    """The fitted part of the verdict.

    Attributes:
        prior: log odds of a group of which all traits are neutral or unknown.
        criteria: by id.
    """

    prior: float
    criteria: dict[str, Weight]


@cache
def load(path: Path | None = None) -> Weights:
    """The weights in a file; default: the shipped ones.

    Raises:
        ConfigError: if the file cannot be used.
    """
    try:
        weights = msgspec.json.decode((path or SHIPPED).read_bytes(), type=Weights)
    except OSError as error:
        raise ConfigError(
            f"The weights {path} (XM_CAMPAIGNS__WEIGHTS) cannot be read: {error.strerror}."
        ) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"{path} (XM_CAMPAIGNS__WEIGHTS) does not hold weights of criteria: {error}. "
            "Unset it to use the shipped ones."
        ) from error
    if different := weights.criteria.keys() ^ {each.id for each in CRITERIA}:
        raise ConfigError(
            f"{path} (XM_CAMPAIGNS__WEIGHTS) must have a weight for each criterion and no others; "
            f"check {', '.join(sorted(different))}. Unset it to use the shipped ones."
        )
    return weights


class Result(NamedTuple):
    """A criterion applied to a group: the value, and its log-likelihood ratio in nats."""

    criterion: Criterion
    value: float
    nats: float
    bound: float  # value that says nothing

    @property
    def met(self) -> bool:
        """Whether the value speaks for a campaign."""
        return self.nats > 0.0

    @property
    def known(self) -> bool:
        """Whether there was enough to compute the value."""
        return self.value != UNKNOWN

    @property
    def meaning(self) -> str:
        """What the result means, in plain words."""
        if not self.known:
            return "there is too little to tell"
        return self.criterion.met if self.met else self.criterion.not_met


def apply(evidence: Mapping[str, float], weights: Weights) -> list[Result]:
    """Apply all criteria whose traits are in a group's evidence."""
    results = []
    for each in CRITERIA:
        if each.evidence not in evidence or each.id not in weights.criteria:
            continue
        value, given = evidence[each.evidence], weights.criteria[each.id]
        nats = 0.0 if value == UNKNOWN else given.weight * (each.place(value) - given.neutral)
        results.append(Result(each, value, nats, each.value(given.neutral)))
    return results


def log_odds(results: Iterable[Result], weights: Weights, without: Sequence[str] = ()) -> float:
    """Log odds that a group is a campaign, from all criteria or without some of them, nats."""
    return weights.prior + sum(r.nats for r in results if r.criterion.id not in without)


def reason(results: Iterable[Result], campaign: bool) -> str:
    """The criteria that speak most for the verdict, in plain words."""
    sign = 1.0 if campaign else -1.0
    strongest = sorted(results, key=lambda result: -sign * result.nats)[:_NAMED]
    return "; ".join(result.meaning for result in strongest if sign * result.nats > 0.0)

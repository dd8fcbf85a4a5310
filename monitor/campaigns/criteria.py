"""Campaign criteria: the one table that the verdict, the views and the documentation read.

A group of keys is a campaign if it meets the required criteria and those of one route:

- Alerts: most members also triggered their own alerts.
- Coordination: ten or more keys split one prompt list at a steady common rate. No group of users
  and no set of applications meets all criteria of this route: users come in sessions, applications
  have different rates or one template each, classmates send the same prompts, and the keys of one
  customer have one payment.

`verdict.py` computes the evidence.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

MAX_VARIETY = 3.4  # log2 of prompts per template; more is an application's
UNKNOWN = 99.0  # value of `uneven` with too few complete hours

Comparison = Literal["≥", "≤", "<"]
_COMPARE = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition on the evidence of a group.

    Attributes:
        id: unique name.
        evidence: name of the number in the campaign's evidence.
        comparison, bound: the condition.
        unit: of the number and the bound; empty for counts, shares and ratios.
        measures: what the number is.
        met, not_met: what it means, in plain words.
        unknown: what it means if the number is `UNKNOWN`.
        below_members: the criterion applies to groups with fewer members only; `None`: to all.
    """

    id: str
    evidence: str
    comparison: Comparison
    bound: float
    unit: str
    measures: str
    met: str
    not_met: str
    unknown: str = ""
    below_members: int | None = None

    def applies(self, members: float) -> bool:
        """Whether the criterion applies to a group of this size."""
        return self.below_members is None or members < self.below_members

    def is_met(self, value: float) -> bool:
        """Whether a value meets the criterion."""
        return bool(_COMPARE[self.comparison](value, self.bound))


@dataclass(frozen=True, slots=True)
class Route:
    """Criteria that a group has to meet together, and the reason that they give."""

    id: Literal["required", "alerts", "coordination"]
    title: str
    reason: str
    criteria: tuple[Criterion, ...]


REQUIRED = Route(
    "required",
    "required",
    "their prompts deviate from the baseline together",
    (
        Criterion(
            "deviation",
            "deviation",
            "≥",
            0.8,
            "standard deviations",
            "distance of the members' mean prompt from the baseline",
            "their prompts differ from the baseline",
            "their prompts are close to the baseline",
        ),
        Criterion(
            "not-random",
            "probability",
            "≤",
            1e-6,
            "",
            "chance that as many random keys deviate as much together",
            "random keys do not deviate as much together",
            "random keys deviate as much together",
        ),
    ),
)
ALERTS = Route(
    "alerts",
    "and either",
    "most members also triggered their own alerts",
    (
        Criterion(
            "own-alerts",
            "accused_share",
            "≥",
            0.5,
            "",
            "share of members with an open alert of their own, warning or worse",
            "most members also triggered their own alerts",
            "few members triggered their own alerts",
        ),
    ),
)
COORDINATION = Route(
    "coordination",
    "or all of",
    "they split one prompt list at a steady common rate",
    (
        Criterion(
            "split-list",
            "shards",
            "≥",
            3.0,
            "",
            "templates of all members together, relative to those of one member",
            "members send different parts of a list",
            "they send the same prompts, as classmates do",
        ),
        Criterion(
            "one-task",
            "common",
            "≥",
            0.3,
            "",
            "similarity of two members' prompts, relative to two prompts of one member",
            "they work on one task",
            "each works on a task of its own",
            below_members=40,
        ),
        Criterion(
            "many-payments",
            "largest_payment_share",
            "<",
            0.8,
            "",
            "share of members with the most common payment",
            "they do not pay as one customer",
            "they are openly one customer",
        ),
        Criterion(
            "steady",
            "uneven",
            "≤",
            0.15,
            "",
            "squared coefficient of variation of requests per hour, beyond chance",
            "they send steadily, hour after hour",
            "they come in sessions, as users do",
            unknown="there are too few complete hours to tell whether they send steadily",
        ),
        Criterion(
            "one-rate",
            "pace_spread",
            "≤",
            0.3,
            "octaves",
            "spread of the members' request rates, beyond chance",
            "they share one request rate",
            "each has its own request rate",
        ),
        Criterion(
            "varied-prompts",
            "prompts_a_template",
            "≤",
            2.0**MAX_VARIETY,
            "",
            "prompts per template of the median member",
            "their prompts vary as a user's do",
            "each fills in templates, as applications do",
        ),
        Criterion(
            "unusual-members",
            "surprise",
            "≥",
            2.0,
            "nats",
            "mean surprisal (-log p) of the members' strongest detectors",
            "detectors find the members unusual",
            "detectors find the members ordinary",
        ),
        Criterion(
            "size",
            "members",
            "≥",
            10.0,
            "",
            "members with at least 95% confidence",
            "there are enough members to rule out chance",
            "there are too few members",
        ),
    ),
)
ROUTES = (REQUIRED, ALERTS, COORDINATION)


class Result(NamedTuple):
    """A criterion applied to a group."""

    route: Route
    criterion: Criterion
    value: float
    met: bool

    @property
    def known(self) -> bool:
        """Whether there was enough to compute the value."""
        return not (self.criterion.unknown and self.value == UNKNOWN)

    @property
    def meaning(self) -> str:
        """What the result means, in plain words."""
        if not self.known:
            return self.criterion.unknown
        return self.criterion.met if self.met else self.criterion.not_met


def apply(evidence: Mapping[str, float]) -> list[Result]:
    """Apply all criteria whose numbers are in a group's evidence, `members` among them."""
    return [
        Result(route, criterion, value, criterion.is_met(value))
        for route in ROUTES
        for criterion in route.criteria
        if criterion.evidence in evidence and criterion.applies(evidence["members"])
        for value in [evidence[criterion.evidence]]
    ]


def is_campaign(results: Iterable[Result]) -> bool:
    """Whether the required criteria and those of one route are met."""
    failed = {result.route.id for result in results if not result.met}
    return "required" not in failed and len(failed) < 2


def is_coordinated(results: Iterable[Result]) -> bool:
    """Whether all criteria of the route COORDINATION are met."""
    return all(result.met for result in results if result.route is COORDINATION)


def reason(results: Sequence[Result]) -> str:
    """Why a group is a campaign, from met criteria only; or why it is none."""
    failed = [result for result in results if not result.met]
    routes = {result.route.id for result in failed}
    if is_campaign(results):
        return next(route.reason for route in ROUTES[1:] if route.id not in routes)
    return "; ".join(
        result.meaning for result in failed if "required" not in routes or result.route is REQUIRED
    )

"""A group of keys heard again: who is of it and why, and how it answers the verdict's questions.

A linker remembers of a group who belongs to it, not what speaks for each. That follows from the
population: one step over it, as a round takes, and the verdict put anew. Nothing is written, so the
group is afterwards what it was.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.campaigns import verdict
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.membership import SURE, Group
from monitor.campaigns.rounds import eligible, recall
from monitor.linker import LinkPartition

_EITHER_WAY = "either way"
_TOO_SOON = "it is too soon to tell how evenly they come"

Rows = npt.NDArray[np.int64]


class _Asked(NamedTuple):
    name: str
    least: bool  # whether the bound is the least or the most that is asked for
    bound: float
    asks: str
    failed: str


_COMMON = (
    _Asked(
        "deviation",
        True,
        verdict.FARTHER,
        "standard deviations from the public to their mean prompt",
        "their prompts lie near the public's",
    ),
    _Asked(
        "probability",
        False,
        verdict.UNLIKE,
        "that random keys deviate as much together",
        "random keys deviate as much together",
    ),
)
_BY_MEMBERS = (
    _Asked(
        "accused_share",
        True,
        verdict.ACCUSED,
        "of them are accused by themselves",
        "few are accused by themselves",
    ),
)
_BY_PACE = (
    _Asked(
        "shards",
        True,
        verdict.SHARDS,
        "times as many templates in all as each of them has",
        "they ask the same, as classmates do",
    ),
    _Asked(
        "common",
        True,
        verdict.COMMON,
        "as alike are two members' prompts as two of one member's",
        "each works at something of its own",
    ),
    _Asked(
        "largest_payment_share",
        False,
        verdict.ONE_CUSTOMER,
        "of them have one payment",
        "they are openly one customer",
    ),
    _Asked(
        "uneven",
        False,
        verdict.EVEN,
        "unevenness of their hours, beyond chance",
        "they come and go, as people do",
    ),
    _Asked(
        "pace_spread",
        False,
        verdict.ONE_PACE,
        "octaves that their paces are apart, beyond chance",
        "each has a pace of its own",
    ),
    _Asked(
        "prompts_a_template",
        False,
        2.0**verdict.VARIED,
        "prompts to a template",
        "each fills in templates, as applications do",
    ),
    _Asked(
        "surprise",
        True,
        verdict.SURPRISE,
        "nats that detectors are surprised at each",
        "detectors are hardly surprised at them",
    ),
    _Asked("members", True, verdict.MANY, "keys that are surely of it", "they are few"),
)


class Question(msgspec.Struct, frozen=True):
    """A question, what a group answers, and what would speak for a campaign."""

    name: str
    asks: str
    value: float | None  # if it can be told
    bound: float
    least: bool  # whether the bound is the least or the most that is asked for
    met: bool
    way: str  # of being guilty, in which it is asked


class Hearing(NamedTuple):
    """A group as it is now.

    Attributes:
        group: over the whole population, with the nats of every kind of evidence.
        members: rows of those who are surely of it; of a campaign, of those named.
        evidence: the numbers of its last verdict.
    """

    group: Group
    members: Rows
    evidence: dict[str, float]


def hear(shard: LinkPartition, campaign: Campaign) -> Hearing:
    """Hear one of a partition's groups again."""
    population, group = shard.population, recall(campaign, shard.population)
    if not campaign.member:
        group.member[population.rows_of(campaign.named)] = 1.0
    sure = np.flatnonzero(group.member > SURE)
    among = _among(shard, campaign)
    group.step(population, among)
    if campaign.named:
        return Hearing(group, population.rows_of(campaign.named), campaign.evidence)
    if len(sure) < 2:
        return Hearing(group, sure, {})
    return Hearing(group, sure, verdict.judge(population, group, sure, among).evidence)


def _among(shard: LinkPartition, campaign: Campaign) -> npt.NDArray[np.bool_]:
    """Who may belong to a group: who is surely of another campaign may not."""
    others = [c for c in shard.rounds.campaigns if c is not campaign]
    held = [key for c in others if c.opened for key, p in c.member.items() if p > SURE]
    among = eligible(shard.population, [campaign, *others], shard.watermark)
    among[shard.population.rows_of(held)] = False
    return among


def questions(hearing: Hearing) -> list[Question]:
    """How a group answers, as far as it has been asked."""
    numbers = {**hearing.evidence, "members": float(len(hearing.members))}
    ways = {_EITHER_WAY: _COMMON, "by its members": _BY_MEMBERS, "by its pace": _BY_PACE}
    return [
        Question(
            asked.name,
            asked.asks,
            _told(asked.name, value := numbers[asked.name]),
            asked.bound,
            asked.least,
            value >= asked.bound if asked.least else value <= asked.bound,
            way,
        )
        for way, some in ways.items()
        for asked in some
        if asked.name in numbers and hearing.evidence
        if asked.name != "common" or len(hearing.members) < verdict.CROWD  # of many it is not asked
    ]


def _told(name: str, value: float) -> float | None:
    return None if (name, value) == ("uneven", verdict.UNTOLD) else value


def why_not(asked: list[Question]) -> str:
    """Why a group is no campaign, in words: what is asked either way first, for it decides."""
    if not asked:
        return "hardly any key is of it"
    words = {each.name: each.failed for each in (*_COMMON, *_BY_MEMBERS, *_BY_PACE)}
    failed = [question for question in asked if not question.met]
    ways = {question.way for question in failed}
    if _EITHER_WAY not in ways and len(ways) < 2:
        return "the next round may find that it is one"
    return "; ".join(
        words[question.name] if question.value is not None else _TOO_SOON
        for question in failed
        if _EITHER_WAY not in ways or question.way == _EITHER_WAY
    )

"""The groups of keys that linkers know: which of them are campaigns, and why the others are none.

Read from Redis as the last checkpoint left it, without a claim, so it disturbs no worker; or handed
over by a replay at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
import numpy as np

from monitor.alerting.alerts import SEVERITIES, Action, Severity
from monitor.alerting.decisions import action_for
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.population import hours
from monitor.config import Settings
from monitor.errors import InputError
from monitor.linker import LinkPartition
from monitor.store.redis import RedisStore
from pipelines.inspect.criteria import Hearing, hear, questions, why_not

State = Literal["open", "over", "merged", "none"]
SHORT = 10  # characters of an id by which a campaign is called
_STATES = ("open", "over", "merged", "none")


class Line(msgspec.Struct, frozen=True):
    """A line of the table. Times are event time, epoch seconds.

    Attributes:
        since: when it was found to be a campaign; of a group that is none, when it was found.
        hour: requests of its members in the last whole hour.
        decision: what its alert calls for.
        reason: why it is a campaign, or why it is none.
    """

    id: str
    since: float
    state: State
    severity: Severity | None
    members: int
    requests: int
    tokens: int
    hour: int
    decision: Action
    reason: str
    ended: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """What is printed."""

    until: float  # event time of the newest fingerprint
    keys: int  # among which campaigns are looked for
    none: int  # groups that are no campaigns
    campaigns: list[Line]


def read(settings: Settings) -> list[LinkPartition]:
    """The partitions of fingerprints as they are in Redis, claimed by nobody here.

    Raises:
        InputError: if there are none.
    """
    store = RedisStore(settings.redis_url, settings.record_seconds)
    shards = list(link_partitions(store, settings))
    for shard in shards:
        shard.population.load(store.rows(shard.name))
    if not shards:
        raise InputError(
            f"Redis at {store.server} knows nothing of {settings.topics.fingerprints}: start a "
            "worker (`xm worker`), or name the topic that it writes, XM_TOPICS__FINGERPRINTS."
        )
    return shards


def link_partitions(store: RedisStore, settings: Settings) -> Iterator[LinkPartition]:
    """The partitions of fingerprints in Redis, without the rows of their populations."""
    for number in range(settings.topics.linkers):
        name = f"{settings.topics.fingerprints}:{number}"
        state = store.state(name)
        if state is not None:
            partition = LinkPartition(name, 0, settings)
            partition.restore(state)
            yield partition


def find(shards: Iterable[LinkPartition], name: str) -> tuple[LinkPartition, Campaign]:
    """The one campaign or group whose id begins so.

    Raises:
        InputError: if there is none, or more than one.
    """
    found = [
        (shard, campaign)
        for shard in shards
        for campaign in shard.rounds.campaigns
        if campaign.id.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"No campaign's id begins with {name}: `xm campaigns --all` has all ids.")
    which = ", ".join(campaign.id for _, campaign in found[:5])
    raise InputError(f"{len(found)} ids begin with {name}: write more of one of {which}.")


def survey(
    shards: Iterable[LinkPartition], *, over: bool = False, everything: bool = False
) -> Report:
    """Campaigns, the worst first.

    Args:
        over: whether those that are over are among them.
        everything: whether groups that are none are, too.
    """
    shards = list(shards)
    groups = [(shard, campaign) for shard in shards for campaign in shard.rounds.campaigns]
    wanted = [
        line(shard, campaign, hear(shard, campaign))
        for shard, campaign in groups
        if everything or campaign.opened or (over and campaign.named)
    ]
    return Report(
        max((shard.watermark for shard in shards), default=0.0),
        sum(len(shard.population) for shard in shards),
        sum(state_of(campaign) == "none" for _, campaign in groups),
        sorted(wanted, key=_rank),
    )


def line(shard: LinkPartition, campaign: Campaign, hearing: Hearing) -> Line:
    """What is first said of a group."""
    said = shard.population.rows["said"][hearing.members]
    counts, _ = hours(said)
    ages = shard.watermark // 3600 - said["long_head"]  # of each key's newest hour
    last = counts[np.arange(len(said)), np.clip(1 - ages, 0, 1).astype(int)] * (ages <= 1)
    state = state_of(campaign)
    severity = None if state == "none" else campaign.severity
    born = next((moment.at for moment in campaign.timeline), campaign.found)
    return Line(
        id=campaign.id,
        since=campaign.opened or born,
        state=state,
        severity=severity,
        members=len(hearing.members if state == "none" else campaign.named),
        requests=int(said["requests"].sum()),
        tokens=round(float(said["tokens"].sum())),
        hour=int(last.sum()),
        decision=action_for("campaign", severity) if severity and state == "open" else "observe",
        reason=_reason(campaign, hearing),
        ended=campaign.timeline[-1].at if state in ("over", "merged") else 0.0,
    )


def state_of(campaign: Campaign) -> State:
    """Whether it is a campaign, was one, has gone over into another, or is none."""
    if campaign.opened:
        return "open"
    if not campaign.named:
        return "none"
    return "merged" if campaign.timeline[-1].change == "merged" else "over"


def _reason(campaign: Campaign, hearing: Hearing) -> str:
    if state_of(campaign) == "none":
        return why_not(questions(hearing))
    if state_of(campaign) == "merged":
        return f"part of {campaign.timeline[-1].other[:SHORT]}"
    return campaign.reason


def _rank(line: Line) -> tuple[int, int, int]:
    severity = SEVERITIES.index(line.severity) if line.severity else -1
    return _STATES.index(line.state), -severity, -line.members

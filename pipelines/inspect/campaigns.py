"""List the groups of keys that linkers have found: campaigns, and why other groups are none.

The groups come from the last checkpoint in Redis, read without a claim, so no worker is disturbed;
or from a replay, at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from monitor.alerting.alerts import SEVERITIES, Action, Severity
from monitor.alerting.policy import action_for
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.usage import hours
from monitor.config import Settings
from monitor.errors import InputError
from monitor.linker import LinkPartition
from monitor.records.profile import HOUR
from pipelines.inspect.criteria import Evaluated, evaluate, why_not

if TYPE_CHECKING:
    from monitor.store.redis import RedisStore

State = Literal["open", "over", "merged", "none"]
SHORT = 10  # characters of an id in a sentence about another campaign
_STATES = ("open", "over", "merged", "none")


class CampaignSummary(msgspec.Struct, frozen=True):
    """A campaign, or a group that is none, in a list. Times are event time, epoch seconds.

    Attributes:
        since: when it became a campaign; of a group that is none, when it was found.
        last_hour: requests of its members in the last complete hour.
        decision: the decision on its members.
        reason: why it is a campaign, or why it is none.
        ended: when it ended or merged; 0 before.
    """

    id: str
    since: float
    state: State
    severity: Severity | None
    members: int
    requests: int
    tokens: int
    last_hour: int = msgspec.field(name="hour")
    decision: Action
    reason: str
    ended: float = 0.0


class CampaignList(msgspec.Struct, frozen=True):
    """Campaigns and the population in which they were found.

    Attributes:
        until: event time of the newest fingerprint, epoch seconds.
        keys: size of the population.
        not_campaigns: groups that are no campaigns.
        campaigns: those that were asked for.
    """

    until: float
    keys: int
    not_campaigns: int = msgspec.field(name="none")
    campaigns: list[CampaignSummary]


def load_partitions(settings: Settings) -> list[LinkPartition]:
    """The partitions of fingerprints in Redis, without a claim.

    Raises:
        InputError: if there are none.
    """
    from monitor.store.redis import RedisStore

    store = RedisStore(settings.redis_url, settings.record_seconds)
    partitions = list(link_partitions(store, settings))
    for partition in partitions:
        partition.population.load(store.rows(partition.name))
    if not partitions:
        raise InputError(
            f"Redis at {store.server} has no campaigns of {settings.topics.fingerprints}: start "
            "a worker (`xm worker`), or set XM_TOPICS__FINGERPRINTS to the topic of your workers."
        )
    return partitions


def link_partitions(store: RedisStore, settings: Settings) -> Iterator[LinkPartition]:
    """The partitions of fingerprints in Redis, without the rows of their populations."""
    for number in range(settings.topics.linkers):
        name = f"{settings.topics.fingerprints}:{number}"
        state = store.state(name)
        if state is not None:
            partition = LinkPartition(name, 0, settings)
            partition.restore(state)
            yield partition


def find_campaign(
    partitions: Iterable[LinkPartition], prefix: str
) -> tuple[LinkPartition, Campaign]:
    """The one campaign or group whose id begins with a prefix.

    Raises:
        InputError: if there is none, or more than one.
    """
    found = [
        (partition, campaign)
        for partition in partitions
        for campaign in partition.rounds.campaigns
        if campaign.id.startswith(prefix)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"No campaign id begins with {prefix}: `xm campaigns --all` has all ids.")
    which = ", ".join(campaign.id for _, campaign in found[:5])
    raise InputError(f"{len(found)} ids begin with {prefix}: write a longer prefix of {which}.")


def list_campaigns(
    partitions: Iterable[LinkPartition], *, ended: bool = False, everything: bool = False
) -> CampaignList:
    """List campaigns, the most severe first.

    Args:
        ended: include campaigns that have ended.
        everything: include groups that are no campaigns, too.
    """
    partitions = list(partitions)
    groups = [(part, campaign) for part in partitions for campaign in part.rounds.campaigns]
    wanted = [
        summarize(partition, campaign, evaluate(partition, campaign))
        for partition, campaign in groups
        if everything or campaign.opened or (ended and campaign.named)
    ]
    return CampaignList(
        until=max((partition.watermark for partition in partitions), default=0.0),
        keys=sum(len(partition.population) for partition in partitions),
        not_campaigns=sum(state_of(campaign) == "none" for _, campaign in groups),
        campaigns=sorted(wanted, key=_rank),
    )


def summarize(
    partition: LinkPartition, campaign: Campaign, evaluated: Evaluated
) -> CampaignSummary:
    """One line about a group."""
    fingerprints = partition.population.rows["fingerprint"][evaluated.members]
    counts, _ = hours(fingerprints)
    ages = partition.watermark // HOUR - fingerprints["long_head"]  # of each key's newest hour
    last = counts[np.arange(len(counts)), np.clip(1 - ages, 0, 1).astype(int)] * (ages <= 1)
    state = state_of(campaign)
    severity = None if state == "none" else campaign.severity
    first = next((entry.at for entry in campaign.timeline), campaign.found)
    return CampaignSummary(
        id=campaign.id,
        since=campaign.opened or first,
        state=state,
        severity=severity,
        members=len(evaluated.members if state == "none" else campaign.named),
        requests=int(fingerprints["requests"].sum()),
        tokens=round(float(fingerprints["tokens"].sum())),
        last_hour=int(last.sum()),
        decision=action_for("campaign", severity) if severity and state == "open" else "observe",
        reason=_reason(campaign, evaluated),
        ended=campaign.timeline[-1].at if state in ("over", "merged") else 0.0,
    )


def state_of(campaign: Campaign) -> State:
    """Whether a group is a campaign, was one, has merged into another, or is none."""
    if campaign.opened:
        return "open"
    if not campaign.named:
        return "none"
    return "merged" if campaign.timeline[-1].change == "merged" else "over"


def _reason(campaign: Campaign, evaluated: Evaluated) -> str:
    if state_of(campaign) == "none":
        return why_not(evaluated)
    if state_of(campaign) == "merged":
        return f"merged into {campaign.timeline[-1].other[:SHORT]}"
    return campaign.reason


def _rank(summary: CampaignSummary) -> tuple[int, int, int]:
    severity = SEVERITIES.index(summary.severity) if summary.severity else -1
    return _STATES.index(summary.state), -severity, -summary.members

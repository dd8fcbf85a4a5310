"""The facts about a campaign.

They follow from the linker's partition as of one offset, and from the alert messages up to there.
With the whole population they say what ties each member to the others and who else has the shared
identifiers. With the members' rows alone they have neither, and take a fraction of a second in a
population of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from monitor.alerting.alerts import SEVERITIES, Action, Alert, OpenAlert, alert_id
from monitor.alerting.policy import LIMIT_OF_FEW, Policy
from monitor.campaigns.alerts import KIND
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.criteria import UNKNOWN
from monitor.campaigns.fingerprint import FEW_END_USERS
from monitor.campaigns.membership import SURE
from monitor.campaigns.population import Population
from monitor.campaigns.usage import hours
from monitor.config import Settings
from monitor.detectors.base import counted
from monitor.evidence.facts import (
    DecisionFact,
    Facts,
    FindingFact,
    ImportFact,
    MemberFact,
    Moment,
    Number,
    SharedFact,
    StreamRange,
    Versions,
)
from monitor.linker import LinkPartition
from monitor.records.profile import HOUR
from pipelines.cases.facts import labels, words
from pipelines.inspect.campaign import campaign_detail

_CHANGES = {
    "born": "The group was found to be a campaign.",
    "split": "It became a campaign of its own, apart from {other}.",
    "grown": "It had more members.",
    "merged": "It was merged with {other}.",
    "ended": "It ended.",
}


IMPORTED_PREFIX = "indicator "  # of the names of numbers that follow from partners' indicators
_DECIMALS = 3  # of the evidence on a member
_LISTED = 20_000  # members, as in alerts: an entry of a case is limited in size


class Known(NamedTuple):
    """What the facts about a campaign follow from.

    Attributes:
        partition: with the whole population, or with the rows of members and bystanders.
        whole: which of them.
        messages: alert messages about the campaign.
        stream, complete: see `Facts`.
    """

    partition: LinkPartition
    campaign: Campaign
    whole: bool
    messages: Sequence[Alert]
    stream: list[StreamRange]
    complete: bool


def campaign_facts(known: Known, settings: Settings, versions: Versions) -> Facts:
    """Collect the facts about a campaign, or about a group that is none."""
    partition, campaign = known.partition, known.campaign
    own = own_alert_id(campaign)
    messages = words.latest(
        each
        for each in (*known.messages, *partition.outbox)
        if each.id == own and each.detected_at <= partition.watermark
    )
    detail = _detail(partition, campaign) if known.whole else ([], [], {})
    members = _members(partition.population, campaign, detail)
    inside = [each for each in members if each.role == "member"]
    requests, tokens = sum(each.requests for each in inside), sum(each.tokens for each in inside)
    first = min((each.first_seen for each in inside), default=0.0)
    last = max((each.last_seen for each in inside), default=0.0)
    alerted = bool(campaign.named)
    finding = _finding(known, inside) if alerted else None
    confidence = float(np.mean([each.confidence for each in inside])) if inside else 0.0
    who = f"{counted(len(inside), 'key')}, members with a mean confidence of {confidence:.1%},"
    what = f"{who} sent {words.volume(requests, tokens)} {words.span(first, last)}"
    reason = campaign.reason or "no evaluation has found a campaign"
    return Facts(
        subject=campaign.id,
        type="campaign",
        at=partition.watermark,
        severity=words.most_severe(
            [campaign.severity if alerted else None, *(each.severity for each in messages)]
        ),
        statement=f"{what}: {reason}.",
        requests=requests,
        tokens=tokens,
        first_seen=first,
        last_seen=last,
        versions=versions,
        findings=[finding] if finding else [],
        members=[*inside[:_LISTED], *members[len(inside) :]],
        shared=detail[1],
        timeline=_timeline(campaign, messages, first, last),
        decisions=_decisions(known, settings, messages),
        alerts=[states[-1] for states in words.by_alert(messages).values()],
        stream=known.stream,
        complete=known.complete,
        imports=[
            ImportFact(each.id, each.kind, each.source_name or each.source, each.members, each.nats)
            for each in campaign.imported
        ],
    )


_Detail = tuple[list[MemberFact], list[SharedFact], dict[str, list[str]]]


def _detail(partition: LinkPartition, campaign: Campaign) -> _Detail:
    """From the whole population: members with their evidence, what they share, and what each
    bystander shares with them."""
    found = campaign_detail(partition, campaign)
    members = [
        MemberFact(
            key=each.key,
            role="member",
            confidence=each.confidence,
            requests=each.requests,
            tokens=each.tokens,
            first_seen=each.first_seen,
            last_seen=each.last_seen,
            nats={kind: round(n, _DECIMALS) for kind, n in each.nats.items() if abs(n) >= 0.001},
            shares=each.shares,
            own_alert=each.own_alert,
        )
        for each in found.members
    ]
    shared = [
        SharedFact(each.kind, each.id, each.members, each.others, each.nats)
        for each in found.shared
    ]
    return members, shared, {each.key: each.shares for each in found.bystanders}


def _members(population: Population, campaign: Campaign, detail: _Detail) -> list[MemberFact]:
    """The members, the most probable first, then the bystanders."""
    members, _, shares = detail
    if not members:
        members = [
            _row(population, at, "member", campaign.membership.get(population.keys[at], 0.0), [])
            for at in population.rows_of(member_keys(campaign)).tolist()
        ]
    bystanders = [
        _row(population, at, "bystander", 0.0, shares.get(population.keys[at], []))
        for at in population.rows_of(campaign.bystanders).tolist()
    ]
    members.sort(key=lambda each: (-each.confidence, -each.requests, each.key))
    return [*members, *sorted(bystanders, key=lambda each: each.key)]


def own_alert_id(campaign: Campaign) -> str:
    """The id of a campaign's alert, open or the last that ended."""
    return alert_id(campaign.id, KIND, _opened(campaign))


def _opened(campaign: Campaign) -> float:
    """When its alert, or the last that ended, opened."""
    begun = [each.at for each in campaign.timeline if each.change in ("born", "split")]
    return campaign.opened or (begun[-1] if begun else campaign.found)


def published(campaign: Campaign) -> float | None:
    """When its alert was opened or last updated; `None` if the timeline does not say."""
    found = [each.at for each in campaign.timeline if each.change in ("born", "split", "grown")]
    return found[-1] if found else None


def member_keys(campaign: Campaign) -> list[str]:
    """The named members of a campaign; of a group that is none, its sure members."""
    return [*campaign.named] or [key for key, p in campaign.membership.items() if p > SURE]


def _row(
    population: Population, at: int, role: str, confidence: float, shares: list[str]
) -> MemberFact:
    fingerprint = population.rows["fingerprint"][at]
    severity = int(fingerprint["severity"])
    return MemberFact(
        key=population.keys[at],
        role="member" if role == "member" else "bystander",
        confidence=confidence,
        requests=int(fingerprint["requests"]),
        tokens=round(float(fingerprint["tokens"])),
        first_seen=float(fingerprint["first_seen"]),
        last_seen=float(fingerprint["ts"]),
        shares=shares,
        own_alert=SEVERITIES[severity - 1] if severity else None,
    )


def _finding(known: Known, members: Sequence[MemberFact]) -> FindingFact:
    """What the linker found, with the numbers of its last evaluation."""
    campaign, evidence = known.campaign, known.campaign.evidence
    numbers = [
        labels.of_campaign(name, value) for name, value in evidence.items() if value != UNKNOWN
    ]
    numbers += [
        Number(
            f"{IMPORTED_PREFIX}{each.id}",
            f"mean evidence on {counted(each.members, 'member')} with the same "
            f"{each.kind.replace('_', ' ')} as in a report of {each.source_name or each.source}",
            each.nats,
            "nats",
        )
        for each in campaign.imported
        if each.nats > 0.0
    ]
    own = sum(each.own_alert is not None for each in members)
    numbers.append(Number("own_alerts", "members with an alert of their own", float(own), "count"))
    if known.whole:
        share = _share_of_traffic(known.partition, campaign)
        label = "share of the requests of all keys in 24 hours"
        numbers.append(Number("share_of_traffic", label, share, "share"))
    return FindingFact(
        kind=KIND,
        severity=campaign.severity,
        statement=words.sentence(campaign.reason or "coordinated keys"),
        probability=evidence.get("probability", 1.0),
        opened_at=_opened(campaign),
        confirmed_at=campaign.confirmed,
        alert=own_alert_id(campaign),
        numbers=numbers,
    )


def _share_of_traffic(partition: LinkPartition, campaign: Campaign) -> float:
    """The members' share of the requests of all keys in the last 24 hours of event time."""
    fingerprints = partition.population.rows["fingerprint"]
    counts, _ = hours(fingerprints)
    ages = partition.watermark // HOUR - fingerprints["long_head"].astype(np.float64)
    lately = np.arange(counts.shape[1])[None, :] + ages[:, None] < counts.shape[1]
    requests = (counts * lately).sum(axis=1)
    members = partition.population.rows_of(campaign.named)
    return float(requests[members].sum() / max(requests.sum(), 1.0))


def _timeline(
    campaign: Campaign, messages: Sequence[Alert], first: float, last: float
) -> list[Moment]:
    found = [
        Moment(first, "The first request of a member."),
        Moment(campaign.found, "The group was found."),
        *(
            Moment(
                each.at,
                f"{_CHANGES[each.change].format(other=each.other)} Members: {each.members:,}.",
            )
            for each in campaign.timeline
        ),
        *words.moments(messages, {}),
        Moment(last, "The last request of a member so far."),
    ]
    return sorted(found, key=lambda each: each.at)


def _decisions(known: Known, settings: Settings, messages: Sequence[Alert]) -> list[DecisionFact]:
    """What the campaign's alert led to, and the last decision on each member."""
    campaign, population = known.campaign, known.partition.population
    found = words.decisions(messages)
    if campaign.opened:
        policy = Policy(settings.decisions)
        id = own_alert_id(campaign)
        alerts = [OpenAlert(KIND, campaign.severity, id, campaign.opened)]
        for key, decided in sorted(campaign.decided.items()):
            at = population.index(key)
            few = at is not None and population.rows["fingerprint"]["flags"][at] & FEW_END_USERS
            limit: Action = LIMIT_OF_FEW if few else "block"
            ruling = policy.due(alerts, 0.0, decided, limit)
            if ruling is not None:
                found.append(DecisionFact(key, ruling.action, decided, id))
    return sorted(found[:_LISTED], key=lambda each: (each.at, each.subject))

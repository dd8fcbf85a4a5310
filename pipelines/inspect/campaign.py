"""The detail of one campaign: its members, what links them, and how it grew.

Each member comes with its evidence by kind, in nats; each shared identifier with the number of
members and of other keys that have it: an identifier that many other keys have is no evidence.
Bystanders are listed apart: they share a rare identifier with members but do not behave like them,
and no alert or decision is about them. Identifiers are shown by pseudonyms.
"""

from __future__ import annotations

import hashlib
import math

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import SEVERITIES, Severity
from monitor.campaigns.campaign import Campaign, TimelineEntry
from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.imported import ImportSeen
from monitor.campaigns.population import Population
from monitor.linker import LinkPartition
from pipelines.inspect.campaigns import CampaignSummary, summarize
from pipelines.inspect.criteria import CriterionResult, Evaluated, criterion_results, evaluate

_LETTERS = dict(zip(IDENTIFIERS, "pntusm", strict=True))

Rows = npt.NDArray[np.int64]


class Member(msgspec.Struct, frozen=True):
    """A member of the campaign. Times are event time, epoch seconds.

    Attributes:
        confidence: the probability that it is a member.
        named: when it was first listed in an alert; 0 if it was not.
        own_alert: severity of its own most severe open alert.
        nats: its evidence, by kind.
        shares: pseudonyms of the identifiers that it shares with other members.
    """

    key: str
    confidence: float
    requests: int
    tokens: int
    first_seen: float
    last_seen: float
    named: float
    own_alert: Severity | None = msgspec.field(name="accused")
    nats: dict[str, float]
    shares: list[str]


class SharedIdentifier(msgspec.Struct, frozen=True):
    """An identifier that at least two members have.

    Attributes:
        kind: payment, network, ….
        id: its pseudonym.
        members, others: keys that have it.
        nats: the evidence of having it, among keys that may be members.
    """

    kind: str
    id: str
    members: int
    others: int
    nats: float


class Bystander(msgspec.Struct, frozen=True):
    """A key that shares a rare identifier with members but does not behave like them."""

    key: str
    requests: int
    shares: list[str]


class CampaignDetail(msgspec.Struct, frozen=True):
    """What is known about a campaign, or about a group that is none.

    Attributes:
        summary: its line in the list of campaigns.
        found: when the group was found, epoch seconds.
        until: event time of the newest fingerprint, epoch seconds.
        criteria: what decides whether it is a campaign.
        evidence: mean evidence per member by kind, nats.
        shared: the strongest first.
        members: the most probable first.
        imported: indicators of partners that members have, as of the last evaluation.
    """

    summary: CampaignSummary = msgspec.field(name="line")
    found: float
    until: float
    criteria: list[CriterionResult] = msgspec.field(name="questions")
    timeline: list[TimelineEntry]
    evidence: dict[str, float]
    shared: list[SharedIdentifier]
    members: list[Member]
    bystanders: list[Bystander]
    imported: list[ImportSeen] = []


def campaign_detail(partition: LinkPartition, campaign: Campaign) -> CampaignDetail:
    """Collect the detail of a campaign or group from its partition's population."""
    population, evaluated = partition.population, evaluate(partition, campaign)
    rows, nats = evaluated.members, evaluated.group.nats
    bystanders = population.rows_of(campaign.bystanders)
    shared, shares = _shared(population, evaluated, bystanders)
    fingerprints = population.rows["fingerprint"]
    members = [
        Member(
            key=(key := population.keys[i]),
            confidence=campaign.membership.get(key, float(evaluated.group.member[i])),
            requests=int(fingerprints["requests"][i]),
            tokens=round(float(fingerprints["tokens"][i])),
            first_seen=float(fingerprints["first_seen"][i]),
            last_seen=float(fingerprints["ts"][i]),
            named=campaign.named.get(key, 0.0),
            own_alert=SEVERITIES[severity - 1]
            if (severity := int(fingerprints["severity"][i]))
            else None,
            nats={kind: float(each[i]) for kind, each in nats.items()},
            shares=shares.get(i, []),
        )
        for i in rows.tolist()
    ]
    return CampaignDetail(
        summary=summarize(partition, campaign, evaluated),
        found=campaign.found,
        until=partition.watermark,
        criteria=criterion_results(evaluated),
        timeline=campaign.timeline,
        evidence={kind: float(each[rows].mean()) for kind, each in nats.items() if len(rows)},
        shared=shared,
        members=sorted(members, key=lambda each: (-each.confidence, -each.requests)),
        bystanders=[
            Bystander(population.keys[i], int(fingerprints["requests"][i]), shares.get(i, []))
            for i in bystanders.tolist()
        ],
        imported=campaign.imported,
    )


def pseudonym(kind: str, value: int) -> str:
    """A short name for an identifier: the hash of its hash."""
    text = f"{kind}\n{value}".encode()
    return f"{_LETTERS[kind]}_{hashlib.blake2b(text, digest_size=4).hexdigest()}"


def _shared(
    population: Population, evaluated: Evaluated, bystanders: Rows
) -> tuple[list[SharedIdentifier], dict[int, list[str]]]:
    """The identifiers that members share, and the pseudonyms of those that each row has."""
    members, outside = evaluated.members, evaluated.eligible.copy()
    outside[members] = False
    found: list[SharedIdentifier] = []
    shares: dict[int, list[str]] = {}
    for kind, name in enumerate(IDENTIFIERS):
        codes, values = population.codes(name), population.rows["identifiers"][:, kind]
        inside = np.bincount(codes[members].ravel(), minlength=int(codes.max(initial=0)) + 1)
        others = np.bincount(codes.ravel()) - inside
        eligible = np.bincount(codes[outside].ravel(), minlength=len(inside))
        known = np.count_nonzero(codes[members, 0])
        known_outside = np.count_nonzero(codes[outside, 0])
        names: dict[int, str] = {}
        for i in (*members.tolist(), *bystanders.tolist()):
            for code, value in zip(codes[i].tolist(), values[i].tolist(), strict=True):
                if not code or inside[code] < 2:
                    continue
                if code not in names:
                    names[code] = pseudonym(name, value)
                    share = (inside[code] - 1) / known  # without the key's own part
                    nats = math.log(share / ((eligible[code] + 0.5) / (known_outside + 1)))
                    counts = int(inside[code]), int(others[code])
                    found.append(SharedIdentifier(name, names[code], *counts, max(nats, 0.0)))
                shares.setdefault(i, []).append(names[code])
    found.sort(key=lambda each: (-each.nats, -each.members, each.id))
    return found, shares

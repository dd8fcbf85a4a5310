"""The dossier of one campaign: who is of it, what links them, and how it grew.

Members come with the strongest of what speaks for each, by kind, in nats; identifiers with how many
members have them and how many others, for what many others have links nobody. Bystanders, who share
something rare with members and do not act like them, are listed apart: they are accused of nothing.
Identifiers are shown by pseudonyms that lead nowhere but to each other.
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
from monitor.campaigns.population import Population
from monitor.linker import LinkPartition
from pipelines.inspect.campaigns import Line, line
from pipelines.inspect.criteria import Question, hear, questions

_LETTERS = dict(zip(IDENTIFIERS, "pntusm", strict=True))

Rows = npt.NDArray[np.int64]


class Member(msgspec.Struct, frozen=True):
    """A key that is named in the campaign. Times are event time, epoch seconds.

    Attributes:
        confidence: how surely it belongs, a probability.
        named: since when; 0 if it never was.
        accused: the severity of its own severest alert.
        nats: what speaks for it, by kind of evidence.
        shares: pseudonyms of the identifiers that it shares with others of the campaign.
    """

    key: str
    confidence: float
    requests: int
    tokens: int
    first_seen: float
    last_seen: float
    named: float
    accused: Severity | None
    nats: dict[str, float]
    shares: list[str]


class Shared(msgspec.Struct, frozen=True):
    """An identifier that two members have, or more.

    Attributes:
        nats: what it says of a key to have it, seen from a member.
    """

    kind: str
    id: str
    members: int
    others: int
    nats: float


class Bystander(msgspec.Struct, frozen=True):
    """A key that shares an identifier with members and does not act like them."""

    key: str
    requests: int
    shares: list[str]


class CampaignDetail(msgspec.Struct, frozen=True):
    """All that is known of a campaign, or of a group that is none."""

    line: Line
    found: float
    until: float
    questions: list[Question]
    timeline: list[TimelineEntry]
    evidence: dict[str, float]  # mean nats of a member, by kind
    shared: list[Shared]  # the most telling first
    members: list[Member]  # the surest first
    bystanders: list[Bystander]


def campaign_detail(shard: LinkPartition, campaign: Campaign) -> CampaignDetail:
    """Put together what a partition's population knows of one of its groups."""
    population, hearing = shard.population, hear(shard, campaign)
    rows, nats = hearing.members, hearing.group.nats
    bystanders = population.rows_of(campaign.bystanders)
    shared, having = _shared(population, rows, bystanders)
    said = population.rows["said"]
    members = [
        Member(
            key := population.keys[i],
            campaign.member.get(key, float(hearing.group.member[i])),
            int(said["requests"][i]),
            round(float(said["tokens"][i])),
            float(said["first_seen"][i]),
            float(said["ts"][i]),
            campaign.named.get(key, 0.0),
            SEVERITIES[severity - 1] if (severity := int(said["severity"][i])) else None,
            {kind: float(each[i]) for kind, each in nats.items()},
            having.get(i, []),
        )
        for i in rows.tolist()
    ]
    return CampaignDetail(
        line=line(shard, campaign, hearing),
        found=campaign.found,
        until=shard.watermark,
        questions=questions(hearing),
        timeline=campaign.timeline,
        evidence={kind: float(each[rows].mean()) for kind, each in nats.items() if len(rows)},
        shared=shared,
        members=sorted(members, key=lambda each: (-each.confidence, -each.requests)),
        bystanders=[
            Bystander(population.keys[i], int(said["requests"][i]), having.get(i, []))
            for i in bystanders.tolist()
        ],
    )


def pseudonym(kind: str, value: int) -> str:
    """A short name for an identifier: the hash of its hash."""
    text = f"{kind}\n{value}".encode()
    return f"{_LETTERS[kind]}_{hashlib.blake2b(text, digest_size=4).hexdigest()}"


def _shared(
    population: Population, members: Rows, bystanders: Rows
) -> tuple[list[Shared], dict[int, list[str]]]:
    """What members share, and which of it each of them and of the bystanders has, by row."""
    found: list[Shared] = []
    having: dict[int, list[str]] = {}
    for kind, name in enumerate(IDENTIFIERS):
        codes, values = population.codes(name), population.rows["seen"][:, kind]
        mine = np.bincount(codes[members].ravel(), minlength=int(codes.max(initial=0)) + 1)
        others = np.bincount(codes.ravel()) - mine
        known = np.count_nonzero(codes[members, 0])
        elsewhere = np.count_nonzero(codes[:, 0]) - known
        names: dict[int, str] = {}
        for i in (*members.tolist(), *bystanders.tolist()):
            for code, value in zip(codes[i].tolist(), values[i].tolist(), strict=True):
                if not code or mine[code] < 2:
                    continue
                if code not in names:
                    names[code] = pseudonym(name, value)
                    share = (mine[code] - 1) / known  # without a key's own part
                    nats = math.log(share / ((others[code] + 0.5) / (elsewhere + 1)))
                    counts = int(mine[code]), int(others[code])
                    found.append(Shared(name, names[code], *counts, max(nats, 0.0)))
                having.setdefault(i, []).append(names[code])
    found.sort(key=lambda each: (-each.nats, -each.members, each.id))
    return found, having

"""A campaign over time: found, grown, merged and ended, under one id.

Every group that is found is kept, whatever its verdict: it is not found again in each round, and it
may become a campaign later. A group has the membership of its keys and, once it is a campaign, what
has been published about it. All of it is part of the state of the linker's partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from monitor.alerting.alerts import Severity
from monitor.campaigns.imported import Imports, ImportSeen
from monitor.campaigns.membership import IMPORTED, Group
from monitor.campaigns.population import Population
from monitor.campaigns.verdict import Verdict

Change = Literal["born", "grown", "merged", "split", "ended"]
CLEARED_MEMBERS = "cleared_members"  # evidence: keys left out because a person cleared them
_TIMELINE = 200  # entries that are kept
_BYSTANDERS = 100  # that are listed
_BYSTANDER_NATS = 1.5  # evidence of a shared payment or network that makes a bystander


class TimelineEntry(msgspec.Struct, array_like=True, frozen=True):
    """What happened to a campaign, when (epoch seconds), and its members at that time."""

    at: float
    change: Change
    members: int
    other: str = ""  # the campaign that it merged with or split from


class Campaign(msgspec.Struct):
    """A group of keys, which may be a campaign. Times are event time, epoch seconds.

    Attributes:
        id: stays the same for as long as the group exists.
        found: when the group was found.
        membership: the probability that each key is a member; very improbable keys are left out.
        opened: when its alert was opened; 0 while it is no campaign.
        confirmed: when the verdict last confirmed it.
        severity: of its alert.
        named: keys that are listed as members, and when each was first listed.
        unreported: whether it has members that no alert has listed.
        decided: when the last decision on each member was made.
        bystanders: keys that share an identifier with members but are not members.
        evidence: of the last evaluation.
        reason: why the last evaluation confirmed it, or why it did not.
        timeline: the latest changes, and the first.
        ended: when it ended; 0 before.
        ties: the ties that all decisions on each member had, see `Decision`.
        imported: what partners have shared that named members have.
    """

    id: str
    found: float
    membership: dict[str, float] = msgspec.field(name="member")
    opened: float = 0.0
    confirmed: float = msgspec.field(default=0.0, name="upheld")
    severity: Severity = "info"
    named: dict[str, float] = {}
    unreported: bool = msgspec.field(default=False, name="untold")
    decided: dict[str, float] = {}
    bystanders: list[str] = []
    evidence: dict[str, float] = {}
    reason: str = ""
    timeline: list[TimelineEntry] = []
    ended: float = 0.0
    ties: dict[str, list[str]] = {}
    imported: list[ImportSeen] = []

    def merge(self, other: Campaign) -> None:
        """Add another campaign's members."""
        self.membership = other.membership | self.membership
        self.named = other.named | self.named
        self.unreported = True

    def forget(self, keys: Iterable[str]) -> bool:
        """Remove keys from the members and the bystanders; whether it had any of them."""
        gone, had = {*keys}, False
        for known in (self.membership, self.named, self.decided, self.ties):
            for key in gone & known.keys():
                del known[key]
                had = True
        had |= bool(gone & {*self.bystanders})
        self.bystanders = [key for key in self.bystanders if key not in gone]
        return had

    def describe(
        self,
        population: Population,
        group: Group,
        verdict: Verdict,
        new: int,
        imports: Imports | None = None,
    ) -> None:
        """Set evidence, reason and bystanders; `new` members since the last evaluation."""
        rows = population.rows_of(self.named)
        fingerprints = population.rows["fingerprint"][rows]
        shared = np.maximum(group.nats["payment"], group.nats["network"])
        beside = np.flatnonzero((shared >= _BYSTANDER_NATS) & (group.member < 0.5))
        self.bystanders = [population.keys[i] for i in beside[:_BYSTANDERS].tolist()]
        unmet = "" if verdict.is_campaign else "not confirmed by the last evaluation: "
        self.reason = f"{unmet}{verdict.reason}"
        self.evidence = {
            **verdict.evidence,
            "members": float(len(self.named)),
            "new_members": float(new),
            "confidence": float(group.member[rows].mean()),
            "requests": float(fingerprints["requests"].sum()),
            "tokens": float(fingerprints["tokens"].sum()),
            "bystanders": float(len(beside)),
            **{f"{kind}_nats": float(nats[rows].mean()) for kind, nats in group.nats.items()},
        }

        self.imported = []
        if imports and IMPORTED in group.nats:
            first, last = population.traits.first_seen, population.rows["fingerprint"]["ts"]
            nats = group.nats[IMPORTED]
            self.imported = imports.seen(rows, nats, group.member, first, last)

    def log(self, at: float, change: Change, other: str = "") -> None:
        """Add an entry to the timeline."""
        self.timeline.append(TimelineEntry(at, change, len(self.named), other))
        del self.timeline[1:-_TIMELINE]


def campaign_id(members: Iterable[str], found: float) -> str:
    """The id of a campaign that is found with these members, the same in every replay."""
    text = "\n".join([f"{found:.0f}", *sorted(members)])
    return "c_" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=10).hexdigest()

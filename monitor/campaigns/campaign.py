"""A campaign through time: born, grown, merged, ended, under one id.

Any group that is found is kept, whatever the verdict on it, so that it is not found anew again and
again, and because it may turn out to be a campaign later. What is remembered of it is who belongs
to it and how surely, and, once it is a campaign, what has been said of it. All of it goes into the
state of the linker's partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from monitor.alerting.alerts import Severity
from monitor.campaigns.membership import Group
from monitor.campaigns.population import Population
from monitor.campaigns.verdict import Verdict

Change = Literal["born", "grown", "merged", "split", "ended"]
_TIMELINE = 200  # entries kept
_BYSTANDERS = 100
_TELLING = 1.5  # nats of a shared identifier that make a bystander


class TimelineEntry(msgspec.Struct, array_like=True, frozen=True):
    """An entry of a timeline: when, what, and how many members there were then."""

    at: float
    change: Change
    members: int
    other: str = ""  # the campaign that it merged into or split from


class Campaign(msgspec.Struct):
    """What is remembered of a group.

    Attributes:
        id: of the campaign; stays for as long as the group is there.
        found: when the group was found, event time.
        member: how surely each key belongs to it, probabilities; those that hardly do are left out.
        opened: when its alert was opened; 0 while it is no campaign.
        upheld: when the verdict was last that it is one.
        severity: of that alert.
        named: the members named in it, by when each was first named.
        untold: whether it has members since it last said so.
        decided: when the decision on each was last made.
        bystanders: keys that share an identifier with members and do not act like them.
        evidence: of the last verdict, with its reason in words.
        ended: when it was over; 0 while it is not.
    """

    id: str
    found: float
    member: dict[str, float]
    opened: float = 0.0
    upheld: float = 0.0
    severity: Severity = "info"
    named: dict[str, float] = {}
    untold: bool = False
    decided: dict[str, float] = {}
    bystanders: list[str] = []
    evidence: dict[str, float] = {}
    reason: str = ""
    timeline: list[TimelineEntry] = []
    ended: float = 0.0

    def take(self, other: Campaign) -> None:
        """Take another campaign's members in."""
        self.member = other.member | self.member
        self.named = other.named | self.named
        self.untold = True

    def describe(self, population: Population, group: Group, verdict: Verdict, new: int) -> None:
        """Say in numbers what is known of it, `new` members since the last time."""
        rows = population.rows_of(self.named)
        said = population.rows["said"][rows]
        shared = np.maximum(group.nats["payment"], group.nats["network"])
        beside = np.flatnonzero((shared >= _TELLING) & (group.member < 0.5))
        self.bystanders = [population.keys[i] for i in beside[:_BYSTANDERS].tolist()]
        self.reason = verdict.reason
        self.evidence = {
            **verdict.evidence,
            "members": float(len(self.named)),
            "new_members": float(new),
            "confidence": float(group.member[rows].mean()),
            "requests": float(said["requests"].sum()),
            "tokens": float(said["tokens"].sum()),
            "bystanders": float(len(beside)),
            **{f"{kind}_nats": float(nats[rows].mean()) for kind, nats in group.nats.items()},
        }

    def note(self, at: float, change: Change, other: str = "") -> None:
        """Make an entry in the timeline."""
        self.timeline.append(TimelineEntry(at, change, len(self.named), other))
        del self.timeline[1:-_TIMELINE]


def campaign_id(members: Iterable[str], found: float) -> str:
    """The id of a campaign that begins with these members, the same in every replay."""
    text = "\n".join([f"{found:.0f}", *sorted(members)])
    return "c_" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=10).hexdigest()

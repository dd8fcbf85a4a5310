"""Rounds: who acts as one, asked again every ten minutes of event time.

First the groups that are known, campaigns before others and the oldest first, each among the keys
that none before it holds; then what is left is searched for seeds, and what becomes of them is a
group from now on. A group that is found guilty is a campaign: it opens an alert that lists the
members who are surely of it, says so again whenever there are more of them, and is over when they
have been silent for hours, or when for an hour nothing has upheld the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.campaigns.alerts import SILENT, CampaignAlerts
from monitor.campaigns.campaign import Campaign, Change, campaign_id
from monitor.campaigns.candidates import seeds
from monitor.campaigns.membership import LEAST, SURE, Group
from monitor.campaigns.population import Population, PopulationView
from monitor.campaigns.verdict import VARIED, Verdict, judge
from monitor.config import Settings
from monitor.records.profile import DAY, HOUR, MINUTE

ROUND = 10 * MINUTE
BELONGS = 0.5  # probability from which on a key is counted as a member
_REMEMBERED = 7 * DAY  # that a campaign which is over is kept, to be looked up
_STEPS = 8  # of a new group; one that is known takes one a round
_SOME, _SEEN = 30_000, 64  # keys that stand for all, and those of a group among them
_SELDOM = 3  # rounds; a group that has been judged for an hour and is none takes one of them
_KEPT = 1e-3  # probability below which it is not remembered that a key may belong
_NEAR = (0.7, 2 * HOUR)  # how near campaigns are that may be one: octaves of pace, time of birth

Marks = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


class Rounds:
    """The groups among a population.

    Args:
        settings: how small a campaign may be, probabilities, decisions.

    Attributes:
        campaigns: all groups, the oldest first; those that are over, too, for a while.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.campaigns: list[Campaign] = []

    def hold(self, population: Population, now: float) -> tuple[list[Alert], list[Decision]]:
        """One round, at event time `now`."""
        known = [c for c in self.campaigns if not c.ended or now - c.ended < _REMEMBERED]
        population.expire(now, [key for campaign in known for key in campaign.member])
        held = _Round(self._settings, population, known, now)
        held.renew()
        held.find()
        held.merge()
        self.campaigns = [c for c in held.campaigns if c.member or c.ended]
        return held.statements.alerts, held.statements.decisions


def recall(campaign: Campaign, population: Population) -> Group:
    """A group as it was remembered."""
    member = np.zeros(len(population))
    for key, probability in campaign.member.items():
        at = population.index(key)
        if at is not None:
            member[at] = probability
    return Group(member)


def eligible(population: Population, campaigns: Iterable[Campaign], now: float) -> Marks:
    """Who may belong to a group, `(n,)`: keys of which enough is known, and who are active; members
    once named stay. But not applications, unless they are accused: what fills one template needs no
    other key."""
    said = population.rows["said"]
    varied = (population.traits.variety <= VARIED) | (said["severity"] >= 2)
    may = varied & (said["ts"] > now - SILENT)
    for campaign in campaigns:
        if not campaign.ended:
            may[population.rows_of(campaign.named)] = True
    return np.asarray(may & (said["sketched"] >= LEAST))


class _Round:
    """One round, as it goes on.

    Attributes:
        eligible: `(n,)`, who may belong to a group.
        held: `(n,)`, who is surely of one.
    """

    def __init__(
        self, settings: Settings, population: Population, campaigns: list[Campaign], now: float
    ) -> None:
        self._least = settings.campaigns.least_members
        self._quiet = settings.detection.quiet_minutes * MINUTE
        self._people = population
        self._now = now
        self._turn = int(now // ROUND)
        self.campaigns = campaigns
        self.statements = CampaignAlerts(settings, population, now)
        self.eligible = eligible(population, campaigns, now)
        self.held = np.zeros(len(population), bool)

    def renew(self) -> None:
        """Ask of the groups that are known who is of them, and judge them."""
        alive = [campaign for campaign in self.campaigns if not campaign.ended]
        alive.sort(key=lambda campaign: not campaign.opened)
        groups = [recall(campaign, self._people) for campaign in alive]
        for campaign, group in zip(alive, groups, strict=True):
            if campaign.opened:
                self.held |= group.member > SURE
        for campaign, group in zip(alive, groups, strict=True):
            if campaign.opened:
                self.held &= ~(group.member > SURE)
            if self._due(campaign):
                self._ask(campaign, group)
            self.held |= group.member > SURE

    def find(self) -> None:
        """Make new groups of seeds, and judge them."""
        for seed in seeds(self._people, self.eligible & ~self.held, self._turn):
            if not self.held[seed].any():
                group, sure = self._grown(seed)
                if len(sure) >= self._least:
                    self._ask(self._begun(sure), group)
                    self.held |= group.member > SURE

    def merge(self) -> None:
        """Let the younger of two campaigns go over into the older if they are one: if the greater
        of them, asked, takes the other's members for its own."""
        alive = [c for c in self.campaigns if c.opened and not c.ended and c.named]
        rows = {campaign.id: self._people.rows_of(campaign.named) for campaign in alive}
        for older, younger in combinations(alive, 2):
            if older.ended or younger.ended or not self._near(rows[older.id], rows[younger.id]):
                continue
            less, more = sorted((older, younger), key=lambda campaign: len(campaign.named))
            group = recall(more, self._people)
            group.step(self._people, self.eligible)
            if float((group.member[rows[less.id]] > BELONGS).mean()) >= BELONGS:
                older.take(younger)
                rows[older.id] = np.concatenate([rows[older.id], rows[younger.id]])
                older.note(self._now, "merged", younger.id)
                younger.note(self._now, "merged", older.id)
                self.statements.end(younger, f"is part of {older.id}")

    def _due(self, campaign: Campaign) -> bool:
        settled = not campaign.opened and self._now - campaign.found >= HOUR
        return not settled or self._turn % _SELDOM == 0

    def _grown(self, seed: Rows) -> tuple[Group, Rows]:
        """What becomes of a seed, and who is surely of it."""
        which = self._around(seed)
        some = PopulationView(self._people, which)
        group, sure = Group(np.isin(which, seed).astype(np.float64)), seed
        for _ in range(_STEPS):
            before = sure
            group.step(some, self.eligible[which] & ~self.held[which])
            sure = which[group.member > SURE]
            if len(sure) < 2 or np.array_equal(sure, before):
                break
        member = np.zeros(len(self._people))
        member[which] = group.member
        return Group(member), sure

    def _around(self, seed: Rows) -> Rows:
        """The keys among which a seed grows at first: all, or some that stand for all. There a
        campaign is as rare as among all, or its members would pass for the public."""
        n = len(self._people)
        if n <= _SOME:
            return np.arange(n)
        return np.unique(np.concatenate([seed[:_SEEN], np.arange(0, n, n // _SOME + 1)]))

    def _begun(self, sure: Rows) -> Campaign:
        """A new group; or one that was over, if most of these keys were of it."""
        keys = {self._people.keys[i] for i in sure.tolist()}
        for campaign in self.campaigns:
            if campaign.ended and 2 * len(campaign.named.keys() & keys) > len(keys):
                campaign.ended = 0.0
                return campaign
        self.campaigns.append(Campaign(campaign_id(keys, self._now), self._now, {}))
        return self.campaigns[-1]

    def _ask(self, campaign: Campaign, group: Group) -> None:
        """Ask who is of a group, judge it, and say what is to be said."""
        population, now = self._people, self._now
        if not campaign.opened and not self._promising(group):
            self._keep(campaign, group)
            return
        group.step(population, self.eligible & ~self.held)
        self._remember(campaign, group)
        sure = np.flatnonzero(group.member > SURE)
        last = float(population.rows["said"]["ts"][group.member > BELONGS].max(initial=0.0))
        if len(sure) >= self._least:
            verdict = judge(population, group, sure, self.eligible)
            if (
                verdict.is_campaign or now - last > HOUR
            ):  # who is silent neither upholds nor refutes
                campaign.upheld = now
            if verdict.is_campaign or campaign.opened:
                self._speak(campaign, group, verdict)
        elif not campaign.opened:
            self._keep(campaign, group)
        if campaign.opened and now - last > SILENT:
            campaign.note(now, "ended")
            self.statements.end(campaign, "over, silent for hours")
        elif campaign.opened and now - campaign.upheld >= self._quiet:
            campaign.note(now, "ended")
            self.statements.end(campaign, "over, nothing upholds it")

    def _promising(self, group: Group) -> bool:
        """Whether a group that is no campaign so far may be one, asked among some of many keys."""
        which = self._around(np.flatnonzero(group.member > SURE))
        if len(which) == len(self._people):
            return True
        among, some = self.eligible[which] & ~self.held[which], PopulationView(self._people, which)
        part = Group(group.member[which])
        part.step(some, among)
        group.member[which] = part.member
        sure = np.flatnonzero(part.member > SURE)
        return len(sure) >= self._least and judge(some, part, sure, among).is_campaign

    def _remember(self, campaign: Campaign, group: Group) -> None:
        rows = np.flatnonzero(group.member > _KEPT).tolist()
        campaign.member = {self._people.keys[i]: float(group.member[i]) for i in rows}

    def _keep(self, campaign: Campaign, group: Group) -> None:
        """Keep a group that is no campaign, unless too little is left of it."""
        self._remember(campaign, group)
        if np.count_nonzero(group.member > SURE) < self._least:
            campaign.member = {}
            campaign.ended = self._now if campaign.named else 0.0  # what was one, and is no more

    def _speak(self, campaign: Campaign, group: Group, verdict: Verdict) -> None:
        """Name the members, and say so where there are more of them."""
        before = set(campaign.named)
        surely = [self._people.keys[i] for i in np.flatnonzero(group.member > SURE).tolist()]
        belong = {key for key, p in campaign.member.items() if p > BELONGS}
        campaign.named = {k: at for k, at in campaign.named.items() if k in belong}
        campaign.named |= {key: self._now for key in surely if key not in campaign.named}
        new = len(campaign.named.keys() - before)
        campaign.untold |= new > 0
        campaign.describe(self._people, group, verdict, new)
        origin = "" if campaign.opened else self._origin(campaign)
        change: Change = "grown" if campaign.opened else "split" if origin else "born"
        if self.statements.speak(campaign):
            campaign.note(self._now, change, origin)
        self.statements.decide(campaign)

    def _origin(self, campaign: Campaign) -> str:
        """The campaign that most of a new one's members were named in, if there is one."""
        for other in self.campaigns:
            common = len(other.named.keys() & campaign.named.keys())
            if other is not campaign and other.opened and 2 * common > len(campaign.named):
                return other.id
        return ""

    def _near(self, one: Rows, other: Rows) -> bool:
        """Whether members came at about the same time and ask about as fast."""
        traits = self._people.traits
        apart = (
            abs(np.median(trait[one]) - np.median(trait[other]))
            for trait in (traits.pace, traits.born)
        )
        return all(gap < most for gap, most in zip(apart, _NEAR, strict=True))

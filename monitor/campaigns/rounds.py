"""Rounds: find and update campaigns, every ten minutes of event time.

A round has three steps. It re-evaluates the known groups, campaigns first and the oldest first,
each among the keys that no earlier group has taken. It grows candidates among the remaining keys
into new groups. It merges campaigns that are the same.

What partners have shared helps to find and to link keys (`imported.py`). But a group becomes a
campaign, and a key is named, only by evidence without it.

A group that two evaluations in a row confirm becomes a campaign and opens an alert that lists its
sure members, so a likeness that lasts a few minutes names nobody. The alert is updated when there
are more members. The campaign ends when its members have been silent for hours, or when no
evaluation has confirmed it for `quiet_minutes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import INFO, Alert
from monitor.alerting.decisions import Decision
from monitor.alerting.enforcement import Cleared
from monitor.campaigns.alerts import SILENT, CampaignAlerts
from monitor.campaigns.campaign import CLEARED_MEMBERS, Campaign, Change, campaign_id
from monitor.campaigns.candidates import candidates
from monitor.campaigns.criteria import Weights, load
from monitor.campaigns.imported import Import, Imports
from monitor.campaigns.membership import MIN_PROMPTS, SURE, Group
from monitor.campaigns.population import Population, PopulationView
from monitor.campaigns.verdict import Verdict, evaluate
from monitor.config import Settings
from monitor.records.profile import DAY, HOUR, MINUTE

ROUND = 10 * MINUTE  # seconds of event time between rounds
PROBABLE = 0.5  # probability above which a key counts as a member
_KEPT = 7 * DAY  # seconds that an ended campaign is kept, to be looked up
_STEPS = 8  # of a new group; a known one takes one per round
_SAMPLE, _SAMPLED_MEMBERS = 30_000, 64  # keys that stand for all, and those of a group among them
_SETTLED_EVERY = 3  # rounds between evaluations of a group that was no campaign for an hour
_MIN_PROBABILITY = 1e-3  # of a membership that is kept
_FEW_REQUESTS, _LATELY = 16, 2 * HOUR  # of a key, and seconds since its last fingerprint
_ORDINARY = 0.5  # nats; a key below is named in no campaign
_SURPRISING = 5.0  # nats of a key that may be named because other members have alerts
_MERGED_FIRST_SEEN = 2 * HOUR  # seconds between the medians of campaigns that may be one, at most

Mask = npt.NDArray[np.bool_]
Withdrawn = Mapping[str, Mapping[str, Cleared]]
Rows = npt.NDArray[np.int64]


class Rounds:
    """The groups of a population.

    Args:
        settings: the least size of a campaign, probabilities, decisions.

    Attributes:
        weights: of the criteria.
        campaigns: all groups, the oldest first, with those that ended lately.
        evaluated: the groups that the last round evaluated: members, and the verdict.
        imports: indicators of partners that requests here have, as of the last round.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.weights = load(settings.campaigns.weights)
        self.campaigns: list[Campaign] = []
        self.evaluated: list[tuple[list[str], Verdict]] = []
        self.imports: list[Import] = []

    def run(
        self,
        population: Population,
        now: float,
        withdrawn: Withdrawn | None = None,
    ) -> tuple[list[Alert], list[Decision]]:
        """One round.

        Args:
            now: event time, epoch seconds.
            withdrawn: see `StreamOperator.withdraw`.
        """
        known = [c for c in self.campaigns if not c.ended or now - c.ended < _KEPT]
        population.settle(now)
        population.expire(now, [key for campaign in known for key in campaign.membership])
        imports = Imports.of(self.imports, population, now) if self.imports else None
        current = _Round(
            *(self._settings, self.weights, population, known, now, withdrawn or {}, imports)
        )
        current.update_known()
        current.find_new()
        current.merge()
        self.campaigns = [c for c in current.campaigns if c.membership or c.ended]
        self.evaluated = current.evaluated
        return current.output.alerts, current.output.decisions


def group_of(campaign: Campaign, population: Population) -> Group:
    """The group with the membership that the campaign has."""
    member = np.zeros(len(population))
    for key, probability in campaign.membership.items():
        at = population.index(key)
        if at is not None:
            member[at] = probability
    return Group(member)


def eligible(population: Population, campaigns: Iterable[Campaign], now: float) -> Mask:
    """Which keys may be members of a group, `(n,) bool`.

    A key needs enough prompts and has to be active. One with few requests has to be active lately:
    a customer who changes keys leaves many such keys behind. Applications, which fill templates,
    need an alert of their own. Named members of open campaigns stay eligible.
    """
    fingerprints = population.rows["fingerprint"]
    may = (population.traits.distinct >= MIN_PROMPTS) & (fingerprints["ts"] > now - SILENT)
    may &= (fingerprints["requests"] >= _FEW_REQUESTS) | (fingerprints["ts"] > now - _LATELY)
    for campaign in campaigns:
        if not campaign.ended:
            may[population.rows_of(campaign.named)] = True
    return np.asarray(may & (fingerprints["sketch_prompts"] >= MIN_PROMPTS))


class _Round:
    """One round.

    Attributes:
        campaigns: known and new groups.
        output: alerts and decisions.
        eligible: `(n,) bool`, which keys may be members of a group.
        taken: `(n,) bool`, which keys are sure members of a group.
        evaluated: members and verdict of each group.
    """

    def __init__(
        self,
        settings: Settings,
        weights: Weights,
        population: Population,
        campaigns: list[Campaign],
        now: float,
        withdrawn: Withdrawn,
        imports: Imports | None,
    ) -> None:
        self._imports = imports
        self._weights = weights
        self._min_members = settings.campaigns.least_members
        self._quiet = settings.detection.quiet_minutes * MINUTE
        self._population = population
        self._now = now
        self._turn = int(now // ROUND)
        self.campaigns = campaigns
        self.output = CampaignAlerts(settings, population, now, withdrawn)
        self.eligible = eligible(population, campaigns, now)
        self.taken = np.zeros(len(population), bool)
        self.evaluated: list[tuple[list[str], Verdict]] = []

    def update_known(self) -> None:
        """Update and evaluate the known groups, campaigns first."""
        alive = [campaign for campaign in self.campaigns if not campaign.ended]
        alive.sort(key=lambda campaign: not campaign.opened)
        groups = [group_of(campaign, self._population) for campaign in alive]
        for campaign, group in zip(alive, groups, strict=True):
            if campaign.opened:
                self.taken |= group.member > SURE
        for campaign, group in zip(alive, groups, strict=True):
            if campaign.opened:
                self.taken &= ~(group.member > SURE)
            if self._due(campaign):
                self._evaluate(campaign, group)
            self.taken |= group.member > SURE

    def find_new(self) -> None:
        """Grow candidates into groups and evaluate them."""
        free = self.eligible & ~self.taken
        for candidate in candidates(self._population, free, self._imports):
            if not self.taken[candidate].any():
                group, sure = self._grow(candidate)
                if len(sure) >= self._min_members:
                    self._evaluate(self._start(sure), group)
                    self.taken |= group.member > SURE

    def merge(self) -> None:
        """Merge the younger of two campaigns into the older if they are the same.

        They are if one step of the larger group includes most members of the smaller one. Pairs are
        compared when one of the two has grown.
        """
        alive = [c for c in self.campaigns if c.opened and not c.ended and c.named]
        rows = {campaign.id: self._population.rows_of(campaign.named) for campaign in alive}
        for older, younger in combinations(alive, 2):
            grown = self._now in (older.timeline[-1].at, younger.timeline[-1].at)
            if older.ended or younger.ended or not grown:
                continue
            if not self._are_similar(rows[older.id], rows[younger.id]):
                continue
            smaller, larger = sorted((older, younger), key=lambda campaign: len(campaign.named))
            group = group_of(larger, self._population)
            group.step(self._population, self.eligible)
            if float((group.member[rows[smaller.id]] > PROBABLE).mean()) >= PROBABLE:
                older.merge(younger)
                rows[older.id] = np.concatenate([rows[older.id], rows[younger.id]])
                older.log(self._now, "merged", younger.id)
                younger.log(self._now, "merged", older.id)
                self.output.resolve(younger, f"merged into {older.id}")

    def _due(self, campaign: Campaign) -> bool:
        settled = not campaign.opened and self._now - campaign.found >= HOUR
        return not settled or self._turn % _SETTLED_EVERY == 0

    def _grow(self, candidate: Rows) -> tuple[Group, Rows]:
        """The group that grows from a candidate, and the rows of its sure members."""
        which = self._sample(candidate)
        view = self._view(which)
        imports = self._imports.among(which) if self._imports else None
        group, sure = Group(np.isin(which, candidate).astype(np.float64)), candidate
        for _ in range(_STEPS):
            before = sure
            group.step(view, self.eligible[which] & ~self.taken[which], imports)
            sure = which[group.member > SURE]
            if len(sure) < 2 or np.array_equal(sure, before):
                break
        member = np.zeros(len(self._population))
        member[which] = group.member
        return Group(member), sure

    def _sample(self, members: Rows) -> Rows:
        """All keys, or a sample of many, with some of the members.

        In the sample, a campaign is as rare as in the population. Otherwise its members would pass
        for ordinary keys.
        """
        n = len(self._population)
        if n <= _SAMPLE:
            return np.arange(n)
        step = n // _SAMPLE + 1
        return np.unique(np.concatenate([members[:_SAMPLED_MEMBERS], np.arange(0, n, step)]))

    def _view(self, which: Rows) -> Population | PopulationView:
        population = self._population
        return population if len(which) == len(population) else PopulationView(population, which)

    def _start(self, sure: Rows) -> Campaign:
        """A new group, or an ended campaign if most of these keys were its members."""
        keys = {self._population.keys[i] for i in sure.tolist()}
        for campaign in self.campaigns:
            if campaign.ended and 2 * len(campaign.named.keys() & keys) > len(keys):
                campaign.ended = 0.0
                return campaign
        self.campaigns.append(Campaign(campaign_id(keys, self._now), self._now, {}))
        return self.campaigns[-1]

    def _evaluate(self, campaign: Campaign, group: Group) -> None:
        """Update the members of a group, evaluate it, and publish what is new."""
        population, now = self._population, self._now
        if not campaign.opened and not self._promising(group):
            self._keep(campaign, group)
            return
        free = self.eligible & ~self.taken
        group.step(population, free, self._imports)
        own = group.without_imports(population, free)
        before = campaign.membership
        self._set_membership(campaign, group)
        sure = np.flatnonzero((group.member > SURE) & (own.member > PROBABLE))
        ts = population.rows["fingerprint"]["ts"]
        last = float(ts[group.member > PROBABLE].max(initial=0.0))
        if len(sure) >= self._min_members:
            verdict = evaluate(population, own, sure, self.eligible, self._weights)
            self.evaluated.append(([population.keys[i] for i in sure.tolist()], verdict))
            silent = now - last > HOUR  # silence neither confirms nor refutes a campaign
            again = now - campaign.confirmed <= _SETTLED_EVERY * ROUND
            if verdict.is_campaign or (campaign.opened and silent):
                campaign.confirmed = now
            elif not campaign.opened:
                campaign.confirmed = 0.0
            if campaign.opened or (verdict.is_campaign and again):
                self._report(campaign, group, own, verdict, before)
        elif not campaign.opened:
            self._keep(campaign, group)
        if campaign.opened and now - last > SILENT:
            self._end(campaign, f"over, its members have been silent for {SILENT / HOUR:.0f} hours")
        elif campaign.opened and now - campaign.confirmed >= self._quiet:
            minutes = self._quiet / MINUTE
            self._end(campaign, f"over, no evaluation has confirmed it for {minutes:.0f} minutes")

    def _end(self, campaign: Campaign, why: str) -> None:
        campaign.log(self._now, "ended")
        self.output.resolve(campaign, why)

    def _promising(self, group: Group) -> bool:
        """Whether a group that is no campaign may be one, evaluated on a sample of many keys."""
        which = self._sample(np.flatnonzero(group.member > SURE))
        if len(which) == len(self._population):
            return True
        view = self._view(which)
        part, free = Group(group.member[which]), self.eligible[which] & ~self.taken[which]
        part.step(view, free, self._imports.among(which) if self._imports else None)
        group.member[which] = part.member
        sure = np.flatnonzero(part.member > SURE)
        if len(sure) < self._min_members:
            return False
        return evaluate(view, part, sure, free, self._weights).is_campaign

    def _set_membership(self, campaign: Campaign, group: Group) -> None:
        rows = np.flatnonzero(group.member > _MIN_PROBABILITY).tolist()
        campaign.membership = {self._population.keys[i]: float(group.member[i]) for i in rows}

    def _keep(self, campaign: Campaign, group: Group) -> None:
        """Keep a group that is no campaign, unless it has too few members."""
        self._set_membership(campaign, group)
        if np.count_nonzero(group.member > SURE) < self._min_members:
            campaign.membership = {}
            campaign.ended = self._now if campaign.named else 0.0  # if it was a campaign

    def _report(
        self,
        campaign: Campaign,
        group: Group,
        own: Group,
        verdict: Verdict,
        earlier: dict[str, float],
    ) -> None:
        """Name the sure members and publish what is new.

        Args:
            own: the group without imports. Members that are improbable in it are not named.
            earlier: the membership as of the evaluation before; a key is named if it belonged then.
        """
        before = set(campaign.named)
        least = _ORDINARY if verdict.is_coordinated else _SURPRISING
        alone = own.member > PROBABLE
        named = (group.member > SURE) & alone & self._is_surprising(least)
        sure = [self._population.keys[i] for i in np.flatnonzero(named).tolist()]
        either = np.flatnonzero((group.member > PROBABLE) & alone)
        probable = {self._population.keys[i] for i in either.tolist()}
        campaign.named = {k: at for k, at in campaign.named.items() if k in probable}
        lasting = [key for key in sure if earlier.get(key, 0.0) > PROBABLE]
        campaign.named |= {key: self._now for key in lasting if key not in campaign.named}
        if not campaign.named:  # detectors find all members ordinary
            return
        cleared = self.output.cleared(campaign, verdict.evidence)
        withdrawn = 2 * len(cleared) > len(campaign.named)
        if not withdrawn:
            campaign.named = {k: at for k, at in campaign.named.items() if k not in cleared}
        new = len(campaign.named.keys() - before)
        campaign.unreported |= new > 0 or not cleared.isdisjoint(before)
        campaign.describe(self._population, group, verdict, new, self._imports)
        if cleared:
            campaign.evidence[CLEARED_MEMBERS] = float(len(cleared))
        if withdrawn:
            if campaign.opened:
                self._end(campaign, "withdrawn by a person, who found no attack")
            return
        origin = "" if campaign.opened else self._origin(campaign)
        change: Change = "grown" if campaign.opened else "split" if origin else "born"
        if self.output.publish(campaign):
            campaign.log(self._now, change, origin)
        self.output.decide(campaign)

    def _is_surprising(self, least: float) -> Mask:
        """Which keys have a surprisal of at least `least` nats or an alert, `(n,) bool`.

        Whoever copies the prompts and the times of an honest key draws it into the group. A key
        that all detectors find ordinary is not named. If the members' own alerts are what makes a
        campaign, it must not name a key that is not nearly suspicious itself.
        """
        flagged = self._population.rows["fingerprint"]["severity"] >= INFO
        return np.asarray(flagged | (self._population.traits.surprisal >= least))

    def _origin(self, campaign: Campaign) -> str:
        """The id of the campaign in which most members of a new one were named, if there is one."""
        for other in self.campaigns:
            common = len(other.named.keys() & campaign.named.keys())
            if other is not campaign and other.opened and 2 * common > len(campaign.named):
                return other.id
        return ""

    def _are_similar(self, one: Rows, other: Rows) -> bool:
        """Whether the keys of two campaigns were first seen at similar times."""
        first_seen = self._population.traits.first_seen
        apart = abs(np.median(first_seen[one]) - np.median(first_seen[other]))
        return bool(apart < _MERGED_FIRST_SEEN)

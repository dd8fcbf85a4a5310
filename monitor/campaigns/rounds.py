"""Rounds: who acts as one, asked again every ten minutes of event time.

First the groups that are known, campaigns before others and the oldest first, each among the keys
that none before it holds; then what is left is searched for seeds, and what becomes of them is a
group from now on. A group that is found guilty is a campaign: it opens an alert that lists the
members who are surely of it, says so again whenever there are more of them, and is over when they
have been silent for hours, or when for an hour nothing has upheld the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

from monitor.alerts import Alert, Severity, State, Subject, alert_id
from monitor.campaigns.campaign import Campaign, campaign_id
from monitor.campaigns.group import LEAST, SURE, Group
from monitor.campaigns.population import Population
from monitor.campaigns.seeds import seeds
from monitor.campaigns.verdict import VARIED, Verdict, judge
from monitor.config import Settings
from monitor.decisions import Decision, action_for, duration
from monitor.sketches.profile import DAY, HOUR, MINUTE

ROUND = 10 * MINUTE
ACTIVE = DAY  # seconds that a key counts after its last fingerprint
SILENT = 6 * HOUR  # of all members, until a campaign is over
REMEMBERED = 7 * DAY  # that one which is over is kept, to be looked up
_STEPS = 8  # of a new group; one that is known takes one a round
_SELDOM = 3  # rounds; a group that has been judged for an hour and is none takes one of them
_BELONGS = 0.5
_KEPT = 1e-3  # probability below which it is not remembered that a key may belong
_CRITICAL = 10  # members from which on a pager rings
_LISTED = 20_000  # members in an alert at the most, and
_BYSTANDERS = 100
_TELLING = 1.5  # nats of a shared identifier that make a bystander
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
        self._least = settings.campaigns.least_members
        self._quiet = settings.detection.quiet_minutes * MINUTE
        self.campaigns: list[Campaign] = []

    def hold(self, people: Population, now: float) -> tuple[list[Alert], list[Decision]]:
        """One round, at event time `now`."""
        self.campaigns = [c for c in self.campaigns if not c.ended or now - c.ended < REMEMBERED]
        alive = [campaign for campaign in self.campaigns if not campaign.ended]
        alive.sort(key=lambda campaign: not campaign.opened)
        people.expire(now, [key for campaign in alive for key in campaign.member])
        eligible = self._eligible(people, alive, now)
        alerts: list[Alert] = []
        decisions: list[Decision] = []
        groups = [self._recall(campaign, people) for campaign in alive]
        held = np.zeros(len(people), bool)
        for campaign, group in zip(alive, groups, strict=True):
            if campaign.opened:
                held |= group.member > SURE
        for campaign, group in zip(alive, groups, strict=True):
            if campaign.opened:
                held &= ~(group.member > SURE)
            self._renew(campaign, group, people, eligible, held, now, alerts, decisions)
            held |= group.member > SURE
        for campaign, group in self._found(people, eligible, held, now):
            self._renew(campaign, group, people, eligible, held, now, alerts, decisions)
            held |= group.member > SURE
        self._merge(people, eligible, now, alerts)
        self.campaigns = [c for c in self.campaigns if c.member or c.ended]
        return alerts, decisions

    @staticmethod
    def _eligible(people: Population, alive: list[Campaign], now: float) -> Marks:
        """Who may belong to a group: keys of which enough is known, and who are active. But not
        applications, unless they are accused: what fills one template needs no other key."""
        said = people.rows["said"]
        varied = (people.traits.variety <= VARIED) | (said["severity"] >= 2)
        for campaign in alive:
            varied[_rows(campaign, people)] = True
        return varied & (said["sketched"] >= LEAST) & (said["ts"] > now - ACTIVE)

    @staticmethod
    def _recall(campaign: Campaign, people: Population) -> Group:
        member = np.zeros(len(people))
        for key, probability in campaign.member.items():
            at = people.index(key)
            if at is not None:
                member[at] = probability
        return Group(member)

    def _found(
        self, people: Population, eligible: Marks, held: Marks, now: float
    ) -> Iterator[tuple[Campaign, Group]]:
        """New groups."""
        said = people.rows["said"]
        free = eligible & ~held & (said["ts"] > now - SILENT)
        for seed in seeds(people, free, int(now // ROUND)):
            if held[seed].any():
                continue
            member = np.zeros(len(people))
            member[seed] = 1.0
            group = Group(member)
            before = seed
            for _ in range(_STEPS):
                group.step(people, eligible & ~held)
                sure = np.flatnonzero(group.member > SURE)
                if len(sure) < 2 or np.array_equal(sure, before):
                    break
                before = sure
            if len(sure) >= self._least:
                keys = [people.keys[i] for i in sure.tolist()]
                known = self._known(keys)
                if known is None:
                    known = Campaign(campaign_id(keys, now), now, {})
                    self.campaigns.append(known)
                yield known, group

    def _known(self, keys: list[str]) -> Campaign | None:
        """The campaign that was over and begins anew with these keys, if there is one."""
        for campaign in self.campaigns:
            if campaign.ended and 2 * len(campaign.named.keys() & set(keys)) > len(keys):
                campaign.ended = 0.0
                return campaign
        return None

    def _renew(
        self,
        campaign: Campaign,
        group: Group,
        people: Population,
        eligible: Marks,
        held: Marks,
        now: float,
        alerts: list[Alert],
        decisions: list[Decision],
    ) -> None:
        """Ask who is of a group, judge it, and say what is to be said."""
        settled = campaign.member and not campaign.opened and now - campaign.found >= HOUR
        if settled and int(now // ROUND) % _SELDOM:
            return
        group.step(people, eligible & ~held)
        campaign.member = {
            people.keys[i]: float(group.member[i])
            for i in np.flatnonzero(group.member > _KEPT).tolist()
        }
        members = np.flatnonzero(group.member > _BELONGS)
        sure = np.flatnonzero(group.member > SURE)
        last = float(people.rows["said"]["ts"][members].max()) if len(members) else 0.0
        if len(sure) >= self._least:
            verdict = judge(people, group, members, eligible)
            if verdict.guilty or now - last > HOUR:  # who is silent neither upholds nor refutes
                campaign.upheld = now
            if verdict.guilty or campaign.opened:
                self._speak(campaign, group, people, sure, verdict, now, alerts)
                decisions += self._decide(campaign, people, now)
        elif not campaign.opened:
            campaign.member = {}
        if campaign.opened and now - last > SILENT:
            self._end(campaign, now, alerts, "silent for hours")
        elif campaign.opened and now - campaign.upheld >= self._quiet:
            self._end(campaign, now, alerts, "nothing upholds it")

    def _speak(
        self,
        campaign: Campaign,
        group: Group,
        people: Population,
        sure: Rows,
        verdict: Verdict,
        now: float,
        alerts: list[Alert],
    ) -> None:
        """Open the alert, or say what has changed."""
        campaign.evidence, campaign.reason = verdict.evidence, verdict.reason
        campaign.bystanders = _bystanders(group, people)
        before = set(campaign.named)
        belongs = {key for key, p in campaign.member.items() if p > _BELONGS}
        named = {key: at for key, at in campaign.named.items() if key in belongs}
        named |= {key: now for i in sure.tolist() if (key := people.keys[i]) not in named}
        campaign.named = named
        critical = (
            len(named) >= _CRITICAL and verdict.probability <= self._settings.detection.critical
        )
        severity: Severity = (
            "critical" if critical or campaign.severity == "critical" else "warning"
        )
        more = bool(named.keys() - before)
        if campaign.opened and severity == campaign.severity and not more:
            return
        campaign.severity = severity
        origin = "" if campaign.opened else self._origin(campaign)
        campaign.note(now, "grown" if campaign.opened else "split" if origin else "born", origin)
        state: State = "update" if campaign.opened else "open"
        campaign.opened = campaign.opened or now
        rows = _rows(campaign, people)
        said = people.rows["said"][rows]
        requests, tokens = int(said["requests"].sum()), float(said["tokens"].sum())
        kinds = {f"{k}_nats": float(nats[rows].mean()) for k, nats in group.nats.items()}
        campaign.evidence = {
            **campaign.evidence,
            "members": float(len(named)),
            "new_members": float(len(named.keys() - before)),
            "confidence": float(group.member[rows].mean()),
            "requests": float(requests),
            "tokens": tokens,
            "bystanders": float(len(campaign.bystanders)),
            **kinds,
        }
        summary = (
            f"{campaign.id}: {len(named):,} keys act as one, {requests:,} requests and "
            f"{tokens:,.0f} tokens so far; {campaign.reason}."
        )
        alerts.append(self._alert(campaign, state, now, summary))

    def _origin(self, campaign: Campaign) -> str:
        """The campaign that most of a new one's members were named in, if there is one."""
        for other in self.campaigns:
            common = len(other.named.keys() & campaign.named.keys())
            if other is not campaign and other.opened and 2 * common > len(campaign.named):
                return other.id
        return ""

    def _alert(self, campaign: Campaign, state: State, now: float, summary: str) -> Alert:
        over = state == "resolved"
        return Alert(
            id=alert_id(campaign.id, "campaign", campaign.opened),
            kind="campaign",
            state=state,
            severity=campaign.severity,
            score=0.0 if over else 1.0 - campaign.evidence["probability"],
            subject=Subject("campaign", campaign.id, sorted(campaign.named)[:_LISTED]),
            detected_at=now,
            window=(campaign.found, now),
            evidence=campaign.evidence,
            summary=summary,
            decision="observe" if over else action_for("campaign", campaign.severity),
        )

    def _decide(self, campaign: Campaign, people: Population, now: float) -> Iterator[Decision]:
        """Decisions on members that are new or half over, for as long as they are active."""
        action = action_for("campaign", campaign.severity)
        seconds = duration(action, self._settings.decisions)
        reason = alert_id(campaign.id, "campaign", campaign.opened)
        for key in campaign.named:
            at = people.index(key)
            active = at is not None and now - people.rows["said"]["ts"][at] < SILENT
            if active and now - campaign.decided.get(key, 0.0) >= seconds / 2:
                campaign.decided[key] = now
                yield Decision(key, action, reason, now, seconds, origin="campaign")

    def _end(self, campaign: Campaign, now: float, alerts: list[Alert], why: str) -> None:
        campaign.note(now, "ended")
        alerts.append(self._alert(campaign, "resolved", now, f"{campaign.id}: over, {why}."))
        campaign.ended, campaign.member, campaign.opened = now, {}, 0.0

    def _merge(self, people: Population, eligible: Marks, now: float, alerts: list[Alert]) -> None:
        """Let the younger of two campaigns go over into the older if they are one: if the greater
        of them, asked, takes the other's members for its own."""
        alive = [c for c in self.campaigns if c.opened and not c.ended and c.named]
        rows = {campaign.id: _rows(campaign, people) for campaign in alive}
        for older, younger in combinations(alive, 2):
            if older.ended or younger.ended or not _near(people, rows[older.id], rows[younger.id]):
                continue
            less, more = sorted((older, younger), key=lambda campaign: len(campaign.named))
            group = self._recall(more, people)
            group.step(people, eligible)
            if float((group.member[rows[less.id]] > _BELONGS).mean()) < _BELONGS:
                continue
            older.member = younger.member | older.member
            older.named = younger.named | older.named
            rows[older.id] = np.concatenate([rows[older.id], rows[younger.id]])
            older.note(now, "merged", younger.id)
            younger.note(now, "merged", older.id)
            summary = f"{younger.id}: is part of {older.id}."
            alerts.append(self._alert(younger, "resolved", now, summary))
            younger.ended, younger.member, younger.opened = now, {}, 0.0


def _rows(campaign: Campaign, people: Population) -> Rows:
    return np.array([i for key in campaign.named if (i := people.index(key)) is not None], np.int64)


def _near(people: Population, one: Rows, other: Rows) -> bool:
    """Whether members came at about the same time and ask about as fast."""
    traits = people.traits
    apart = (
        abs(np.median(trait[one]) - np.median(trait[other])) for trait in (traits.pace, traits.born)
    )
    return all(gap < most for gap, most in zip(apart, _NEAR, strict=True))


def _bystanders(group: Group, people: Population) -> list[str]:
    """Keys that share what is rare with members, but do not act like them."""
    shared = np.maximum(group.nats["payment"], group.nats["network"])
    which = np.flatnonzero((shared >= _TELLING) & (group.member < _BELONGS))
    return [people.keys[i] for i in which[:_BYSTANDERS].tolist()]

"""Collects the facts of a case from Redis, without a claim, so no worker is disturbed.

A worker writes a partition's records and its offset in one transaction, and they are read in one
here. So the facts are those of one offset, and a replay up to it gives the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from monitor.alerting.alerts import Alert, Lifecycle, Severity
from monitor.alerting.policy import action_for
from monitor.campaigns.campaign import Campaign
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.errors import InputError
from monitor.evidence.facts import Facts, StreamRange
from monitor.identity import ACCOUNT_PREFIX
from monitor.linker import LinkPartition
from monitor.partition import Partition
from monitor.records.baseline import load_reference
from monitor.records.migrations import read
from monitor.records.profile import RECORD
from monitor.store import inventory
from monitor.store.alert_book import AlertBook
from monitor.store.base import name_in
from monitor.store.redis import RedisStore
from pipelines.cases.facts import campaign as campaigns
from pipelines.cases.facts import key as keys
from pipelines.cases.facts.versions import versions
from pipelines.inspect.campaigns import link_partitions
from pipelines.inspect.key import ordinary_records
from pipelines.kafka.offsets import Offsets
from pipelines.kafka.ranges import Range, RangeReader

CAMPAIGN_PREFIX = "c_"
_PAGES = 10  # of records: enough to find other keys for comparison
_TOGETHER = 20_000  # rows that are read in one transaction, which holds Redis up for some 20 ms
_NEWEST = 5_000  # messages of a partition of alerts that the alert book may be behind
_ATTEMPTS = 5  # to read a campaign that gets new members meanwhile


class Collector:
    """Collects facts. Threads may share it.

    Args:
        settings: of the workers.
        store: their Redis; default: as the settings name.
        offsets: answers where topics begin; default: asks Kafka.
    """

    def __init__(
        self, settings: Settings, store: RedisStore | None = None, offsets: Offsets | None = None
    ) -> None:
        self._settings = settings
        self._store = store or RedisStore(settings.redis_url, settings.record_seconds)
        self._book = AlertBook(settings.redis_url)
        self._offsets = offsets or Offsets(settings)
        self._versions = versions(settings)

    def collect(self, subject: str, *, quick: bool = False) -> Facts:
        """Collect the facts about a key, an account, an end user or a campaign.

        Args:
            subject: its id, as in alerts.
            quick: read nothing about other keys and no old alert: what is ordinary, what ties
                members and who else has what they share is left out, and so is the evidence of
                alerts that have ended.

        Raises:
            InputError: if Redis has nothing about it.
            StoreError: if Redis does not answer.
        """
        if subject.startswith(CAMPAIGN_PREFIX):
            return self._campaign(subject, quick=quick)
        return self._key(subject, quick=quick)

    def _alerts(
        self, wanted: Mapping[str, Last], outbox: Sequence[Alert], *, quick: bool
    ) -> list[Alert]:
        """The messages about alerts: the last of each from the alert book, and others from the
        topic where the book is behind, or where the last has no evidence because it is the end.

        Args:
            wanted: by id, the last message that the state has led to.
            outbox: messages that may not be on the topic yet.
        """
        known = self._book.read(wanted)
        alerts = [*(each.alert for each in known.values()), *outbox]
        behind = {
            id
            for id, last in wanted.items()
            if not any(map(last.is_met, _of(id, alerts)))
            and (id in known or not (last.ended and quick))  # the book forgets what has ended
        }
        ended = {id for id, each in known.items() if not each.is_open and not quick}
        topic = self._settings.topics.alerts
        numbers = sorted({known[id].partition for id in ended})
        if behind:
            numbers = self._offsets.partitions(topic)
        names = [f"{topic}:{number}" for number in numbers]
        first, ends = self._offsets.earliest(names), self._offsets.ends(names)
        ranges = []
        for name, number in zip(names, numbers, strict=True):
            if name in first and name in ends:
                least = first[name] if ended else max(first[name], ends[name] - _NEWEST)
                ranges.append(Range(topic, number, least, ends[name]))
        for batch in RangeReader(self._settings).batches(ranges):
            alerts += _among(behind | ended, batch.values)
        return alerts

    # Keys, accounts and end users

    def _key(self, subject: str, *, quick: bool) -> Facts:
        candidates = self._candidates(subject)
        if not candidates:
            raise InputError(
                f"Redis at {self._store.server} has no record of {subject}: it has sent nothing "
                f"for {self._settings.record_days:g} days (XM_RECORD_DAYS), or it is another one."
            )
        own = max(candidates, key=lambda each: each.rank)
        named = own.rank[0] or subject.startswith(ACCOUNT_PREFIX)
        reference = Partition("", 0, load_reference(self._settings.reference)).baseline
        shared = keys.baseline_is_shared(own.partition.baseline, reference)
        rest_on = [] if named and not shared else self._partitions()
        ends = {each.name: each.offset for each in rest_on}
        ends[own.partition.name] = own.partition.offset
        known = keys.Known(
            subject,
            own.record,
            own.partition,
            self._alerts(self._last_of_key(subject, own), own.partition.outbox, quick=quick),
            np.empty(0, RECORD) if quick else self._others(subject),
            self._ranges(ends),
            self._begin_before(ends, float(own.record["first_seen"])),
        )
        return keys.key_facts(known, self._settings, self._versions)

    def _last_of_key(self, subject: str, own: _Candidate) -> dict[str, Last]:
        """The last messages about a subject's alerts that its record has led to."""
        lifecycle = Lifecycle(self._settings.detection, action_for, ALL_DETECTORS)
        opened = {each.id: each for each in lifecycle.open_on(own.record, subject)}
        return {
            id: Last(severity=opened[id].severity) if id in opened else Last(ended=True)
            for id in keys.alert_ids(subject, own.record)
        }

    def _candidates(self, subject: str) -> list[_Candidate]:
        """The subject's record beside each partition that may have it."""
        reference, found = load_reference(self._settings.reference), []
        for name in self._names():
            record_name = (
                name_in(name, subject)  # each partition has its own record of an account
                if subject.startswith(ACCOUNT_PREFIX)
                else self._store.names(name, [subject])[0]
            )
            state, (data,), _ = self._store.read_together(name, [record_name])
            if data is not None and state is not None:
                partition = Partition(name, 0, reference)
                partition.restore(state)
                record = read(data)
                rank = (subject in partition.alerted, int(record["requests"]))
                found.append(_Candidate(rank, record, partition))
        return found

    def _names(self) -> list[str]:
        """The names of the partitions of requests. Redis may have those of earlier topics, too."""
        topics = self._settings.topics.requests, self._settings.topics.keyed
        return sorted(n for n in self._store.baselines() if n.rpartition(":")[0] in topics)

    def _partitions(self) -> list[Partition]:
        """All partitions of requests."""
        reference, found = load_reference(self._settings.reference), []
        for name in self._names():
            state = self._store.state(name)
            if state is not None:
                partition = Partition(name, 0, reference)
                partition.restore(state)
                found.append(partition)
        return found

    def _others(self, subject: str) -> Any:
        pages = islice(inventory.pages(self._store.server), _PAGES)
        return ordinary_records(
            read(data) for page in pages for name, data in page if name != subject
        )

    # Campaigns

    def _campaign(self, id: str, *, quick: bool) -> Facts:
        for partition in link_partitions(self._store, self._settings):
            found = _find(partition, id)
            if found is not None:
                break
        else:
            raise InputError(
                f"Redis at {self._store.server} has no campaign {id}: `xm campaigns --all` lists "
                "all of them. One that has ended is kept for 7 days."
            )
        whole = not quick
        partition, campaign = self._load(partition.name, found, whole=whole)
        first = partition.population.rows["fingerprint"]["first_seen"][
            partition.population.rows_of(campaigns.member_keys(campaign))
        ]
        complete = len(first) > 0 and self._begin_before([partition.name], float(first.min()))
        # Fingerprints may follow from requests that no checkpoint covers yet.
        covered = {each.name: each.offset for each in self._partitions()}
        arrived = self._offsets.ends(list(covered))
        ends = {name: max(end, arrived.get(name, 0)) for name, end in covered.items()}
        stream = self._ranges({partition.name: partition.observed, **ends})
        last = Last(at=campaigns.published(campaign)) if campaign.opened else Last(ended=True)
        wanted = {campaigns.own_alert_id(campaign): last} if campaign.named else {}
        alerts = self._alerts(wanted, partition.outbox, quick=quick)
        known = campaigns.Known(partition, campaign, whole, alerts, stream, complete)
        return campaigns.campaign_facts(known, self._settings, self._versions)

    def _load(
        self, name: str, campaign: Campaign, *, whole: bool
    ) -> tuple[LinkPartition, Campaign]:
        """The partition with a campaign and the rows of its members, as of one offset.

        With the whole population too. If that is large, the rows of other keys may be newer.
        """
        others: dict[str, bytes] = {}
        together = whole and self._store.count_rows(name) <= _TOGETHER
        if whole and not together:
            others = self._store.rows(name)
        for _ in range(_ATTEMPTS):
            wanted = None if together else _wanted(campaign)
            state, _, rows = self._store.read_together(name, rows=wanted)
            partition = LinkPartition(name, 0, self._settings)
            if state is not None:
                partition.restore(state)
            campaign = _find(partition, campaign.id) or campaign
            if wanted is None or set(_wanted(campaign)) <= set(wanted):
                break
        partition.population.load({**others, **rows})
        return partition, campaign

    def _ranges(self, ends: Mapping[str, int]) -> list[StreamRange]:
        """The offsets that partitions still have up to these ends."""
        earliest = self._offsets.earliest(list(ends))
        found = []
        for name, end in ends.items():
            topic, _, number = name.rpartition(":")
            found.append(StreamRange(topic, int(number), min(earliest.get(name, 0), end), end))
        return found

    def _begin_before(self, names: Iterable[str], first_seen: float) -> bool:
        """Whether partitions still have all since an event time, epoch seconds."""
        return all(self._offsets.begins_before(name, first_seen) for name in names)


class Last(NamedTuple):
    """What the last message about an alert is like.

    Attributes:
        ended: whether it is the end.
        severity, at: of one that is not; `None` for any.
    """

    ended: bool = False
    severity: Severity | None = None
    at: float | None = None

    def is_met(self, message: Alert) -> bool:
        """Whether a message is it."""
        return (message.state == "resolved") == self.ended and (
            self.ended
            or (
                self.severity in (None, message.severity) and self.at in (None, message.detected_at)
            )
        )


class _Candidate(NamedTuple):
    """A partition that may have a subject; the rank is highest for the one that has it."""

    rank: tuple[bool, int]
    record: Any
    partition: Partition


def _of(id: str, alerts: Iterable[Alert]) -> list[Alert]:
    return [each for each in alerts if each.id == id]


def _among(ids: set[str], values: Sequence[bytes | None]) -> Iterator[Alert]:
    """The messages of some alerts."""
    for value in values:
        if value is not None and any(id.encode() in value for id in ids):
            with suppress(msgspec.MsgspecError):  # of a newer version
                alert = msgspec.json.decode(value, type=Alert)
                if alert.id in ids:
                    yield alert


def _find(partition: LinkPartition, id: str) -> Campaign | None:
    return next((each for each in partition.rounds.campaigns if each.id == id), None)


def _wanted(campaign: Campaign) -> list[str]:
    return sorted({*campaigns.member_keys(campaign), *campaign.bystanders})

"""The linker: key fingerprints in, campaigns out.

    messages -> fingerprints -> population -> rounds: groups -> verdicts -> campaigns -> alerts

A worker drives it like the engine. Every ten minutes of event time there is a round: known groups
update their members, candidates become new groups, and each group is evaluated. A round counts the
fingerprints before it and no later one, in whatever order they arrive: it waits for the partitions
of requests that are behind (`campaigns/order/`). So a replay, a worker that keeps up and one that
catches up find the same campaigns.

A topic without progress is taken to be in the order of time: a replay, or workers of a release that
sends none. There a round runs before the first fingerprint after it.

Each partition has its own population, and campaigns are found within it. To compare all keys use
one partition; it is enough for millions of keys, because they emit few fingerprints
(`fingerprint.py`).
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert, Severity
from monitor.batch import Batch, Outcome, Rejected
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.criteria import load
from monitor.campaigns.fingerprint import Fingerprints, from_messages, split
from monitor.campaigns.imported import Import
from monitor.campaigns.order.held import Held, Integers
from monitor.campaigns.order.progress import decode, is_progress
from monitor.campaigns.order.sources import SILENT, Sources, SourcesState
from monitor.campaigns.population import Population
from monitor.campaigns.rounds import ROUND, Rounds
from monitor.config import Settings
from monitor.gauges import show_campaigns
from monitor.metrics import Metrics
from monitor.operator import PartitionedOperator, Withdrawn
from monitor.partition import PartitionState, decode_state
from monitor.records.stream_clock import Source
from monitor.requests.reasons import Rejection
from monitor.store.base import Checkpoint, Store

_UNSAVED = 16  # messages without fingerprints that no checkpoint needs to cover

log = logging.getLogger(__name__)


class _State(msgspec.Struct, array_like=True):
    version: int
    offset: int
    watermark: float
    campaigns: list[Campaign]
    outbox: list[Alert]
    sources: list[Source] = []  # none in version 1
    imports: list[Import] = []
    # Releases before the following fields read this version, too, and ignore them.
    observed: int = 0
    round: float = 0.0
    fresh: bool = True
    progress: SourcesState = msgspec.field(default_factory=SourcesState)


class LinkPartition(PartitionState):
    """A partition of fingerprints: also its population, and the groups in it.

    Attributes:
        population: the keys and their fingerprints.
        rounds: the groups.
        round: event time of the last round, epoch seconds; 0 before the first.
        fresh: whether the population has fingerprints that no round has seen.
        held: fingerprints after the next round.
        progress: of the partitions of requests.
        reported: when the last progress was observed, monotonic seconds.
        saved: `offset` and `round` when the state was last saved.
    """

    def __init__(self, name: str, claim: int, settings: Settings) -> None:
        super().__init__(name, claim)
        self.population = Population(settings.campaigns.keys)
        self.rounds = Rounds(settings)
        self.round = 0.0
        self.fresh = False
        self.held = Held()
        self.progress = Sources()
        self.reported = -math.inf
        self.saved = 0, 0.0
        self._observed = 0

    @property
    def observed(self) -> int:
        """The first message that was never observed. `offset` is lower while those from there on
        are observed again, because fingerprints of them were held when the state was saved."""
        return max(self.offset, self._observed)

    @property
    def next_round(self) -> float:
        """When the next round is due, epoch seconds; infinite before the first fingerprint."""
        if not self.round and not self.held:
            return math.inf
        return (self.round or self.held.first_ts // ROUND * ROUND) + ROUND

    def counts_now(self, ts: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which of n fingerprints, `(n,) float64`, the next round counts, `(n,) bool`.

        Before the first round none: the earliest fingerprint says when that is.
        """
        return np.asarray((ts < self.next_round) & (self.round > 0))

    @property
    def has_campaign(self) -> bool:
        """Whether a campaign is open."""
        return any(each.opened and not each.ended for each in self.rounds.campaigns)

    def snapshot(self) -> bytes:
        """The state as bytes, without the population."""
        self.saved = self.offset, self.round
        held = self.held.first_offset
        state = _State(
            version=2,
            offset=self.offset if held is None else min(held, self.offset),
            watermark=self.watermark,
            campaigns=self.rounds.campaigns,
            outbox=self.outbox,
            sources=self.clock.sources,
            imports=self.rounds.imports,
            observed=self.observed,
            round=self.round,
            fresh=self.fresh,
            progress=self.progress.snapshot(),
        )
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        state = decode_state(data, _State, (1, 2), self.name)
        self._resume(state.offset, state.watermark, state.sources)
        self._observed = state.observed
        self.rounds.campaigns, self.outbox = state.campaigns, state.outbox
        self.rounds.imports = state.imports
        earlier = state.observed == 0  # of a release without these fields
        self.round = state.watermark // ROUND * ROUND if earlier else state.round
        self.fresh, self.progress = state.fresh, Sources(state.progress)
        self.dirty = bool(self.outbox)


class Linker(PartitionedOperator[LinkPartition]):
    """A stream operator (`operator.py`) on fingerprints; the same in a worker, replay and tests.

    Args:
        settings: thresholds and sizes.
        store: keeps population rows and partition states.
        metrics: default: metrics in a private registry.
        clock: monotonic seconds, to notice that progress is no longer sent.
    """

    needs_checkpoint = False  # the population is in memory as a whole, saved or not

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, metrics)
        self._clock = clock
        self._settings = settings
        self._withdrawn: Withdrawn = {}
        self._imports: Sequence[Import] | None = None  # not known yet: as in the state
        load(settings.campaigns.weights)  # a file that cannot be used ends the start

    def _new_partition(self, name: str, claim: int) -> LinkPartition:
        return LinkPartition(name, claim, self._settings)

    def _load_rows(self, partition: LinkPartition) -> None:
        partition.population.load(self._store.rows(partition.name), partition.round)
        partition.reported = self._clock()

    def _observe(self, partition: LinkPartition, batch: Batch, out: Outcome) -> None:
        parts = [split(value or b"") for value in batch.values]
        places = [(at, i) for at, part in enumerate(parts) for i in range(len(part))]
        values = [parts[at][i] for at, i in places]
        fingerprints, keys, which = from_messages(values)
        reports = [at for at, part in enumerate(parts) if is_progress(part[0])]
        offsets = np.asarray(batch.offsets, np.int64)
        out.rejected += self._rejected(partition, offsets, parts, {places[i] for i in which})
        sources = np.array([places[i][0] for i in which], np.int64)
        edges = [0, *np.searchsorted(sources, reports).tolist(), len(keys)]
        for number, (start, end) in enumerate(pairwise(edges)):
            if start < end:
                some = slice(start, end)
                self._add_fingerprints(
                    partition, fingerprints[some], keys[some], offsets[sources[some]], out
                )
            if number < len(reports) and offsets[reports[number]] >= partition.observed:
                self._add_progress(partition, parts[reports[number]][0], out)
        self.metrics.fingerprints.inc(out.events)
        self.metrics.linked_keys.set(len(partition.population))
        self.metrics.held_fingerprints.set(len(partition.held))

    def _rejected(
        self,
        partition: LinkPartition,
        offsets: Integers,
        parts: list[list[bytes]],
        valid: set[tuple[int, int]],
    ) -> Iterator[Rejected]:
        """What is neither a fingerprint nor progress.

        Args:
            offsets: `(n,) int64`, of the messages.
            parts: n lists of the fingerprints in each of them.
            valid: message and part of those that are fingerprints.
        """
        for at, part in enumerate(parts):
            for i, value in enumerate(part):
                known = (at, i) in valid or (is_progress(value) and decode(value) is not None)
                if not known and offsets[at] >= partition.observed:
                    rejection = Rejection("not_a_fingerprint", "of this version", at, value, i)
                    yield Rejected(int(offsets[at]), rejection)

    def _add_progress(self, partition: LinkPartition, value: bytes, out: Outcome) -> None:
        """Take over progress, and run the rounds that waited for it."""
        progress = decode(value)
        if progress is None:
            return
        partition.progress.add(progress)
        partition.reported = self._clock()
        self._run_until(partition, partition.progress.reached(partition.next_round), out)

    def _add_fingerprints(
        self,
        partition: LinkPartition,
        fingerprints: Fingerprints,
        keys: list[str],
        offsets: Integers,
        out: Outcome,
    ) -> None:
        """Add consecutive fingerprints to the population, or hold them for a later round.

        Args:
            fingerprints: `(n,) FINGERPRINT`.
            keys: the n keys.
            offsets: `(n,) int64`, of their messages, rising.
        """
        again = int(np.searchsorted(offsets, partition.observed))
        after = ~partition.counts_now(fingerprints["ts"][:again])
        self._hold(partition, fingerprints[:again], keys[:again], offsets[:again], after)
        fingerprints, keys, offsets = fingerprints[again:], keys[again:], offsets[again:]
        ts = np.ascontiguousarray(fingerprints["ts"])
        clock, _, watermarks = partition.clock.after(ts, keys, np.full(len(keys), np.inf))
        ordered = not partition.progress or self._clock() - partition.reported >= SILENT
        for start, end in _windows(watermarks) if ordered else [(0, len(keys))]:
            if ordered:
                now = float(watermarks[start + 1]) // ROUND * ROUND
                self._run_until(partition, now, out)
            some = slice(start, end)
            early = partition.counts_now(ts[some])
            self._update(partition, fingerprints[some][early], _where(keys[some], early))
            self._hold(partition, fingerprints[some], keys[some], offsets[some], ~early)
        while len(partition.held) > self._settings.campaigns.keys:
            first = partition.held.first_ts // ROUND * ROUND
            self._run_until(partition, max(first, partition.next_round), out)
        out.events += len(keys)
        partition.clock = clock

    def _must_save(self, partition: LinkPartition, out: Outcome) -> bool:
        offset, round = partition.saved
        few = partition.offset - offset < _UNSAVED and partition.round == round
        return bool(out.events or out.rejected) or not few

    def _hold(
        self,
        partition: LinkPartition,
        fingerprints: Fingerprints,
        keys: list[str],
        offsets: Integers,
        which: npt.NDArray[np.bool_],
    ) -> None:
        """Hold some of n fingerprints; `which` is `(n,) bool`, the others as above."""
        partition.held.add(fingerprints[which], _where(keys, which), offsets[which])

    def _update(
        self, partition: LinkPartition, fingerprints: Fingerprints, keys: list[str]
    ) -> None:
        """Add n fingerprints, `(n,) FINGERPRINT`, to the population."""
        if not keys:
            return
        population = partition.population
        for i in np.flatnonzero(fingerprints["ts"] < partition.round).tolist():
            at = population.index(keys[i])
            if at is None or population.rows["fingerprint"]["ts"][at] < fingerprints["ts"][i]:
                self.metrics.late_fingerprints.inc()
        population.update(fingerprints, keys)
        partition.fresh = True

    def _run_until(self, partition: LinkPartition, time: float, out: Outcome) -> None:
        """Run the rounds that are due up to an event time.

        Without new fingerprints, one is run only while there is a campaign, which may end, and at
        the end of a gap.
        """
        if partition.next_round > time:
            return
        while (now := partition.next_round) <= time:
            self._update(partition, *partition.held.take(now))  # before the first round
            if not partition.fresh and not partition.has_campaign:
                now = max(now, min(time, partition.held.first_ts) // ROUND * ROUND)
            if partition.fresh or partition.has_campaign or partition.held.first_ts < now + ROUND:
                self._run(partition, now, out)
            else:
                partition.population.settle(now)
            partition.round, partition.fresh = now, False
            self._update(partition, *partition.held.take(now + ROUND))
        if overdue := partition.progress.ran(partition.round):
            log.warning("linker_waits_no_longer round=%.0f partitions=%s", partition.round, overdue)

    def _run(self, partition: LinkPartition, now: float, out: Outcome) -> None:
        """Run a round."""
        if self._imports is not None:
            partition.rounds.imports = [*self._imports]
        with self.metrics.link_seconds.time():
            alerts, decisions = partition.rounds.run(partition.population, now, self._withdrawn)
        out.alerts += alerts
        out.decisions += decisions

    def withdraw(self, withdrawn: Withdrawn) -> None:
        """As in the contract; a campaign's alert resolves in the next round."""
        self._withdrawn = withdrawn

    def forget(self, subjects: Sequence[str]) -> None:
        for partition in self.partitions.values():
            known = len(partition.population)
            partition.population.forget(subjects)
            partition.held.forget(subjects)
            partition.clock = partition.clock.without_names(subjects)
            had = [campaign.forget(subjects) for campaign in partition.rounds.campaigns]
            partition.dirty |= any(had) or len(partition.population) < known

    def use_imports(self, imports: Sequence[Import]) -> None:
        """Use these indicators of partners from the next round on. Any thread may call this.

        Until the first call, those of the last checkpoint count.
        """
        self._imports = imports

    def open_alerts(self) -> Counter[tuple[str, Severity]]:
        return Counter(
            ("campaign", campaign.severity)
            for partition in self.partitions.values()
            for campaign in partition.rounds.campaigns
            if campaign.opened and not campaign.ended
        )

    def update_metrics(self) -> None:
        groups = (each.rounds.campaigns for each in self.partitions.values())
        show_campaigns(self.metrics.subjects, groups, self._settings.subject_series)

    def _add_rows(self, partition: LinkPartition, checkpoint: Checkpoint) -> None:
        checkpoint.rows[partition.name] = partition.population.snapshot()

    def rollback(self, checkpoint: Checkpoint) -> None:
        super().rollback(checkpoint)
        for name in checkpoint.rows.keys() & self.partitions.keys():
            self.partitions[name].population.rollback(checkpoint.rows[name])


def _windows(watermarks: npt.NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Split n fingerprints where a round is due.

    Args:
        watermarks: `(n + 1,) float64`, before each of them and after the last, epoch seconds.

    Yields:
        start and end of each part.
    """
    numbers = watermarks[1:] // ROUND
    yield from pairwise([0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)])


def _where(keys: list[str], which: npt.NDArray[np.bool_]) -> list[str]:
    """Some of n keys; `which` is `(n,) bool`."""
    return [keys[i] for i in np.flatnonzero(which).tolist()]

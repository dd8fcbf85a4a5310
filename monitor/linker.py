"""The linker: key fingerprints in, campaigns out.

    messages -> fingerprints -> population -> rounds: groups -> verdicts -> campaigns -> alerts

A worker drives it like the engine. Fingerprints update the population as they arrive. Every ten
minutes of event time there is a round: known groups update their members, candidates become new
groups, and each group is evaluated. The result depends on the stream of fingerprints alone.

Each partition has its own population, and campaigns are found within it. To compare all keys use
one partition; it is enough for millions of keys, because they emit few fingerprints
(`fingerprint.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert, Severity
from monitor.batch import Batch, Outcome, Rejected
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.criteria import load
from monitor.campaigns.fingerprint import from_messages, split
from monitor.campaigns.imported import Import
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


class _State(msgspec.Struct, array_like=True):
    version: int
    offset: int
    watermark: float
    campaigns: list[Campaign]
    outbox: list[Alert]
    sources: list[Source] = []  # none in version 1
    imports: list[Import] = []


class LinkPartition(PartitionState):
    """A partition of fingerprints: also its population, and the groups in it.

    Attributes:
        population: the keys and their fingerprints.
        rounds: the groups.
    """

    def __init__(self, name: str, claim: int, settings: Settings) -> None:
        super().__init__(name, claim)
        self.population = Population(settings.campaigns.keys)
        self.rounds = Rounds(settings)

    def snapshot(self) -> bytes:
        """The state as bytes, without the population."""
        state = _State(
            version=2,
            offset=self.offset,
            watermark=self.watermark,
            campaigns=self.rounds.campaigns,
            outbox=self.outbox,
            sources=self.clock.sources,
            imports=self.rounds.imports,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        state = decode_state(data, _State, (1, 2), self.name)
        self._resume(state.offset, state.watermark, state.sources)
        self.rounds.campaigns, self.outbox = state.campaigns, state.outbox
        self.rounds.imports = state.imports
        self.dirty = bool(self.outbox)


class Linker(PartitionedOperator[LinkPartition]):
    """A stream operator (`operator.py`) on fingerprints; the same in a worker, replay and tests.

    Args:
        settings: thresholds and sizes.
        store: keeps population rows and partition states.
        metrics: default: metrics in a private registry.
    """

    needs_checkpoint = False  # the population is in memory as a whole, saved or not

    def __init__(self, settings: Settings, store: Store, *, metrics: Metrics | None = None) -> None:
        super().__init__(store, metrics)
        self._settings = settings
        self._withdrawn: Withdrawn = {}
        self._imports: Sequence[Import] | None = None  # not known yet: as in the state
        load(settings.campaigns.weights)  # a file that cannot be used ends the start

    def _new_partition(self, name: str, claim: int) -> LinkPartition:
        return LinkPartition(name, claim, self._settings)

    def _load_rows(self, partition: LinkPartition) -> None:
        partition.population.load(self._store.rows(partition.name))

    def _observe(self, partition: LinkPartition, batch: Batch, out: Outcome) -> None:
        parts = [split(value or b"") for value in batch.values]
        values = list(chain.from_iterable(parts))
        fingerprints, keys, which = from_messages(values)
        if len(which) < len(values):
            out.rejected += _rejected(batch, parts, set(which))
        ts = np.ascontiguousarray(fingerprints["ts"])
        clock, _, watermarks = partition.clock.after(ts, keys, np.full(len(keys), np.inf))
        for start, end, now in _rounds(watermarks):
            if now:
                if self._imports is not None:
                    partition.rounds.imports = [*self._imports]
                with self.metrics.link_seconds.time():
                    alerts, decisions = partition.rounds.run(
                        partition.population, now, self._withdrawn
                    )
                out.alerts += alerts
                out.decisions += decisions
            partition.population.update(fingerprints[start:end], keys[start:end])
        out.events = len(keys)
        partition.clock = clock
        self.metrics.fingerprints.inc(out.events)
        self.metrics.linked_keys.set(len(partition.population))

    def withdraw(self, withdrawn: Withdrawn) -> None:
        """As in the contract; a campaign's alert resolves in the next round."""
        self._withdrawn = withdrawn

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


def _rejected(batch: Batch, parts: list[list[bytes]], valid: set[int]) -> Iterator[Rejected]:
    """What is no fingerprint.

    Args:
        batch: n messages.
        parts: n lists of the fingerprints in each of them.
        valid: which of all parts are fingerprints.
    """
    places = ((source, i) for source, part in enumerate(parts) for i in range(len(part)))
    for number, (source, i) in enumerate(places):
        if number not in valid:
            value = parts[source][i]
            rejection = Rejection("not_a_fingerprint", "of this version", source, value, i)
            yield Rejected(int(batch.offsets[source]), rejection)


def _rounds(watermarks: npt.NDArray[np.float64]) -> Iterator[tuple[int, int, float]]:
    """Split n fingerprints where a round is due.

    Args:
        watermarks: `(n + 1,) float64`, before each of them and after the last, epoch seconds.

    Yields:
        start and end of each part, and the time of the round before it, 0.0 for no round.
    """
    numbers = watermarks // ROUND
    starts = [0, *(np.flatnonzero(np.diff(numbers[1:])) + 1).tolist(), len(numbers) - 1]
    for start, end in pairwise(starts):
        if start < end:
            due = numbers[start + 1] > numbers[start] and numbers[start] > 0
            yield start, end, float(numbers[start + 1]) * ROUND if due else 0.0

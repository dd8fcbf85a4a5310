"""Stream operators: the contract between a worker and the engine or the linker.

An operator observes batches of messages, partition by partition, and keeps state about them. What
it has observed becomes durable by a checkpoint, which its caller writes to the store:

    checkpoint = operator.snapshot()       # what changed since the last snapshot
    try:
        store.commit(checkpoint)           # durable: offsets, records, decisions, unsent alerts
    except BaseException:
        operator.rollback(checkpoint)      # the next snapshot contains it again
        raise
    operator.commit(checkpoint)
    send(checkpoint.alerts)
    operator.published(checkpoint)         # the next snapshot no longer contains these alerts

An operator is not thread-safe: make all calls from one thread, one at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from monitor.alerting.alerts import Severity
from monitor.alerting.decisions import Decision
from monitor.alerting.enforcement import Cleared
from monitor.batch import Batch, Outcome
from monitor.metrics import Metrics
from monitor.partition import PartitionState
from monitor.store.base import Checkpoint, Store

P = TypeVar("P", bound=PartitionState)
#: By subject and kind of alert, what people have found to be no attack.
Withdrawn = Mapping[str, Mapping[str, Cleared]]


class StreamOperator(Protocol):
    """What a worker drives. `Engine` and `Linker` implement it."""

    @property
    def partitions(self) -> Mapping[str, PartitionState]:
        """The assigned partitions by name, "<topic>:<number>"."""

    @property
    def dirty(self) -> bool:
        """Whether `snapshot` would contain anything that is not in the store."""

    @property
    def needs_checkpoint(self) -> bool:
        """Whether memory is short: checkpoint before the next `observe`."""

    @property
    def unsaved_share(self) -> float:
        """Records that the store lacks in their present form, of those in memory at most."""

    @property
    def drift(self) -> Mapping[str, float]:
        """Drift from the reference by statistic, as of the last `update_metrics`."""

    def assign(self, name: str) -> PartitionState:
        """Claim a partition in the store and load its state as of its last checkpoint.

        From now on the store refuses the checkpoints of whoever held the partition before.

        Returns:
            the partition. Its `offset` is the first message that no checkpoint covers, 0 for a
            partition without a checkpoint: one more than the last observed offset. It may hold
            alerts that were committed but not sent; they are in the next snapshot.

        Raises:
            StoreError: the partition is not assigned then.
        """

    def observe(self, batch: Batch) -> Outcome:
        """Observe consecutive messages of an assigned partition, oldest first.

        Messages with an offset below the partition's `offset` are skipped, so a batch may be
        repeated or overlap an earlier one. It must not begin after messages that were never
        observed: those would be lost. Afterwards `offset` is the batch's last offset + 1.

        Returns:
            what followed from the messages that were not skipped. Its alerts and decisions are
            also in the next snapshot; its rejections and fingerprints are not, and must be sent
            before that snapshot is committed.

        Raises:
            KeyError: the partition is not assigned.
            StoreError: nothing was observed. The same call can be made again.
        """

    def withdraw(self, withdrawn: Withdrawn) -> None:
        """Take over the alerts that people have withdrawn as no attack, all of them.

        They resolve. They do not open again until something new is seen, see `Cleared`.

        Raises:
            StoreError: nothing has changed but what opens. The same call can be made again.
        """

    def forget(self, subjects: Sequence[str]) -> None:
        """Forget all that is known of some subjects: what is in memory, and in the next snapshot.

        Their open alerts resolve. Records that are only in the store are not touched.

        Raises:
            StoreError: some may not be forgotten. The same call can be made again.
        """

    def snapshot(self) -> Checkpoint:
        """Everything that changed since the last snapshot, with the offsets it belongs to.

        Follow it by `commit` or `rollback` before the next snapshot. `observe` may be called in
        between: what it changes is in the next snapshot.
        """

    def outputs(self) -> Checkpoint:
        """The decisions since the last snapshot and the unsent alerts, without state and offsets.

        Follow it by `published`, or by `rollback` if the store may not have the decisions.
        """

    def commit(self, checkpoint: Checkpoint) -> None:
        """The store has the checkpoint: its records may leave memory."""

    def rollback(self, checkpoint: Checkpoint) -> None:
        """The store may not have the checkpoint: the next snapshot contains all of it again.

        Correct even if the store does have it, because writing it twice equals writing it once.
        """

    def published(self, checkpoint: Checkpoint) -> None:
        """The alerts of a committed checkpoint are sent: stop keeping them.

        Without this call they are in every following snapshot, and a successor sends them again.
        """

    def revoke(self) -> None:
        """Forget all partitions, records and pending output.

        The next worker observes again what no checkpoint covers.
        """

    def open_alerts(self) -> Counter[tuple[str, Severity]]:
        """The number of open alerts by kind and severity."""

    def update_metrics(self) -> None:
        """Set the metrics that are computed from the state, not counted; asks no store."""


class PartitionedOperator(ABC, Generic[P]):
    """The part of the contract that does not depend on what is observed.

    Args:
        store: keeps the partitions' states.
        metrics: counts outcomes; default: metrics in a private registry.

    Attributes:
        partitions: the assigned partitions by name.
        drift: see `StreamOperator.drift`.
    """

    def __init__(self, store: Store, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._store = store
        self.partitions: dict[str, P] = {}
        self.drift: Mapping[str, float] = {}
        self._decisions: list[Decision] = []  # not in a snapshot yet

    @property
    def dirty(self) -> bool:
        return any(partition.dirty for partition in self.partitions.values())

    @property
    def unsaved_share(self) -> float:
        return 0.0

    @abstractmethod
    def _new_partition(self, name: str, claim: int) -> P:
        """A partition without a state."""

    @abstractmethod
    def _observe(self, partition: P, batch: Batch, out: Outcome) -> None:
        """Observe n > 0 messages that are new to the partition, and add what follows to `out`."""

    @abstractmethod
    def _add_rows(self, partition: P, checkpoint: Checkpoint) -> None:
        """Add to a checkpoint what is stored beside the state of a changed partition."""

    def _must_save(self, partition: P, out: Outcome) -> bool:
        """Whether the next checkpoint must contain a partition after a batch; it must by default.

        A batch that need not be saved may be observed again.
        """
        return True

    def _load_rows(self, partition: P) -> None:
        """Load what `_add_rows` has stored; nothing by default."""

    def assign(self, name: str) -> P:
        claim, state = self._store.claim(name)
        partition = self._new_partition(name, claim)
        if state is not None:
            partition.restore(state)
            self._load_rows(partition)
        self.partitions[name] = partition
        return partition

    def observe(self, batch: Batch) -> Outcome:
        partition = self.partitions[batch.partition]
        batch = batch.after(partition.offset)
        out = Outcome()
        if len(batch.offsets):
            self._observe(partition, batch, out)
            partition.offset = int(batch.offsets[-1]) + 1
            partition.dirty |= self._must_save(partition, out)
            self._add(partition, out)
        return out

    def _add(self, partition: P, out: Outcome) -> None:
        """Keep the alerts and decisions of an outcome for the next snapshot."""
        partition.outbox += out.alerts
        partition.dirty |= bool(out.alerts)
        self._decisions += out.decisions
        self.metrics.count(out)

    def outputs(self) -> Checkpoint:
        checkpoint = Checkpoint(decisions=self._decisions)
        self._decisions = []
        for partition in self.partitions.values():
            checkpoint.claims[partition.name] = partition.claim
            checkpoint.alerts += partition.outbox
        return checkpoint

    def snapshot(self) -> Checkpoint:
        checkpoint = Checkpoint(decisions=self._decisions)
        self._decisions = []
        for partition in self.partitions.values():
            checkpoint.claims[partition.name] = partition.claim
            if partition.dirty:
                checkpoint.partitions[partition.name] = partition.snapshot()
                checkpoint.alerts += partition.outbox
                self._add_rows(partition, checkpoint)
                partition.dirty = False
        return checkpoint

    def commit(self, checkpoint: Checkpoint) -> None:
        """Nothing to do."""

    def rollback(self, checkpoint: Checkpoint) -> None:
        self._decisions = checkpoint.decisions + self._decisions
        for name in checkpoint.partitions.keys() & self.partitions.keys():
            self.partitions[name].dirty = True

    def published(self, checkpoint: Checkpoint) -> None:
        sent = {(alert.id, alert.state, alert.detected_at) for alert in checkpoint.alerts}
        for partition in self.partitions.values():
            unsent = [a for a in partition.outbox if (a.id, a.state, a.detected_at) not in sent]
            partition.dirty |= len(unsent) < len(partition.outbox)
            partition.outbox = unsent

    def revoke(self) -> None:
        self.partitions.clear()
        self._decisions.clear()

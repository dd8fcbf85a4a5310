"""What the engine needs of a place to keep records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import ActiveDecision, Decision
from monitor.errors import FencedError


@dataclass(slots=True)
class Checkpoint:
    """What is written in one transaction, so that it is all there or not at all.

    Attributes:
        records: the bytes of changed records by their names, see `Store.names`.
        partitions: the state of each partition by its name, its offset included.
        rows: by partition of fingerprints, rows of keys that have changed, `None` for those to be
            forgotten.
        publics: by partition, what it has learned of the public, for all to use.
        decisions: to put into force.
        arrivals: by origin and key of a decision, when the request that led to it arrived in
            Kafka, wall-clock time. A decision without one holds in full from now on.
        claims: by partition, the number of the claim under which it is written.
        alerts: to be sent once this is written. They are in the partitions' state too, so that
            whoever takes over sends them if this worker dies in between.
    """

    records: Mapping[str, bytes] = field(default_factory=dict)
    partitions: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    baselines: dict[str, bytes] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    arrivals: dict[tuple[str, str], float] = field(default_factory=dict)
    claims: dict[str, int] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)


class Store(Protocol):
    """Keeps records, partitions' state and decisions. All methods raise `StoreError`."""

    def names(self, partition: str, keys: Sequence[str]) -> Sequence[str]:
        """The names of the records of keys (pseudonyms) that a partition has requests of.

        They are the keys themselves, except where a transaction reaches only what is of one
        partition: there each partition has a record of its own for a key, though all requests of
        a key should be in one partition anyway.
        """

    def load(self, names: Sequence[str]) -> list[bytes | None]:
        """The records of some names of one partition, in their order; `None` for a missing one."""

    def claim(self, name: str) -> tuple[int, bytes | None]:
        """Take a partition over from whoever had it.

        Returns:
            the number of this claim, higher than any before, and the partition's state as the last
            checkpoint left it.
        """

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, all of it or nothing; on a Redis Cluster, all of a partition's.

        If it fails, the same again or a later one leaves what it would have left.

        Raises:
            FencedError: if there is a newer claim to one of its partitions, or the store no longer
                has the checkpoint before this one; nothing is written.
        """

    def baselines(self) -> dict[str, bytes]:
        """What every partition has last said of the public, by its name."""

    def rows(self, partition: str) -> dict[str, bytes]:
        """The rows that a partition of fingerprints keeps, by key."""

    def decision(self, key: str) -> ActiveDecision | None:
        """The decision in force on a key; `until` says when it ends."""

    def ping(self) -> None:
        """Raise unless checkpoints can be written at present."""


def active(checkpoint: Checkpoint, now: float) -> Iterator[ActiveDecision]:
    """The decisions of a checkpoint that are in force at a wall-clock time, with their ends."""
    for decision in checkpoint.decisions:
        arrived = checkpoint.arrivals.get((decision.origin, decision.key))
        started = ActiveDecision.start(decision, arrived, now)
        if started is not None:
            yield started


def fenced(name: str) -> FencedError:
    """What a store raises on a checkpoint under an old claim."""
    return FencedError(f"{name} has been taken up by another worker: nothing of it was written.")

"""What the engine and the linker need of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import ActiveDecision, Decision
from monitor.errors import FencedError


@dataclass(slots=True)
class Checkpoint:
    """What one transaction writes: all of it or nothing.

    Attributes:
        records: the bytes of changed records, by their names (`Store.names`).
        partitions: the state of each partition by its name, with its offset.
        rows: by partition of fingerprints, the rows of keys that changed; `None` deletes a row.
        baselines: by partition, the baseline that it has learned, for all workers to read.
        traffic: by partition, its requests in the last hour.
        decisions: to put into force.
        claims: by partition, the number of the claim under which it is written.
        alerts: to publish once this is written. The partitions' state contains them too, so a
            successor publishes them if this worker dies in between.
        arrivals: by origin and key of a decision, when the request that led to it arrived in
            Kafka, wall-clock time. A decision without one holds in full from now on.
        tenants: of accounts, by their pseudonyms.
    """

    records: Mapping[str, bytes] = field(default_factory=dict)
    partitions: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    baselines: dict[str, bytes] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    claims: dict[str, int] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    arrivals: dict[tuple[str, str], float] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=dict)


class Store(Protocol):
    """Keeps records, partition states and decisions. Every method may raise `StoreError`."""

    def names(self, partition: str, keys: Sequence[str]) -> Sequence[str]:
        """The names of the records of keys (pseudonyms) with requests in a partition.

        The names are the keys, except where a transaction reaches one partition only: there each
        partition has its own record of a key.
        """

    def load(self, names: Sequence[str]) -> list[bytes | None]:
        """The records of these names, of one partition, in order; `None` for a missing one."""

    def claim(self, name: str) -> tuple[int, bytes | None]:
        """Take a partition over from its former owner.

        Returns:
            the number of this claim, higher than any before, and the partition's state as of the
            last checkpoint.
        """

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, all of it or nothing; on a Redis Cluster, per partition.

        After a failure, write the same one again or a later one: the result is the same.

        Raises:
            FencedError: if one of its partitions has a newer claim, or the store has lost the
                checkpoint before this one. Nothing is written.
        """

    def baselines(self) -> dict[str, bytes]:
        """The latest baseline of each partition, by its name."""

    def rows(self, partition: str) -> dict[str, bytes]:
        """The rows of a partition of fingerprints, by key."""

    def in_force(self, keys: Sequence[str]) -> list[list[ActiveDecision]]:
        """All decisions in force on several keys, in the order of ORIGINS; without unreadable
        ones."""

    def ping(self) -> None:
        """Raise unless a checkpoint could be written now."""


def active(checkpoint: Checkpoint, now: float) -> Iterator[ActiveDecision]:
    """The decisions of a checkpoint that are in force at a wall-clock time, with their ends."""
    for decision in checkpoint.decisions:
        arrived = checkpoint.arrivals.get((decision.origin, decision.key))
        started = ActiveDecision.start(decision, arrived, now)
        if started is not None:
            yield started


def name_in(partition: str, subject: str) -> str:
    """The name of the record that a partition has of a subject for itself."""
    return f"{{{partition}}}:{subject}"


def fenced(name: str) -> FencedError:
    """The error for a checkpoint under an old claim."""
    return FencedError(f"{name} has been claimed by another worker. Nothing was written.")

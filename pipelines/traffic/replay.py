"""Replay: recorded requests through the engine that the workers run, and a table of what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from monitor.alerting.alerts import SEVERITIES, Alert
from monitor.batch import Batch, KeyFingerprint, Outcome
from monitor.engine import Engine
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import LineFile, Progress, no_progress

PARTITION, FINGERPRINTS = "replay:0", "fingerprints:0"


@dataclass(slots=True)
class Account:
    """What a replay came to.

    Attributes:
        worst: by subject, the alert of its highest severity.
    """

    events: int = 0
    repeated: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    worst: dict[str, Alert] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count what came of a batch."""
        self.events += outcome.events
        self.repeated += outcome.repeated
        self.rejected.update(rejected.rejection.reason for rejected in outcome.rejected)
        for alert in outcome.alerts:
            if alert.state == "resolved":
                continue
            self.alerts[alert.kind, alert.severity] += 1
            before = self.worst.get(alert.subject.id)
            if before is None or _rank(alert) >= _rank(before):
                self.worst[alert.subject.id] = alert


def replay(
    files: Sequence[str],
    engine: Engine,
    store: MemoryStore,
    linker: Linker,
    *,
    progress: Progress = no_progress,
) -> Iterator[Outcome]:
    """Run files, oldest first, through an engine and a linker; yield what comes of each batch."""
    for name in files:
        with LineFile(name) as file:
            for outcome in drive(engine, store, file, linker):
                yield outcome
                progress(file)


def drive(
    engine: Engine, store: MemoryStore, file: LineFile, linker: Linker | None = None
) -> Iterator[Outcome]:
    """Carry the lines of a file through an engine, as the next messages of its one partition, and
    what it tells of keys through a linker."""
    partition = engine.partitions.get(PARTITION) or engine.assign(PARTITION)
    for lines in file.batches():
        values = [line for line in lines if line and not line.isspace()]
        offsets = range(partition.offset, partition.offset + len(values))
        outcome = engine.observe(Batch(PARTITION, offsets, values))
        if linker is not None and outcome.fingerprints:
            linked = link(linker, outcome.fingerprints)
            outcome.alerts += linked.alerts
            outcome.decisions += linked.decisions
        yield outcome
        if engine.crowded:
            store.commit(engine.checkpoint())
            engine.saved()


def link(linker: Linker, said: Sequence[KeyFingerprint]) -> Outcome:
    """Carry fingerprints through a linker, as the next messages of its one partition."""
    shard = linker.partitions.get(FINGERPRINTS) or linker.assign(FINGERPRINTS)
    offsets = range(shard.offset, shard.offset + len(said))
    return linker.observe(Batch(FINGERPRINTS, offsets, [each.value for each in said]))


def _rank(alert: Alert) -> int:
    return SEVERITIES.index(alert.severity)

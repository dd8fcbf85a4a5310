"""Replay recorded requests through the engine and linker of a worker, and summarize the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from monitor.alerting.alerts import ACTIONS, SEVERITIES, Alert
from monitor.batch import Batch, KeyFingerprint, Outcome
from monitor.engine import Engine
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import LineFile, Progress, no_progress

PARTITION, FINGERPRINTS = "replay:0", "fingerprints:0"


@dataclass(slots=True)
class ReplaySummary:
    """Counts of a replay.

    Attributes:
        events: requests observed.
        repeated: requests seen before, which count once.
        refused: requests answered with 401, 403, 429 or 5xx, by status; they are not in `events`.
        unreadable: requests by field that they had, but that could not be read.
        rejected: requests rejected, by reason.
        samples: the detail of the first rejection, by reason.
        alerts: opened or updated alerts, by kind and severity.
        worst: the alert of the highest severity and the strongest decision, by subject; of several,
            the last that names one sign.
        seconds: duration of the replay.
    """

    events: int = 0
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    worst: dict[str, Alert] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of one batch."""
        self.events += outcome.events
        self.repeated += outcome.repeated
        self.refused += outcome.refused
        self.unreadable += outcome.unreadable
        for _, rejection in outcome.rejected:
            self.rejected[rejection.reason] += 1
            self.samples.setdefault(rejection.reason, rejection.detail)
        for alert in outcome.alerts:
            if alert.state == "resolved":
                continue
            self.alerts[alert.kind, alert.severity] += 1
            before = self.worst.get(alert.subject.id)
            if before is None or _rank(alert) >= _rank(before):
                self.worst[alert.subject.id] = alert


def severity_rank(alert: Alert) -> int:
    """0 for info, 1 for warning, 2 for critical."""
    return SEVERITIES.index(alert.severity)


def _rank(alert: Alert) -> tuple[int, int, bool]:
    return severity_rank(alert), ACTIONS.index(alert.decision), alert.kind != "combined"


def replay_files(
    files: Sequence[str],
    engine: Engine,
    store: MemoryStore,
    linker: Linker,
    *,
    progress: Progress = no_progress,
) -> Iterator[Outcome]:
    """Replay files through an engine and a linker; yield the outcome of each batch.

    Args:
        files: request files, oldest first; `-` is stdin.
        store: the store of the engine and the linker.
    """
    for name in files:
        with LineFile(name) as file:
            for outcome in replay_file(engine, store, file, linker):
                yield outcome
                progress(file)


def replay_file(
    engine: Engine, store: MemoryStore, file: LineFile, linker: Linker | None = None
) -> Iterator[Outcome]:
    """Replay one file as the next messages of a single partition.

    The linker, if any, gets the fingerprints; its alerts and decisions are added to the outcome.
    """
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
        if engine.needs_checkpoint:
            checkpoint = engine.snapshot()
            store.commit(checkpoint)
            engine.commit(checkpoint)


def link(linker: Linker, fingerprints: Sequence[KeyFingerprint]) -> Outcome:
    """Run fingerprints through a linker as the next messages of its only partition."""
    partition = linker.partitions.get(FINGERPRINTS) or linker.assign(FINGERPRINTS)
    offsets = range(partition.offset, partition.offset + len(fingerprints))
    return linker.observe(Batch(FINGERPRINTS, offsets, [each.value for each in fingerprints]))

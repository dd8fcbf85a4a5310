"""Replay recorded requests through the engine and linker of a worker, and summarize the result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from monitor.alerting.alerts import ACTIONS, SEVERITIES, Alert
from monitor.batch import Batch, KeyFingerprint, Outcome
from monitor.campaigns.order.progress import PartitionProgress, Progress, encode
from monitor.campaigns.order.sources import GRACE
from monitor.config import Settings
from monitor.detectors.base import Evaluation
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.traffic.recording import Recording
from pipelines.traffic.rejections import Rejections
from pipelines.traffic.sample import Sample, Sampler

PARTITION, FINGERPRINTS = "replay:0", "fingerprints:0"


@dataclass(slots=True)
class ReplaySummary:
    """Counts of a replay.

    Attributes:
        events: requests observed.
        repeated: requests seen before, which count once.
        late: requests counted at a later time than their own, because they came out of order.
        refused: requests answered with 401, 403, 429 or 5xx, by status; they are not in `events`.
        unreadable: requests by field that they had, but that could not be read.
        ignored: records that are no request of their own, by reason.
        rejected: requests rejected, by reason.
        sample: what a sample of the requests lacks.
        alerts: opened or updated alerts, by kind and severity.
        worst: the alert of the highest severity and the strongest decision, by subject; of several,
            the last that names one sign.
        seconds: duration of the replay.
    """

    events: int = 0
    repeated: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    rejected: Rejections = field(default_factory=Rejections)
    sample: Sample = field(default_factory=Sample)
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    worst: dict[str, Alert] = field(default_factory=dict)
    seconds: float = 0.0

    def as_object(self) -> dict[str, object]:
        """The counts by name, as `--json` prints them."""
        by_kind: dict[str, dict[str, int]] = {}
        for (kind, severity), number in sorted(self.alerts.items()):
            by_kind.setdefault(kind, {})[severity] = number
        return {
            "requests": self.events,
            "seconds": round(self.seconds, 3),
            "repeated": self.repeated,
            "late": self.late,
            "refused": self.refused,
            "unreadable": self.unreadable,
            "ignored": self.ignored,
            "rejected": self.rejected.numbers,
            "first_rejected": self.rejected.first,
            "alerts": by_kind,
            "subjects": list(self.worst.values()),
        }

    @property
    def read(self) -> int:
        """Requests that could be read, whether or not they were evaluated."""
        return self.events + self.refused.total()

    @property
    def mostly_unreadable(self) -> bool:
        """Whether more was rejected than read, or nothing was read."""
        return not self.read or self.rejected.total() > self.read

    def add(self, outcome: Outcome, place: Callable[[int], str] = str) -> None:
        """Count the outcome of one batch.

        Args:
            place: gives the file and line of a message by its index in the batch.
        """
        self.events += outcome.events
        self.repeated += outcome.repeated
        self.late += outcome.late
        self.refused += outcome.refused
        self.unreadable += outcome.unreadable
        self.ignored += outcome.ignored
        self.rejected.add((each.rejection for each in outcome.rejected), place)
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


@dataclass(slots=True)
class Replayed:
    """The end of a replay.

    Attributes:
        store: of the engine and the linker.
        damage: why a file could not be read to its end; what was before it was replayed.
    """

    summary: ReplaySummary
    engine: Engine
    linker: Linker
    store: MemoryStore
    damage: InputError | None = None


def replay_recording(
    recording: Recording,
    settings: Settings,
    identity: Identity,
    *,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Replayed:
    """Replay a recording through a new engine and linker, within `Recording.run`.

    Args:
        on_evaluation: see `Engine`.
        on_outcome: called with the outcome of each batch.

    Raises:
        OutOfOrderError: a request lies before an earlier one, and the recording is not sorted.
    """
    store = MemoryStore()
    engine = Engine(settings, identity, store, on_evaluation=on_evaluation)
    replayed = Replayed(ReplaySummary(), engine, Linker(settings, store), store)
    summary, sampler, begun = replayed.summary, Sampler(settings), time.perf_counter()
    try:
        for outcome in replay(recording, engine, store, replayed.linker, sampler.add):
            summary.add(outcome, recording.place)
            on_outcome(outcome)
    except InputError as error:
        replayed.damage = error
    summary.sample, summary.seconds = sampler.sample, time.perf_counter() - begun
    return replayed


def replay(
    recording: Recording,
    engine: Engine,
    store: MemoryStore,
    linker: Linker | None = None,
    on_batch: Callable[[Sequence[bytes]], None] = lambda values: None,
) -> Iterator[Outcome]:
    """Replay a recording as the messages of a single partition; yield the outcome of each batch.

    Args:
        store: of the engine and the linker.
        linker: gets the fingerprints; its alerts and decisions are added to the outcome.
        on_batch: called with the elements of each batch.

    Raises:
        InputError: a file cannot be read to its end. The requests before that were replayed.
        OutOfOrderError: a request lies before an earlier one, and the recording is not sorted.
    """
    partition = engine.assign(PARTITION)
    for values in recording.batches():
        offsets = range(partition.offset, partition.offset + len(values))
        outcome = engine.observe(Batch(PARTITION, offsets, values))
        recording.check(outcome.times)
        on_batch(values)
        if linker is not None and outcome.fingerprints:
            linked = link(linker, outcome.fingerprints)
            outcome.alerts += linked.alerts
            outcome.decisions += linked.decisions
        yield outcome
        if engine.needs_checkpoint:
            checkpoint = engine.snapshot()
            store.commit(checkpoint)
            engine.commit(checkpoint)
    if linker is not None:
        yield end(linker, partition.watermark)


def end(linker: Linker, watermark: float) -> Outcome:
    """Run the last rounds of a linker, as a worker does when no more requests arrive.

    Args:
        watermark: the event time that the requests have reached, epoch seconds.
    """
    if FINGERPRINTS not in linker.partitions:
        return Outcome()
    ended = [PartitionProgress(0, watermark, 0, True)]
    reports = [Progress(PARTITION, 1, at, ended) for at in (1.0, 1.0 + GRACE)]
    return _observe(linker, [encode(each) for each in reports])


def link(linker: Linker, fingerprints: Sequence[KeyFingerprint]) -> Outcome:
    """Run fingerprints through a linker as the next messages of its only partition."""
    return _observe(linker, [each.value for each in fingerprints])


def _observe(linker: Linker, values: Sequence[bytes]) -> Outcome:
    partition = linker.partitions.get(FINGERPRINTS) or linker.assign(FINGERPRINTS)
    offsets = range(partition.offset, partition.offset + len(values))
    return linker.observe(Batch(FINGERPRINTS, offsets, values))

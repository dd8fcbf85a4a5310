"""Cross-fitting: score ordinary keys against a baseline that they are not part of.

A baseline cannot be tested on the keys it was built from: no key is improbable compared with
itself. So the keys are split into halves, and each half is scored, exactly as in a worker, against
the baseline of the other (V. Chernozhukov et al., Econometrics Journal 21, 2018). For every key and
day the smallest probability of any evaluation is kept. It is what an alert opens on, so it includes
the effect of continuous evaluation by many detectors.

The combined detector needs one statistic more, the distribution of its level among ordinary keys,
which depends on the other detectors' findings. It is collected while scoring and applied
afterwards. Its probability falls with its level, so the highest level of a key-day is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from monitor.batch import Batch
from monitor.config import Settings
from monitor.detectors import DETECTORS, Combined
from monitor.detectors.base import Detector, Evaluation
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import Identity
from monitor.records.baseline import Baseline, Reference
from monitor.records.baseline_mean import Sums
from monitor.records.profile import BINS, COMBINED, DAY, PER_LEVEL
from monitor.requests.decoder import Decoder
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import Progress, no_progress
from pipelines.traffic.producer import MessageParser
from pipelines.traffic.recording import Recording
from pipelines.traffic.rejections import Rejections

HALVES = ("half:0", "half:1")

# Pseudonyms stay in this process, and a fixed key makes the result reproducible.
_IDENTITY = Identity(bytes(32), plain=True)

Floats = npt.NDArray[np.float64]


class Extent(NamedTuple):
    """The extent of one recording.

    Attributes:
        key_days: number of pairs of a key and a day on which it sent requests.
        days: from the first request to the last.
    """

    name: str
    key_days: float
    days: float


class SplitReference(NamedTuple):
    """A reference of each half of the keys, and the recordings they come from."""

    halves: list[Reference]
    recordings: list[Extent]

    @property
    def key_days(self) -> float:
        return sum(each.key_days for each in self.recordings)

    @property
    def days(self) -> float:
        return sum(each.days for each in self.recordings)


class CrossScores(NamedTuple):
    """The scores of ordinary keys.

    Attributes:
        smallest: by detector, the smallest probability of each evaluated key-day, `(n,)`.
        halves: the references, with the distribution of the combined level added.
    """

    smallest: dict[str, Floats]
    halves: list[Reference]


class _CountingBaseline(Baseline):
    """A baseline that starts empty, counts all keys and gives past days their full weight."""

    def __init__(self) -> None:
        super().__init__(Reference.empty(), trusted=True)
        self.ended = np.zeros_like(self.today)

    def start_day(self, day: int) -> bool:
        today = self.today.copy()
        turned = super().start_day(day)
        if turned:
            self.ended += today
        return turned

    @property
    def seen(self) -> Reference:
        past = self.mean.learned[-1][1] if self.mean.learned else Sums.empty()
        return Reference(self.ended + self.today, past.plus(self.mean.today))


@dataclass(slots=True)
class _SmallestProbabilities:
    """Observes evaluations and keeps the minimum of each key-day.

    Attributes:
        p: by day and key, `(detectors + 2,)`: the smallest probability of each detector, minus the
            highest combined level, and minus the highest with more than one sign.
    """

    p: dict[tuple[int, str], Floats] = field(default_factory=dict)

    def __call__(self, evaluation: Evaluation) -> None:
        *findings, combined = evaluation.findings
        level = combined.evidence["level"]
        several = np.where(combined.evidence["signs"] > 1, level, 0.0)
        p = np.stack([*(finding.p for finding in findings), -level, -several], axis=1)
        days = (evaluation.ts // DAY).astype(np.int64).tolist()
        key_days = zip(days, evaluation.keys, strict=True)
        for key_day, row, is_key in zip(key_days, p, evaluation.of_keys, strict=True):
            if not is_key:
                continue
            before = self.p.get(key_day)
            self.p[key_day] = row if before is None else np.minimum(before, row)


def split_reference(
    files: Sequence[str], settings: Settings, *, progress: Progress = no_progress
) -> SplitReference:
    """Build a reference of each half of the keys.

    Raises:
        InputError: the files contain no requests.
    """
    halves, recordings, rejections = [Reference.empty() for _ in HALVES], [], Rejections()

    def count(recording: Recording) -> tuple[list[_CountingBaseline], float, Rejections]:
        baselines, rejected = [_CountingBaseline() for _ in HALVES], Rejections()
        days = _replay_halves(recording, settings, baselines, rejected, detectors=())
        return baselines, days, rejected

    for name in files:
        baselines, days, rejected = Recording([name], Decoder.of(settings), progress=progress).run(
            count
        )
        rejections.merge(rejected)
        seen = [baseline.seen for baseline in baselines]
        halves = [
            Reference(half.peaks + new.peaks, half.mean.plus(new.mean))
            for half, new in zip(halves, seen, strict=True)
        ]
        recordings.append(Extent(name, float(sum(s.peaks[0].sum() for s in seen)), days))
    split = SplitReference(halves, recordings)
    if not split.key_days:
        if rejections.total() or not any(each.days for each in recordings):
            raise InputError(rejections.why_nothing(files))
        raise InputError(f"{' '.join(files)} has too little traffic. Record a day or more.")
    return split


def cross_score(
    files: Sequence[str],
    settings: Settings,
    halves: Sequence[Reference],
    weight: float,
    *,
    progress: Progress = no_progress,
) -> CrossScores:
    """Score the keys of each half against the reference of the other.

    Args:
        halves: from `split_reference`.
        weight: key-days that each reference counts as.
    """
    rows: dict[tuple[str, int, str], Floats] = {}

    def score(recording: Recording) -> _SmallestProbabilities:
        smallest = _SmallestProbabilities()
        baselines = [Baseline(pool([half], weight)) for half in reversed(halves)]
        _replay_halves(recording, settings, baselines, Rejections(), on_evaluation=smallest)
        return smallest

    for name in files:
        recording = Recording([name], Decoder.of(settings), progress=progress)
        smallest = recording.run(score)
        rows |= {(name, *key_day): row for key_day, row in smallest.p.items()}
    p = np.array([*rows.values()]).reshape(len(rows), len(DETECTORS) + 2).T
    levels, several = -p[-2], -p[-1]
    half_of = np.array([_half_of(key.encode()) for *_, key in rows], np.int64)
    completed = [_with_levels(half, levels[half_of == i]) for i, half in enumerate(halves)]
    combined = np.ones(len(rows))
    for i, half in enumerate(reversed(completed)):
        baseline = Baseline(pool([half], weight))
        mine = half_of == i
        combined[mine] = Combined(DETECTORS).probability(several[mine], baseline)
    names = [*(detector.name for detector in DETECTORS), Combined.name]
    return CrossScores(dict(zip(names, [*p[:-2], combined], strict=True)), completed)


def pool(halves: Sequence[Reference], weight: float) -> Reference:
    """Merge references into one that counts as `weight` key-days."""
    scale = weight / max(sum(float(half.peaks[0].sum()) for half in halves), 1.0)
    peaks, mean = Reference.empty()
    for half in halves:
        peaks, mean = peaks + half.peaks * scale, mean.plus(half.mean, scale)
    return Reference(peaks, mean)


def _half_of(key: bytes) -> int:
    return crc32(key) % len(HALVES)


def _with_levels(half: Reference, levels: Floats) -> Reference:
    """The reference with these combined levels, `(n,)`; its other key-days have level 0."""
    peaks = half.peaks.copy()
    bins = np.minimum((levels * PER_LEVEL).astype(np.int64), BINS - 1)
    peaks[COMBINED] = np.bincount(bins, minlength=BINS)
    peaks[COMBINED, 0] += peaks[0].sum() - len(levels)
    return Reference(peaks, half.mean)


def _replay_halves(
    recording: Recording,
    settings: Settings,
    baselines: Sequence[Baseline],
    rejections: Rejections,
    *,
    detectors: Sequence[Detector] = DETECTORS,
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> float:
    """Replay a recording with one partition and one baseline per half; return its days."""
    store, parser, begun = MemoryStore(), MessageParser(settings.mapping), None
    engine = Engine(
        settings,
        _IDENTITY,
        store,
        detectors=detectors,
        reference=Reference.empty(),
        on_evaluation=on_evaluation,
    )
    partitions = [engine.assign(half) for half in HALVES]
    for partition, baseline in zip(partitions, baselines, strict=True):
        partition.baseline = baseline
    for values in recording.batches():
        messages = parser.messages(values)
        times = np.array([each.ts for each in messages if each.ts is not None])
        recording.check(times)
        if begun is None and len(times):
            begun = times[0]
        of_half = np.array([_half_of(each.key or b"") for each in messages])
        for half, partition in enumerate(partitions):
            which = np.flatnonzero(of_half == half).tolist()
            offsets = range(partition.offset, partition.offset + len(which))
            batch = Batch(partition.name, offsets, [messages[i].value for i in which])
            rejected = [each.rejection for each in engine.observe(batch).rejected]
            rejections.add(rejected, lambda index: recording.place(which[index]))  # noqa: B023
        if engine.needs_checkpoint:
            checkpoint = engine.snapshot()
            store.commit(checkpoint)
            engine.commit(checkpoint)
    ended = max(partition.watermark for partition in partitions)
    return 0.0 if begun is None else max(ended - begun, 0.0) / DAY

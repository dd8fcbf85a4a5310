"""Cross-fitting: ordinary keys judged against a reference that they had no part in.

What alerts a reference would cost cannot be read off the keys that it was made of, for no key is
improbable beside itself. So the keys are halved, and each half is judged as a worker would against
the reference of the other (V. Chernozhukov et al., Econometrics Journal 21, 2018). Of every key and
day the smallest probability of any finding at any look is kept, which is what an alert opens on:
looking continuously, and with many detectors, is in it.

What all detectors say together is a statistic of the public, too, and the only one that takes their
verdicts to be known: so it is learned while judging, and judged when it is known. It only grows
more improbable with its level, so that the highest of a key-day is all it takes.
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
from monitor.records.baseline import BINS, PER_LEVEL, Baseline, Reference
from monitor.records.baseline_mean import Sums
from monitor.records.profile import COMBINED, DAY
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import LineFile, Progress, no_progress
from pipelines.traffic.producer import MessageParser

HALVES = ("half:0", "half:1")

# No pseudonym leaves this process, and the same traffic shall give the same reference.
_IDENTITY = Identity(bytes(32), plain=True)

Floats = npt.NDArray[np.float64]


class Recording(NamedTuple):
    """What one file holds."""

    name: str
    key_days: float
    days: float


class Learned(NamedTuple):
    """What ordinary traffic teaches: a reference of each half of the keys, and the files."""

    halves: list[Reference]
    recordings: list[Recording]

    @property
    def key_days(self) -> float:
        return sum(each.key_days for each in self.recordings)

    @property
    def days(self) -> float:
        return sum(each.days for each in self.recordings)


class _Tally(Baseline):
    """A public that starts from nothing and counts past days in full."""

    def __init__(self) -> None:
        super().__init__(Reference.empty())
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


class Judged(NamedTuple):
    """What was said of ordinary keys.

    Attributes:
        smallest: by finding, the smallest probability of each key and day looked at, `(n,)`.
        halves: the references, which know now how far keys get with all findings together.
    """

    smallest: dict[str, Floats]
    halves: list[Reference]


@dataclass(slots=True)
class _Smallest:
    """A witness: by day and key, the smallest probability of each detector, and less the highest
    level of all together, at any look and at those with several signs."""

    p: dict[tuple[int, str], Floats] = field(default_factory=dict)

    def __call__(self, looks: Evaluation) -> None:
        *findings, together = looks.findings
        level = together.evidence["level"]
        several = np.where(together.evidence["signs"] > 1, level, 0.0)
        p = np.stack([*(finding.p for finding in findings), -level, -several], axis=1)
        days = (looks.ts // DAY).astype(np.int64).tolist()
        for key_day, row in zip(zip(days, looks.keys, strict=True), p, strict=True):
            before = self.p.get(key_day)
            self.p[key_day] = row if before is None else np.minimum(before, row)


def learn(files: Sequence[str], settings: Settings, *, progress: Progress = no_progress) -> Learned:
    """What the keys of each half do on a day."""
    halves, recordings = [Reference.empty() for _ in HALVES], []
    for name in files:
        tallies = [_Tally() for _ in HALVES]
        days = _carry(name, settings, tallies, progress, detectors=())
        seen = [tally.seen for tally in tallies]
        halves = [
            Reference(half.peaks + new.peaks, half.mean.plus(new.mean))
            for half, new in zip(halves, seen, strict=True)
        ]
        recordings.append(Recording(name, float(sum(s.peaks[0].sum() for s in seen)), days))
    learned = Learned(halves, recordings)
    if not learned.key_days:
        raise InputError("There are no requests in these files to learn from: name others.")
    return learned


def judge(
    files: Sequence[str],
    settings: Settings,
    halves: Sequence[Reference],
    weight: float,
    *,
    progress: Progress = no_progress,
) -> Judged:
    """Judge the keys of each half against the reference of the other.

    Args:
        halves: as `learn` gives them.
        weight: how many key-days each shall count as.
    """
    rows: dict[tuple[str, int, str], Floats] = {}
    for name in files:
        on_evaluation = _Smallest()
        baselines = [Baseline(pooled([half], weight)) for half in reversed(halves)]
        _carry(name, settings, baselines, progress, on_evaluation=on_evaluation)
        rows |= {(name, *key_day): row for key_day, row in on_evaluation.p.items()}
    p = np.array([*rows.values()]).reshape(len(rows), len(DETECTORS) + 2).T
    levels, several = -p[-2], -p[-1]
    mine = np.array([_half(key.encode()) for *_, key in rows], np.int64)
    known = [_reaching(half, levels[mine == i]) for i, half in enumerate(halves)]
    together = np.ones(len(rows))
    for i, half in enumerate(reversed(known)):
        baseline = Baseline(pooled([half], weight))
        together[mine == i] = Combined(DETECTORS).probability(several[mine == i], baseline)
    names = [*(detector.name for detector in DETECTORS), Combined.name]
    return Judged(dict(zip(names, [*p[:-2], together], strict=True)), known)


def _half(key: bytes) -> int:
    return crc32(key) % len(HALVES)


def _reaching(half: Reference, levels: Floats) -> Reference:
    """A reference in which these are the levels together of some key-days, and 0 of the others."""
    peaks = half.peaks.copy()
    bins = np.minimum((levels * PER_LEVEL).astype(np.int64), BINS - 1)
    peaks[COMBINED] = np.bincount(bins, minlength=BINS)
    peaks[COMBINED, 0] += peaks[0].sum() - len(levels)
    return Reference(peaks, half.mean)


def pooled(halves: Sequence[Reference], weight: float) -> Reference:
    """One reference of several, as if of `weight` key-days."""
    scale = weight / max(sum(float(half.peaks[0].sum()) for half in halves), 1.0)
    peaks, mean = Reference.empty()
    for half in halves:
        peaks, mean = peaks + half.peaks * scale, mean.plus(half.mean, scale)
    return Reference(peaks, mean)


def _carry(
    name: str,
    settings: Settings,
    baselines: Sequence[Baseline],
    progress: Progress,
    *,
    detectors: Sequence[Detector] = DETECTORS,
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> float:
    """Carry a file through an engine, each half of the keys before its public; the days it took."""
    store, heads, begun = MemoryStore(), MessageParser(settings.mapping), None
    nothing = Reference.empty()
    engine = Engine(
        settings,
        _IDENTITY,
        store,
        detectors=detectors,
        reference=nothing,
        on_evaluation=on_evaluation,
    )
    partitions = [engine.assign(half) for half in HALVES]
    for partition, baseline in zip(partitions, baselines, strict=True):
        partition.baseline = baseline
    with LineFile(name) as file:
        for lines in file.batches():
            messages = heads.messages(lines)
            if begun is None:
                begun = next((each.ts for each in messages if each.ts is not None), None)
            for half, partition in enumerate(partitions):
                values = [each.value for each in messages if _half(each.key or b"") == half]
                offsets = range(partition.offset, partition.offset + len(values))
                engine.observe(Batch(partition.name, offsets, values))
            progress(file)
            if engine.crowded:
                store.commit(engine.checkpoint())
                engine.saved()
    ended = max(partition.watermark for partition in partitions)
    return 0.0 if begun is None else max(ended - begun, 0.0) / DAY

"""Cross-fitting: ordinary keys judged against a reference that they had no part in.

What alerts a reference would cost cannot be read off the keys that it was made of, for no key is
improbable beside itself. So the keys are halved, and each half is judged as a worker would against
the reference of the other (V. Chernozhukov et al., Econometrics Journal 21, 2018). Of every key and
day the smallest probability of any finding at any look is kept, which is what an alert opens on:
looking continuously, and with many detectors, is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from monitor.config import Settings
from monitor.detectors import DETECTORS
from monitor.detectors.base import Detector, Looks
from monitor.engine import Batch, Engine
from monitor.errors import InputError
from monitor.identity import Identity
from monitor.sketches.profile import DAY
from monitor.sketches.public import Public, Reference
from monitor.sketches.public_mean import Sums
from monitor.store.memory import MemoryStore
from pipelines import progress
from pipelines.files import LineFile
from pipelines.producer import Heads

HALVES = ("half:0", "half:1")
COMBINED = "combined"  # what the engine makes of all detectors' words, after them

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


class _Tally(Public):
    """A public that starts from nothing and counts past days in full."""

    def __init__(self) -> None:
        super().__init__(Reference.none())
        self.ended = np.zeros_like(self.today)

    def turn(self, day: int) -> bool:
        today = self.today.copy()
        turned = super().turn(day)
        if turned:
            self.ended += today
        return turned

    @property
    def seen(self) -> Reference:
        past = self.mean.learned[-1][1] if self.mean.learned else Sums.none()
        return Reference(self.ended + self.today, past.plus(self.mean.today))


@dataclass(slots=True)
class _Smallest:
    """A witness: by day and key, the smallest probability of each finding."""

    p: dict[tuple[int, str], Floats] = field(default_factory=dict)

    def __call__(self, looks: Looks) -> None:
        p = np.stack([finding.p for finding in looks.findings], axis=1)
        days = (looks.ts // DAY).astype(np.int64).tolist()
        for key_day, row in zip(zip(days, looks.keys, strict=True), p, strict=True):
            before = self.p.get(key_day)
            self.p[key_day] = row if before is None else np.minimum(before, row)


def learn(files: Sequence[str], settings: Settings) -> Learned:
    """What the keys of each half do on a day."""
    halves, recordings = [Reference.none() for _ in HALVES], []
    with progress.of_file("Learning from") as report:
        for name in files:
            tallies = [_Tally() for _ in HALVES]
            days = _carry(name, settings, tallies, report, detectors=())
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
    files: Sequence[str], settings: Settings, references: Sequence[Reference]
) -> dict[str, Floats]:
    """By finding, the smallest probability of each key and day that detectors looked at, `(n,)`.

    Args:
        references: against which the keys of each half are judged.
    """
    names = [*(detector.name for detector in DETECTORS), COMBINED]
    rows: list[Floats] = []
    with progress.of_file("Judging") as report:
        for name in files:
            witness = _Smallest()
            publics = [Public(reference) for reference in references]
            _carry(name, settings, publics, report, witness=witness)
            rows += witness.p.values()
    p = np.array(rows).T if rows else np.empty((len(names), 0))
    return dict(zip(names[: len(p)], p, strict=True))


def pooled(halves: Sequence[Reference], weight: float) -> Reference:
    """One reference of several, as if of `weight` key-days."""
    scale = weight / max(sum(float(half.peaks[0].sum()) for half in halves), 1.0)
    peaks, mean = Reference.none()
    for half in halves:
        peaks, mean = peaks + half.peaks * scale, mean.plus(half.mean, scale)
    return Reference(peaks, mean)


def _carry(
    name: str,
    settings: Settings,
    publics: Sequence[Public],
    report: progress.Report,
    *,
    detectors: Sequence[Detector] = DETECTORS,
    witness: Callable[[Looks], None] | None = None,
) -> float:
    """Carry a file through an engine, each half of the keys before its public; the days it took."""
    store, heads, begun = MemoryStore(), Heads(settings.mapping), None
    nothing = Reference.none()
    engine = Engine(
        settings, _IDENTITY, store, detectors=detectors, reference=nothing, witness=witness
    )
    partitions = [engine.assign(half) for half in HALVES]
    for partition, public in zip(partitions, publics, strict=True):
        partition.public = public
    with LineFile(name) as file:
        for lines in file.batches():
            messages = heads.messages(lines)
            if begun is None:
                begun = next((each.ts for each in messages if each.ts is not None), None)
            for half, partition in enumerate(partitions):
                values = [each.value for each in messages if crc32(each.key or b"") % 2 == half]
                offsets = range(partition.offset, partition.offset + len(values))
                report(engine.observe(Batch(partition.name, offsets, values)), file)
            if engine.table.crowded:
                store.commit(engine.checkpoint())
                engine.saved()
    ended = max(partition.watermark for partition in partitions)
    return 0.0 if begun is None else max(ended - begun, 0.0) / DAY

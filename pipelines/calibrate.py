"""Calibrating: how far ordinary keys go on a day, from traffic that is known to be ordinary.

A reference is made of all keys. What alerts it would cost cannot be read off those same keys, for
no key is improbable beside itself: so the keys are halved, and each half is judged as a worker
would against the reference of the other (cross-fitting; V. Chernozhukov et al., Econometrics
Journal 21, 2018). Of every key and day the smallest probability of any finding at any look is kept,
which is what an alert opens on: looking continuously and with many detectors is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
from monitor.sketches.profile import DAY, HOUR
from monitor.sketches.public import Public, Reference, write_reference
from monitor.sketches.public_mean import Sums
from monitor.store.memory import MemoryStore
from pipelines import progress
from pipelines.files import LineFile
from pipelines.producer import Heads
from pipelines.thresholds import fit, needed

HALVES = ("half:0", "half:1")
COMBINED = "combined"  # what the engine makes of all detectors' words, after them

Floats = npt.NDArray[np.float64]

# No pseudonym leaves this process, and the same traffic shall give the same reference.
_IDENTITY = Identity(bytes(32), plain=True)


LEAST = 0.9  # days of a recording from which key-days are whole
FARTHEST = 20.0  # times more than was recorded that warnings may be extrapolated to


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


def run(
    files: list[str],
    settings: Settings,
    out: Path,
    *,
    weight: float,
    source: str,
    false_alerts: float | None = None,
    keys: float | None = None,
    command: str = "",
) -> float:
    """Write a reference of the public (`sketches/public.py`); returns the key-days seen.

    Args:
        files: each a recording of ordinary traffic, in time order.
        out: the reference; thresholds go beside it as TOML.
        weight: how many key-days the reference shall count as.
        source: where the traffic is from, for whoever reads the file.
        false_alerts: ordinary keys a day that may be accused; without it no thresholds are fitted.
        keys: ordinary keys a day of the deployment, if it has more than the recording.
        command: what the operator typed, for whoever reads the thresholds.
    """
    learned = learn(files, settings)
    if false_alerts is None:
        _write(out, reference_of(learned, weight, source))
        return learned.key_days

    from pipelines import calibrated

    beside = out.with_suffix(".toml")
    if beside == out:
        raise InputError(f"{out} is where the thresholds go: name a .json with --out.")
    keys = keys or learned.key_days / learned.days
    caveat = _caveat(learned, keys, false_alerts)
    smallest = judge(files, settings, [pooled([half], weight) for half in reversed(learned.halves)])
    found = fit(
        np.min([*smallest.values()], axis=0),
        learned.key_days,
        keys=keys,
        false_alerts=false_alerts,
    )
    made = calibrated.Calibrated(
        found, keys, learned, smallest, out, settings.content, command, caveat
    )
    _write(out, reference_of(learned, weight, source))
    _write(beside, calibrated.settings_of(made).encode())
    calibrated.show(made)
    return learned.key_days


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
    return dict(zip(names, p, strict=False))


def pooled(halves: Sequence[Reference], weight: float) -> Reference:
    """One reference of several, as if of `weight` key-days."""
    scale = weight / max(sum(float(half.peaks[0].sum()) for half in halves), 1.0)
    peaks, mean = Reference.none()
    for half in halves:
        peaks, mean = peaks + half.peaks * scale, mean.plus(half.mean, scale)
    return Reference(peaks, mean)


def reference_of(learned: Learned, weight: float, source: str) -> bytes:
    """The reference that all keys make."""
    notes = {"from": source, "seen_key_days": learned.key_days}
    return write_reference(pooled(learned.halves, weight), **notes)


def _caveat(learned: Learned, keys: float, false_alerts: float) -> str:
    """A sentence if so few false alerts cannot have been seen, an error if not by far."""
    for each in learned.recordings:
        if each.days < LEAST:
            raise InputError(
                f"{each.name} holds {each.days * DAY / HOUR:.1f} hours, and how far keys go on a "
                "day takes recordings of whole days: join the shorter ones, in order, with cat."
            )
    lack = needed(keys=keys, false_alerts=false_alerts) / learned.key_days
    if lack <= 1.0:
        return ""
    what = f"{false_alerts:g} false alerts a day among {keys:,.0f} ordinary keys"
    remedy = f"record {np.ceil(lack * learned.days):,.0f} days of as many keys as here"
    if lack > FARTHEST:
        raise InputError(
            f"{learned.key_days:,.0f} days of a key are too few to tell {what}: {remedy}, "
            "or accept more."
        )
    return f"Warnings are extrapolated, for {what} are too few to be seen here; better {remedy}."


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): name another file with --out."
        ) from error


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

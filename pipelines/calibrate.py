"""Calibrating: how far ordinary keys go on a day, from traffic that is known to be ordinary."""

from __future__ import annotations

from pathlib import Path

from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.sketches.public import Reference, write_reference
from monitor.sketches.public_mean import Sums
from monitor.store.memory import MemoryStore
from pipelines import progress
from pipelines.files import LineFile
from pipelines.replay import PARTITION, drive


def run(files: list[str], settings: Settings, out: Path, *, weight: float, source: str) -> float:
    """Write a reference of the public (`sketches/public.py`); returns the key-days seen.

    Args:
        files: each a recording of ordinary traffic, in time order.
        weight: how many key-days the reference shall count as.
        source: where the traffic is from, for whoever reads the file.
    """
    seen = Reference.none()
    with progress.of_file("Learning from") as report:
        for name in files:
            store = MemoryStore()
            engine = Engine(
                settings, from_settings(settings), store, detectors=(), reference=Reference.none()
            )
            with LineFile(name) as file:
                for outcome in drive(engine, store, file):
                    report(outcome, file)
            public = engine.partitions[PARTITION].public
            past = public.mean.learned[-1][1] if public.mean.learned else Sums.none()
            seen = Reference(
                seen.peaks + public.past + public.today,
                seen.mean.plus(past).plus(public.mean.today),
            )
    key_days = float(seen.peaks[0].sum())
    if not key_days:
        raise InputError("There are no requests in these files to learn from: name others.")
    scale = weight / key_days
    scaled = Reference(seen.peaks * scale, Sums.none().plus(seen.mean, scale))
    try:
        out.write_bytes(write_reference(scaled, **{"from": source, "seen_key_days": key_days}))
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): name another file with --out."
        ) from error
    return key_days

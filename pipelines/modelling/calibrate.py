"""Calibrating: how far ordinary keys go on a day, from traffic that is known to be ordinary.

The reference is made of all keys. Thresholds, where a number of false alerts is asked for, are
fitted to what the keys of either half are found to be by the other's (`cross_fitting.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monitor.config import Settings
from monitor.errors import InputError
from monitor.records.baseline import write_reference
from monitor.records.profile import DAY, HOUR
from pipelines.modelling.cross_fitting import Learned, judge, learn, pooled
from pipelines.modelling.settings_file import Calibrated, settings_of
from pipelines.modelling.thresholds import fit, needed
from pipelines.traffic.files import Progress, no_progress

LEAST = 0.9  # days of a recording from which key-days are whole
FARTHEST = 20.0  # times more than was recorded that warnings may be extrapolated to


def calibrate(
    files: list[str],
    settings: Settings,
    out: Path,
    *,
    weight: float,
    source: str,
    false_alerts: float | None = None,
    keys: float | None = None,
    command: str = "",
    progress: Progress = no_progress,
) -> tuple[float, Calibrated | None]:
    """Write a reference of the public (`records/baseline.py`).

    Returns:
        the key-days seen, and the thresholds where they were asked for.

    Args:
        files: each a recording of ordinary traffic, in time order.
        out: the reference; thresholds go beside it as TOML.
        weight: how many key-days the reference shall count as.
        source: where the traffic is from, for whoever reads the file.
        false_alerts: ordinary keys a day that may be accused; without it no thresholds are fitted.
        keys: ordinary keys a day of the deployment, if it has more than the recording.
        command: what the operator typed, for whoever reads the thresholds.
    """
    beside = out.with_suffix(".toml")
    _check(files, out, beside)
    learned = learn(files, settings, progress=progress)
    keys = keys or learned.key_days / max(learned.days, LEAST)
    caveat = "" if false_alerts is None else _caveat(learned, keys, false_alerts)
    smallest, halves = judge(files, settings, learned.halves, weight, progress=progress)
    notes = {"from": source, "seen_key_days": learned.key_days}
    _write(out, write_reference(pooled(halves, weight), **notes))
    made = None
    if false_alerts is not None:
        found = fit(
            np.min([*smallest.values()], axis=0),
            learned.key_days,
            keys=keys,
            false_alerts=false_alerts,
        )
        made = Calibrated(found, keys, learned, smallest, out, settings.content, command, caveat)
        _write(beside, settings_of(made).encode())
    return learned.key_days, made


def _check(files: Sequence[str], out: Path, beside: Path) -> None:
    if beside == out:
        raise InputError(f"{out} is where the thresholds go: name a .json with --out.")
    for name in files:
        if name == "-" or Path(name).is_fifo():
            raise InputError(
                f"{'stdin' if name == '-' else name} can be read only once, and calibrating "
                "takes two readings: name a file."
            )


def _check_days(learned: Learned) -> None:
    for each in learned.recordings:
        if each.days < LEAST:
            raise InputError(
                f"{each.name} holds {each.days * DAY / HOUR:.1f} hours, and how far keys go on a "
                "day takes recordings of whole days: join the shorter ones, in order, with cat."
            )


def _caveat(learned: Learned, keys: float, false_alerts: float) -> str:
    """A sentence if so few false alerts cannot have been seen, an error if not by far."""
    _check_days(learned)
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

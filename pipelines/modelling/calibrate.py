"""Calibration: build a reference, and fit thresholds, from traffic that is known to be ordinary.

The reference contains all keys. Thresholds are fitted only if an accepted number of false alerts
is given, to the scores of each half of the keys against the other (`cross_fitting.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monitor.config import Settings
from monitor.errors import InputError
from monitor.records.baseline import write_reference
from monitor.records.profile import DAY, HOUR
from pipelines.modelling.cross_fitting import SplitReference, cross_score, pool, split_reference
from pipelines.modelling.settings_file import Calibration, to_toml
from pipelines.modelling.thresholds import fit_thresholds, key_days_needed
from pipelines.traffic.files import Progress, no_progress

MIN_DAYS = 0.9  # length of a recording that counts as a whole day
MAX_EXTRAPOLATION = 20.0  # ratio of the key-days needed to those recorded


def save_calibration(
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
) -> tuple[float, Calibration | None]:
    """Save a reference (`records/baseline.py`) and, on request, thresholds.

    Args:
        files: recordings of ordinary traffic, each a file or a folder of files.
        out: the reference file; the thresholds go beside it as TOML.
        weight: key-days that the reference counts as.
        source: a note in the reference on where the traffic is from.
        false_alerts: accepted number of ordinary keys per day with a warning or a critical alert;
            `None`: fit no thresholds.
        keys: ordinary keys per day in the deployment; `None`: as many as in the recordings.
        command: a note in the settings file on how it was made.

    Returns:
        the number of key-days, and the thresholds if requested.

    Raises:
        InputError: files that cannot be used, too little traffic for the false alerts, or an
            output file that cannot be written.
    """
    settings_path = out.with_suffix(".toml")
    _check_files(files, out, settings_path)
    split = split_reference(files, settings, progress=progress)
    keys = keys or split.key_days / max(split.days, MIN_DAYS)
    caveat = "" if false_alerts is None else _check_amount(split, keys, false_alerts)
    smallest, halves = cross_score(files, settings, split.halves, weight, progress=progress)
    notes = {"from": source, "seen_key_days": split.key_days}
    _save(out, write_reference(pool(halves, weight), **notes))
    calibration = None
    if false_alerts is not None:
        thresholds = fit_thresholds(
            np.min([*smallest.values()], axis=0),
            split.key_days,
            keys=keys,
            false_alerts=false_alerts,
        )
        calibration = Calibration(
            thresholds, keys, split, smallest, out, settings.content, command, caveat
        )
        _save(settings_path, to_toml(calibration).encode())
    return split.key_days, calibration


def _check_files(files: Sequence[str], out: Path, settings_path: Path) -> None:
    if settings_path == out:
        raise InputError(f"{out} is the name of the settings file. Name a .json file with --out.")
    for name in files:
        if name == "-" or Path(name).is_fifo():
            raise InputError(
                f"Calibration reads its input twice, and {'stdin' if name == '-' else name} can be "
                "read only once. Name a regular file."
            )


def _check_days(split: SplitReference) -> None:
    for each in split.recordings:
        if each.days < MIN_DAYS:
            raise InputError(
                f"{each.name} covers {each.days * DAY / HOUR:.1f} hours, and thresholds need "
                "recordings of whole days. Put the files of one recording into a folder, and name "
                "the folder."
            )


def _check_amount(split: SplitReference, keys: float, false_alerts: float) -> str:
    """A caveat if the thresholds must be extrapolated beyond the recorded key-days.

    Raises:
        InputError: they would have to be extrapolated too far, or a recording is too short.
    """
    _check_days(split)
    ratio = key_days_needed(keys=keys, false_alerts=false_alerts) / split.key_days
    if ratio <= 1.0:
        return ""
    target = f"{false_alerts:g} false alerts per day among {keys:,.0f} ordinary keys"
    remedy = f"Record {np.ceil(ratio * split.days):,.0f} days with as many keys"
    if ratio > MAX_EXTRAPOLATION:
        raise InputError(
            f"{split.key_days:,.0f} key-days are too few for {target}. {remedy}, or accept more "
            "false alerts."
        )
    return (
        f"The threshold of warnings is extrapolated: {split.key_days:,.0f} key-days cannot "
        f"confirm {target}. {remedy} to confirm it."
    )


def _save(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}. Name another file with --out."
        ) from error

"""The thresholds of `xm calibrate`, as a settings file for `XM_CONFIG`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.modelling.cross_fitting import SplitReference
from pipelines.modelling.thresholds import CONFIDENCE, Threshold

CONFIDENCE_TEXT = f"{CONFIDENCE:.0%} confidence"


class Calibration(NamedTuple):
    """Fitted thresholds and where they come from.

    Attributes:
        keys: ordinary keys per day that the thresholds are for.
        split: the references and recordings.
        smallest: by detector, from `cross_fitting.cross_score`.
        reference, content: the files that the thresholds depend on; `None`: the shipped content
            model.
        command: the command line that made them.
        caveat: a warning for the operator, or "".
    """

    thresholds: Sequence[Threshold]
    keys: float
    split: SplitReference
    smallest: Mapping[str, npt.NDArray[np.float64]]
    reference: Path
    content: Path | None
    command: str
    caveat: str


def to_toml(calibration: Calibration) -> str:
    """The settings file. The same traffic gives the same text."""
    split = calibration.split
    notes = [
        f"Made by: {calibration.command}",
        f"From {split.key_days:,.0f} key-days of ordinary traffic in {split.days:.1f} days:",
        *(f"  {each.name}: {each.key_days:,.0f}" for each in split.recordings),
        f"For {calibration.keys:,.0f} ordinary keys per day. A threshold is the probability, per "
        "key and",
        "day, at which an alert opens. It is valid with this reference and content model only.",
        calibration.caveat,
    ]
    lines = [f"# {line}" for note in notes for line in note.splitlines()]
    lines += ["", f"reference = {_toml_string(calibration.reference)}"]
    if calibration.content is not None:
        lines.append(f"content = {_toml_string(calibration.content)}")
    lines += ["", "[detection]"]
    for each in calibration.thresholds:
        setting = f"{each.severity} = {each.probability:g}"
        bound = f"at most {format_rate(each.max_per_day)} ordinary keys per day"
        lines.append(f"{setting:20} # {bound} ({CONFIDENCE_TEXT})")
    return "\n".join(lines) + "\n"


def format_rate(per_day: float) -> str:
    return "0" if not per_day else f"{per_day:,.1f}" if per_day >= 1 else f"{per_day:.2g}"


def _toml_string(path: Path) -> str:
    """The absolute path as a TOML string, which has the same escapes as JSON."""
    return json.dumps(str(path.resolve()), ensure_ascii=False)

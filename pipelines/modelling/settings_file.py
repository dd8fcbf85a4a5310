"""The thresholds that `xm calibrate` fits, as a settings file that `XM_CONFIG` can name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.modelling.cross_fitting import Learned
from pipelines.modelling.thresholds import CERTAINTY, Threshold

SURE = f"{CERTAINTY:.0%} sure"


class Calibrated(NamedTuple):
    """Thresholds, and what they are from.

    Attributes:
        keys: ordinary keys a day that they are for.
        smallest: by finding, as `crossfit.judge` gives it.
        reference, content: files that they hold with; without the latter, the shipped content.
        command: what made them.
    """

    thresholds: Sequence[Threshold]
    keys: float
    learned: Learned
    smallest: Mapping[str, npt.NDArray[np.float64]]
    reference: Path
    content: Path | None
    command: str
    caveat: str


def settings_of(made: Calibrated) -> str:
    """The settings as TOML that `XM_CONFIG` can name. The same traffic gives the same text."""
    learned = made.learned
    notes = [
        f"Made by: {made.command}",
        f"From {learned.key_days:,.0f} days of an ordinary key in {learned.days:.1f} days:",
        *(f"  {each.name}: {each.key_days:,.0f}" for each in learned.recordings),
        f"For {made.keys:,.0f} ordinary keys a day. A threshold is the probability, per key and "
        "day, at",
        "which an alert opens; it holds with this reference and content model only.",
        made.caveat,
    ]
    lines = [f"# {line}" for note in notes for line in note.splitlines()]
    lines += ["", f"reference = {_text(made.reference)}"]
    if made.content is not None:
        lines.append(f"content = {_text(made.content)}")
    lines += ["", "[detection]"]
    for each in made.thresholds:
        setting = f"{each.severity} = {each.probability:g}"
        lines.append(f"{setting:20} # at most {rate(each.at_most)} ordinary keys a day ({SURE})")
    return "\n".join(lines) + "\n"


def rate(a_day: float) -> str:
    return "0" if not a_day else f"{a_day:,.1f}" if a_day >= 1 else f"{a_day:.2g}"


def _text(path: Path) -> str:
    """A path as a string of TOML, whose escapes are those of JSON."""
    return json.dumps(str(path.resolve()), ensure_ascii=False)

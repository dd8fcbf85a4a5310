"""Plots of an evaluation, as PNG and SVG: recall against false keys, and a map of keys.

The map has two axes because each separates different keys. Self-similarity separates one person or
one template (high) from broad use (low). Distance from the baseline separates distillation from a
chatbot, which is as broad. Keys that extract a model are broad and distant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitor.config import Settings
from monitor.errors import InputError
from monitor.records.profile import Profile
from pipelines.modelling.evaluate import (
    CAMPAIGN,
    EXCLUDED_CLASSES,
    EvaluationReport,
    eligible_keys,
    smallest_probabilities,
)
from pipelines.modelling.labelled_replay import ANY, Floats, LabelledReplay
from pipelines.modelling.results import MIN_REQUESTS
from pipelines.show.style import INK, PLOT_STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinct for all kinds of colour vision (P. Tol, SRON/EPS/TN/09-002, "muted" and "bright").
_ATTACK = ("#cc3311", "#ee7733", "#aa3377", "#882255", "#ddaa33", "#332288")
_ORDINARY = ("#99c2dd", "#4477aa", "#44aa99", "#117733", "#777777")
_LINES = ("#4477aa", "#cc3311", "#117733", "#ee7733", "#aa3377", "#44aa99", "#ddaa33", "#777777")
_MARKS = ("o", "^", "s", "D", "v", "P", "X", "*")
_MOST_FALSE = 100.0  # false keys per day, the end of the axis
_BROADEST = 0.02  # self-similarity below which differences are chance
_FEW, _MANY = 5, 100  # keys of a class, which set the size of its dots


def draw(
    replay: LabelledReplay, report: EvaluationReport, settings: Settings, out: Path
) -> list[Path]:
    """Draw both plots into a folder.

    Returns:
        the files.

    Raises:
        InputError: if a file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(PLOT_STYLE):  # type: ignore[arg-type]
        plots = {"map": _map(replay)}
        if report.scores[-1].recall:  # without attackers there is no trade-off
            plots["trade-off"] = _trade_off(replay, report, settings)
        try:
            out.mkdir(parents=True, exist_ok=True)
            files = []
            for name, figure in plots.items():
                for kind, metadata in (("png", {}), ("svg", {"Date": None})):
                    files.append(out / f"{name}.{kind}")
                    figure.savefig(files[-1], dpi=160, metadata=metadata)
        except OSError as error:
            raise InputError(
                f"Cannot write {out} ({error.strerror}). Name another folder with --out."
            ) from error
    return files


def _trade_off(replay: LabelledReplay, report: EvaluationReport, settings: Settings) -> Figure:
    """Recall over false keys per day as the threshold moves, a line per detector."""
    figure, axes = _figure(8.0, 4.4)
    names = {
        attack: [c.name for c in report.classes if c.attack is attack] for attack in (False, True)
    }
    ordinary = eligible_keys(replay, names[False])
    attackers = {name: keys for name in names[True] if (keys := eligible_keys(replay, [name]))}
    for i, score in enumerate(each for each in report.scores if each.name != CAMPAIGN):
        together = score.name == ANY
        false = np.sort(smallest_probabilities(replay, score.name, ordinary))
        caught = [
            np.sort(smallest_probabilities(replay, score.name, keys)) for keys in attackers.values()
        ]

        def at(p: Floats, false: Floats = false, caught: list[Floats] = caught) -> list[Floats]:
            shares = [np.searchsorted(each, p, "right") / len(each) for each in caught]
            return [np.searchsorted(false, p, "right") / replay.days, np.mean(shares, axis=0)]

        steps = np.unique(np.concatenate([[0.0], false, *caught]))
        x, y = at(steps[steps < 1.0])
        colour = INK if together else _LINES[i % len(_LINES)]
        width, order = (3.6, 2.0) if together else (1.8, 3.0)
        x, y = np.append(x, 10.0 * _MOST_FALSE), np.append(y, y[-1])
        axes.step(x, y, where="post", color=colour, lw=width, zorder=order, label=score.name)
        dot = at(np.array([settings.detection.warning]))
        axes.scatter(dot[0], dot[1], s=10.0 * width + 25.0, color=colour, zorder=4, clip_on=False)
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    axes.set_xlim(-0.05, _MOST_FALSE)
    ticks = [0, 1, 2, 5, 10, 20, 50, 100]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0.0, 1.03)
    axes.set_xlabel(
        f"false keys per day, of {len(ordinary) / replay.days:,.0f}   "
        f"(dots: flagged from 1 in {1 / settings.detection.warning:,.0f})"
    )
    axes.set_ylabel(f"recall, mean of {len(attackers)} classes of attack")
    axes.set_title("Recall against false keys, without campaign alerts", pad=12.0)
    axes.grid(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def _map(replay: LabelledReplay) -> Figure:
    """Keys by self-similarity and distance from the baseline."""
    figure, axes = _figure(8.0, 5.4)
    means = Profile(replay.records).meaning
    baseline = replay.baseline.mean.meaning
    alike, away = means.self_similarity, means.squared_distance(baseline.mean, baseline.uncertainty)
    enough = replay.records["sketch_prompts"] >= MIN_REQUESTS
    kinds = np.array([label.kind for label in replay.labels])
    attacking = {label.kind for label in replay.labels if label.campaign}
    legends = []
    for heading, names, colours, corner in (
        ("extraction", sorted(attacking), _ATTACK, (1.02, 1.0)),
        ("ordinary", sorted(set(kinds.tolist()) - attacking), _ORDINARY, (1.02, 0.55)),
    ):
        dots = []
        for i, kind in enumerate(names):
            these = enough & (kinds == kind)
            dots.append(
                axes.scatter(
                    np.maximum(alike[these], _BROADEST),
                    away[these],
                    s=14 if these.sum() > _MANY else 34 if these.sum() > _FEW else 80,
                    alpha=0.8,
                    color=colours[i % len(colours)],
                    marker=_MARKS[i % len(_MARKS)],
                    lw=0.4,
                    edgecolor="white",
                    zorder=3.0 - these.mean(),  # large classes below small ones
                    label=f"{kind}{' (excluded)' * (kind in EXCLUDED_CLASSES)}: {these.sum():,}",
                )
            )
        legends.append(
            axes.legend(
                handles=dots,
                title=heading,
                loc="upper left",
                bbox_to_anchor=corner,
                alignment="left",
                handletextpad=0.2,
            )
        )
    axes.add_artist(legends[0])
    axes.axhline(0.0, color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1.5)
    axes.text(
        0.99, 0.003, "baseline", transform=axes.get_yaxis_transform(), ha="right", va="bottom"
    )
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=0.1, linscale=1.0)
    for axis, ticks in (
        (axes.xaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)),
        (axes.yaxis, (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)),
    ):
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    seen = alike[enough], away[enough]
    axes.set_xlim(max(_BROADEST, 0.8 * seen[0].min(initial=1.0)), 1.1 * seen[0].max(initial=0.5))
    axes.set_ylim(min(-0.02, 1.1 * seen[1].min(initial=0.0)), 1.15 * seen[1].max(initial=0.5))
    axes.set_xlabel("self-similarity of a key's prompts   (left: many subjects)")
    axes.set_ylabel("distance from the baseline   (up: unlike ordinary prompts)")
    axes.set_title(
        f"Keys with {MIN_REQUESTS} prompts or more.\n"
        "Fleets that overlap ordinary keys are found as campaigns.",
        pad=12.0,
    )
    axes.grid(True)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.add_subplot()

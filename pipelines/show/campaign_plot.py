"""Draw a campaign: its keys on a circle, what they share inside, bystanders outside.

Identifiers of one kind are on one ring. The kind with the most identifiers is on the outermost
ring, so its links are short. Links to inner rings cross the circle. An identifier that all members
share is in the middle. An identifier that many other keys have is no evidence and is left out. The
panels on the right show the evidence of the mean member and the number of members over time.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from monitor.campaigns.membership import SURE
from monitor.records.profile import HOUR
from pipelines.inspect.campaign import CampaignDetail, SharedIdentifier
from pipelines.show.campaign import evidence_label, sentence
from pipelines.show.style import FAINT, INK, PLOT_STYLE, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_NATS = 1.0  # of an identifier that is drawn
_DRAWN = 600  # members, at most
_PER_CIRCLE = 160  # members
_OUTER, _INNER = 0.76, 0.34  # radii of the rings of identifiers
_FEW = 100  # links that are drawn in full colour
_ALL = 0.9  # share of members that have an identifier in the middle
_OUTSIDE = 1.28  # radius of bystanders
_SURE, _LIKELY, _BYSTANDER = "#cc3311", "#ee9977", "#9aa5b1"
_COLOURS = {
    "payment": "#4477aa",
    "network": "#228833",
    "system": "#aa3377",
    "tls_fingerprint": "#bb9922",
    "user_agent": "#66ccee",
    "model": "#777777",
}
_STEPS = (1, 3, 6, 12, 24)  # hours between ticks of the time axis

Positions = dict[str, npt.NDArray[np.float64]]


def draw(detail: CampaignDetail, out: Path) -> None:
    """Draw a campaign into a .png or .svg file."""
    import matplotlib as mpl
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

    with mpl.rc_context(PLOT_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(11.5, 7.6), layout="constrained", facecolor="white")
        grid = figure.add_gridspec(3, 2, width_ratios=(2.1, 1.0), height_ratios=(1.0, 1.25, 0.75))
        network = figure.add_subplot(grid[:, 0])
        _network(network, detail)
        beside = figure.add_subplot(grid[0, 1])
        beside.axis("off")
        legend = beside.legend(
            *network.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(-0.12, 1.0),
            borderaxespad=0.0,
            labelspacing=0.7,
        )
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([45.0])
        _evidence(figure.add_subplot(grid[1, 1]), detail)
        if detail.timeline:
            _growth(figure.add_subplot(grid[2, 1]), detail)
        figure.suptitle(
            f"{detail.summary.id}\n{_title(detail)}", x=0.012, ha="left", size=12, weight="bold"
        )
        figure.savefig(out, dpi=160, metadata={"Date": None} if out.suffix == ".svg" else {})


def _title(detail: CampaignDetail) -> str:
    parts = sentence(detail).replace("; ", ";\n", 1).splitlines()
    return "\n".join(line for part in parts for line in wrap(part, 110))


def _linking(detail: CampaignDetail) -> dict[str, list[SharedIdentifier]]:
    """The identifiers that are drawn, by kind, the kind with the most first."""
    kinds = defaultdict(list)
    for shared in detail.shared:
        if shared.nats >= _LEAST_NATS:
            kinds[shared.kind].append(shared)
    return dict(sorted(kinds.items(), key=lambda each: -len(each[1])))


def _positions(detail: CampaignDetail) -> Positions:
    """Where each key and identifier is drawn, `(2,) float64`."""
    linking = _linking(detail)
    rings = [
        kind
        for kind, ids in linking.items()
        if len(ids) > 1 or ids[0].members < _ALL * len(detail.members)
    ]
    order: dict[str, tuple[int, ...]] = {}  # of identifiers: ring, and place on it
    for kind in rings:
        for i, shared in enumerate(linking[kind]):
            order[shared.id] = (rings.index(kind), i)
    members = sorted(
        detail.members[:_DRAWN],
        key=lambda m: (sorted(order[s] for s in m.shares if s in order) or [(9,)], -m.confidence),
    )
    angle = 2.0 * np.pi * np.arange(len(members)) / max(len(members), 1) + 0.5 * np.pi
    layers = -(-len(members) // _PER_CIRCLE)
    radius = 1.0 + 0.06 * (np.arange(len(members)) % max(layers, 1))
    positions = {
        m.key: r * np.array([np.cos(a), np.sin(a)])
        for m, a, r in zip(members, angle, radius, strict=True)
    }
    around: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for member in members:
        for name in member.shares:
            around[name].append(positions[member.key])
    radii = np.linspace(_OUTER, _INNER, max(len(rings), 1)).tolist()
    for kind, r in zip(rings, radii, strict=False):
        ids = [shared.id for shared in linking[kind] if around[shared.id]]
        if not ids:  # their members are not drawn
            continue
        middle = np.array([np.sum(around[each], axis=0) for each in ids])
        towards = np.arctan2(middle[:, 1], middle[:, 0])
        if kind != rings[0]:  # their keys are everywhere: spread them evenly
            rank = np.argsort(np.argsort(towards))
            towards = 2.0 * np.pi * rank / len(ids) + towards.min()
        for name, a in zip(ids, towards.tolist(), strict=True):
            positions[name] = r * np.array([np.cos(a), np.sin(a)])
    alone = [kind for kind in linking if kind not in rings]
    for i, kind in enumerate(alone):
        a = 2.0 * np.pi * i / len(alone)
        r = 0.0 if len(alone) == 1 else 0.13
        positions[linking[kind][0].id] = r * np.array([np.cos(a), np.sin(a)])
    beside: dict[float, int] = defaultdict(int)
    for bystander in detail.bystanders:
        near = np.sum(
            [positions[s] for s in bystander.shares if s in positions] or [[0, 1]], axis=0
        )
        a = float(np.round(np.arctan2(near[1], near[0]), 2))
        beside[a] += 1
        spread = a + 0.05 * (beside[a] // 2) * (-1) ** beside[a]
        positions[bystander.key] = _OUTSIDE * np.array([np.cos(spread), np.sin(spread)])
    return positions


def _network(axes: Axes, detail: CampaignDetail) -> None:
    from matplotlib.collections import LineCollection

    positions, linking = _positions(detail), _linking(detail)
    members = [member for member in detail.members if member.key in positions]
    kind_of = {shared.id: shared.kind for ids in linking.values() for shared in ids}
    lines: dict[str, list[list[npt.NDArray[np.float64]]]] = defaultdict(list)
    for member in members:
        for shared in member.shares:
            if shared in kind_of and shared in positions:
                lines[kind_of[shared]].append([positions[member.key], positions[shared]])
    outermost = next(iter(linking), "")
    for kind, links in lines.items():
        alpha, width = (0.5, 0.9) if kind == outermost or len(links) < _FEW else (0.24, 0.6)
        axes.add_collection(
            LineCollection(links, colors=_COLOURS[kind], alpha=alpha, lw=width, zorder=1)
        )
    sure = [member for member in members if member.confidence >= SURE]
    likely = [member for member in members if member.confidence < SURE]
    for label, colour, drawn_members in (
        ("named with confidence ≥ 95%, larger with more requests", _SURE, sure),
        ("probable", _LIKELY, likely),
    ):
        if not drawn_members:
            continue
        at = np.array([positions[member.key] for member in drawn_members])
        busy = np.sqrt([member.requests for member in drawn_members])
        size = np.clip(5000.0 / len(members), 20.0, 80.0) * np.clip(busy / np.median(busy), 0.4, 3)
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=size,
            color=colour,
            lw=0.4,
            edgecolor="white",
            zorder=3,
            label=f"{count(len(drawn_members), 'key')} {label}",
        )
    for kind, shared_ones in linking.items():
        drawn = [shared for shared in shared_ones if shared.id in positions]
        at = np.array([positions[shared.id] for shared in drawn])
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=[30.0 + 260.0 * shared.members / max(len(members), 1) for shared in drawn],
            color=_COLOURS[kind],
            marker="D",
            lw=0.8,
            edgecolor="white",
            zorder=4,
            label=_legend(kind, drawn),
        )
    _bystanders(axes, detail, positions, kind_of)
    left_out = len(detail.members) - len(members)
    alone = [m.key for m in members if not any(shared in kind_of for shared in m.shares)]
    if alone:
        spokes = [[np.zeros(2), positions[key]] for key in alone]
        label = f"{count(len(alone), 'key')} linked by behaviour only"
        axes.add_collection(
            LineCollection(spokes, colors=FAINT, lw=0.9, zorder=1, label=label if lines else None)
        )
    if not lines:
        box = {"boxstyle": "round,pad=0.7", "facecolor": "white", "edgecolor": FAINT}
        axes.text(
            0,
            0,
            "They share no rare identifier.\nTheir behaviour links them.",
            ha="center",
            bbox=box,
        )
    if left_out:
        axes.set_xlabel(f"{left_out:,} more members are not drawn")
    reach = 1.42 if detail.bystanders else 1.16
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bystanders(
    axes: Axes, detail: CampaignDetail, positions: Positions, kind_of: dict[str, str]
) -> None:
    from matplotlib.collections import LineCollection

    if not detail.bystanders:
        return
    links: list[list[npt.NDArray[np.float64]]] = [
        [positions[each.key], positions[shared]]
        for each in detail.bystanders
        for shared in each.shares
        if shared in kind_of and shared in positions
    ]
    axes.add_collection(
        LineCollection(links, colors=_BYSTANDER, lw=0.8, ls=(0, (4, 3)), alpha=0.8, zorder=2)
    )
    at = np.array([positions[each.key] for each in detail.bystanders])
    axes.scatter(
        at[:, 0],
        at[:, 1],
        s=26.0,
        color=_BYSTANDER,
        lw=0.4,
        edgecolor="white",
        zorder=3,
        label=f"{count(len(detail.bystanders), 'bystander')}: shared identifier, other behaviour",
    )


def _legend(kind: str, shared: list[SharedIdentifier]) -> str:
    others = sum(each.others for each in shared)
    also = f"also used by {count(others, 'other key')}" if others else "used by no other key"
    return f"{count(len(shared), 'shared ' + evidence_label(kind))}, {also}"


def _evidence(axes: Axes, detail: CampaignDetail) -> None:
    """The evidence of the mean member, by kind."""
    kinds = sorted(detail.evidence.items(), key=lambda each: each[1])
    kinds = [(kind, nats) for kind, nats in kinds if abs(nats) >= 0.05]
    names = [evidence_label(kind) for kind, _ in kinds]
    nats = [each for _, each in kinds]
    colours = [_COLOURS.get(kind, _SURE) for kind, _ in kinds]
    bars = axes.barh(names, nats, color=colours, height=0.68)
    axes.bar_label(bars, fmt="%+.1f", padding=3, size=9)
    axes.axvline(0.0, color=INK, lw=0.8)
    least, most = min([0.0, *nats]), max([1.0, *nats])
    axes.set_xlim(least - 0.15 * most * (least < 0), 1.15 * most)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    for side in ("bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title("Evidence per member, nats", size=10, pad=6)


def _growth(axes: Axes, detail: CampaignDetail) -> None:
    """Members over time."""
    from matplotlib.ticker import MaxNLocator

    end = detail.summary.ended or detail.until
    points = [(detail.found, 0), *((entry.at, entry.members) for entry in detail.timeline)]
    points.append((end, points[-1][1]))
    hours, members = [(at - detail.found) / HOUR for at, _ in points], [m for _, m in points]
    axes.fill_between(hours, members, step="post", color=_SURE, alpha=0.18, lw=0)
    axes.step(hours, members, where="post", color=_SURE, lw=1.6)
    axes.set_ylim(0.0, max([*members, 1]) * 1.15)
    axes.set_xlim(0.0, max(hours[-1], 1e-3))
    first, last = detail.found / HOUR, end / HOUR
    step = next((each for each in _STEPS if last - first <= 5 * each), _STEPS[-1])
    whole = np.arange(np.ceil(first / step) * step, last, step)
    axes.set_xticks(whole - first, [_clock(HOUR * hour) for hour in whole])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(True, axis="y", color=FAINT)
    day = datetime.fromtimestamp(detail.found, UTC)
    axes.set_title(f"Members, from {day.day} {day:%B %Y}, UTC", size=10, pad=6)


def _clock(ts: float) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%H:%M}"

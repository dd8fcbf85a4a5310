"""The picture of a campaign: its keys on a circle, what they share within, bystanders outside.

Identifiers of one kind lie on one ring, the kind with the most of them on the outermost, so that
its links are short and show who pays, or comes, together; links further in cross the circle and
show what holds these together in turn. What all share is in the middle. What many others have links
nobody and is left out. Beside it: what speaks for the mean member, and how the campaign grew.
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
from pipelines.inspect.campaign import CampaignDetail, Shared
from pipelines.show.campaign import sentence
from pipelines.show.style import FAINT, INK, PLOT_STYLE, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TELLING = 1.0  # nats from which on an identifier links
_DRAWN = 600  # members
_A_RING = 160  # of them
_OUTER, _INNER = 0.76, 0.34  # radii of the rings of identifiers
_FEW = 100  # links that are drawn in full strength
_ALL = 0.9  # share of members, who have what is in the middle
_OUTSIDE = 1.28  # of bystanders
_SURE, _LIKELY, _BYSTANDER = "#cc3311", "#ee9977", "#9aa5b1"
_COLOURS = {
    "payment": "#4477aa",
    "network": "#228833",
    "system": "#aa3377",
    "tls_fingerprint": "#bb9922",
    "user_agent": "#66ccee",
    "model": "#777777",
}
_NAMES = {"system": "system prompt", "tls_fingerprint": "TLS fingerprint"}
_KINDS = {
    "direction": "what they ask",
    "likeness": "like a work list",
    "born": "when they came",
    "pace": "how fast they ask",
    "even": "how evenly",
    "variety": "how varied",
}

_STEPS = (1, 3, 6, 12, 24)  # hours between ticks

Places = dict[str, npt.NDArray[np.float64]]


def draw(detail: CampaignDetail, out: Path) -> None:
    """Draw a dossier into a file."""
    import matplotlib as mpl
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

    with mpl.rc_context(PLOT_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(11.5, 7.6), layout="constrained", facecolor="white")
        grid = figure.add_gridspec(3, 2, width_ratios=(2.1, 1.0), height_ratios=(1.0, 1.25, 0.75))
        web = figure.add_subplot(grid[:, 0])
        _web(web, detail)
        beside = figure.add_subplot(grid[0, 1])
        beside.axis("off")
        legend = beside.legend(
            *web.get_legend_handles_labels(),
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
            f"{detail.line.id}\n{_title(detail)}", x=0.012, ha="left", size=12, weight="bold"
        )
        figure.savefig(out, dpi=160, metadata={"Date": None} if out.suffix == ".svg" else {})


def _title(detail: CampaignDetail) -> str:
    parts = sentence(detail).replace("; ", ";\n", 1).splitlines()
    return "\n".join(line for part in parts for line in wrap(part, 110))


def _telling(detail: CampaignDetail) -> dict[str, list[Shared]]:
    """What links them, by kind, the kind with the most first."""
    kinds = defaultdict(list)
    for shared in detail.shared:
        if shared.nats >= _TELLING:
            kinds[shared.kind].append(shared)
    return dict(sorted(kinds.items(), key=lambda each: -len(each[1])))


def _places(detail: CampaignDetail) -> Places:
    """Where everything is drawn, `(2,)` each."""
    telling = _telling(detail)
    rings = [
        kind
        for kind, some in telling.items()
        if len(some) > 1 or some[0].members < _ALL * len(detail.members)
    ]
    order: dict[str, tuple[int, ...]] = {}  # of identifiers, along each ring in turn
    for kind in rings:
        for i, shared in enumerate(telling[kind]):
            order[shared.id] = (rings.index(kind), i)
    members = sorted(
        detail.members[:_DRAWN],
        key=lambda m: (sorted(order[s] for s in m.shares if s in order) or [(9,)], -m.confidence),
    )
    angle = 2.0 * np.pi * np.arange(len(members)) / max(len(members), 1) + 0.5 * np.pi
    layers = -(-len(members) // _A_RING)
    radius = 1.0 + 0.06 * (np.arange(len(members)) % max(layers, 1))
    places = {
        m.key: r * np.array([np.cos(a), np.sin(a)])
        for m, a, r in zip(members, angle, radius, strict=True)
    }
    around: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for member in members:
        for name in member.shares:
            around[name].append(places[member.key])
    radii = np.linspace(_OUTER, _INNER, max(len(rings), 1)).tolist()
    for kind, r in zip(rings, radii, strict=False):
        ids = [shared.id for shared in telling[kind] if around[shared.id]]
        if not ids:  # of those who are not drawn
            continue
        middle = np.array([np.sum(around[each], axis=0) for each in ids])
        towards = np.arctan2(middle[:, 1], middle[:, 0])
        if kind != rings[0]:  # spread, for their keys are everywhere
            rank = np.argsort(np.argsort(towards))
            towards = 2.0 * np.pi * rank / len(ids) + towards.min()
        for name, a in zip(ids, towards.tolist(), strict=True):
            places[name] = r * np.array([np.cos(a), np.sin(a)])
    alone = [kind for kind in telling if kind not in rings]
    for i, kind in enumerate(alone):
        a = 2.0 * np.pi * i / len(alone)
        r = 0.0 if len(alone) == 1 else 0.13
        places[telling[kind][0].id] = r * np.array([np.cos(a), np.sin(a)])
    beside: dict[float, int] = defaultdict(int)
    for bystander in detail.bystanders:
        near = np.sum([places[s] for s in bystander.shares if s in places] or [[0, 1]], axis=0)
        a = float(np.round(np.arctan2(near[1], near[0]), 2))
        beside[a] += 1
        spread = a + 0.05 * (beside[a] // 2) * (-1) ** beside[a]
        places[bystander.key] = _OUTSIDE * np.array([np.cos(spread), np.sin(spread)])
    return places


def _web(axes: Axes, detail: CampaignDetail) -> None:
    from matplotlib.collections import LineCollection

    places, telling = _places(detail), _telling(detail)
    members = [member for member in detail.members if member.key in places]
    kind_of = {shared.id: shared.kind for some in telling.values() for shared in some}
    lines: dict[str, list[list[npt.NDArray[np.float64]]]] = defaultdict(list)
    for member in members:
        for shared in member.shares:
            if shared in kind_of and shared in places:
                lines[kind_of[shared]].append([places[member.key], places[shared]])
    outermost = next(iter(telling), "")
    for kind, some in lines.items():
        alpha, width = (0.5, 0.9) if kind == outermost or len(some) < _FEW else (0.24, 0.6)
        axes.add_collection(
            LineCollection(some, colors=_COLOURS[kind], alpha=alpha, lw=width, zorder=1)
        )
    sure = [member for member in members if member.confidence >= SURE]
    likely = [member for member in members if member.confidence < SURE]
    for label, colour, some_members in (
        ("surely of it, larger with more requests", _SURE, sure),
        ("probably of it", _LIKELY, likely),
    ):
        if not some_members:
            continue
        at = np.array([places[member.key] for member in some_members])
        busy = np.sqrt([member.requests for member in some_members])
        size = np.clip(5000.0 / len(members), 20.0, 80.0) * np.clip(busy / np.median(busy), 0.4, 3)
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=size,
            color=colour,
            lw=0.4,
            edgecolor="white",
            zorder=3,
            label=f"{count(len(some_members), 'key')} {label}",
        )
    for kind, shared_ones in telling.items():
        drawn = [shared for shared in shared_ones if shared.id in places]
        at = np.array([places[shared.id] for shared in drawn])
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=[30.0 + 260.0 * shared.members / max(len(members), 1) for shared in drawn],
            color=_COLOURS[kind],
            marker="D",
            lw=0.8,
            edgecolor="white",
            zorder=4,
            label=_said_of(kind, drawn),
        )
    _bystanders(axes, detail, places, kind_of)
    left_out = len(detail.members) - len(members)
    if not lines:
        axes.add_collection(
            LineCollection(
                [[np.zeros(2), places[m.key]] for m in members], colors=FAINT, lw=0.9, zorder=1
            )
        )
        box = {"boxstyle": "round,pad=0.7", "facecolor": "white", "edgecolor": FAINT}
        axes.text(0, 0, "They share nothing rare:\nhow they act links them.", ha="center", bbox=box)
    if left_out:
        axes.set_xlabel(f"and {left_out:,} more members, who are not drawn")
    reach = 1.42 if detail.bystanders else 1.16
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bystanders(
    axes: Axes, detail: CampaignDetail, places: Places, kind_of: dict[str, str]
) -> None:
    from matplotlib.collections import LineCollection

    if not detail.bystanders:
        return
    links: list[list[npt.NDArray[np.float64]]] = [
        [places[each.key], places[shared]]
        for each in detail.bystanders
        for shared in each.shares
        if shared in kind_of and shared in places
    ]
    axes.add_collection(
        LineCollection(links, colors=_BYSTANDER, lw=0.8, ls=(0, (4, 3)), alpha=0.8, zorder=2)
    )
    at = np.array([places[each.key] for each in detail.bystanders])
    axes.scatter(
        at[:, 0],
        at[:, 1],
        s=26.0,
        color=_BYSTANDER,
        lw=0.4,
        edgecolor="white",
        zorder=3,
        label=f"{count(len(detail.bystanders), 'bystander')}: sharing, but not acting alike",
    )


def _said_of(kind: str, shared: list[Shared]) -> str:
    others = sum(each.others for each in shared)
    shares = count(len(shared), _NAMES.get(kind, kind.replace("_", " ")))
    also = f"also by {count(others, 'other')}" if others else "by nobody else"
    return f"{shares} shared, {also}"


def _evidence(axes: Axes, detail: CampaignDetail) -> None:
    """What speaks for the mean member, by kind."""
    kinds = sorted(detail.evidence.items(), key=lambda each: each[1])
    kinds = [(kind, nats) for kind, nats in kinds if abs(nats) >= 0.05]
    names = [_KINDS.get(kind, _NAMES.get(kind, kind.replace("_", " "))) for kind, _ in kinds]
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
    axes.set_title("What links a member to the others, in nats", size=10, pad=6)


def _growth(axes: Axes, detail: CampaignDetail) -> None:
    """Members over time."""
    from matplotlib.ticker import MaxNLocator

    end = detail.line.ended or detail.until
    moments = [(detail.found, 0), *((m.at, m.members) for m in detail.timeline)]
    moments.append((end, moments[-1][1]))
    hours, members = [(at - detail.found) / 3600.0 for at, _ in moments], [m for _, m in moments]
    axes.fill_between(hours, members, step="post", color=_SURE, alpha=0.18, lw=0)
    axes.step(hours, members, where="post", color=_SURE, lw=1.6)
    axes.set_ylim(0.0, max([*members, 1]) * 1.15)
    axes.set_xlim(0.0, max(hours[-1], 1e-3))
    first, last = detail.found / 3600.0, end / 3600.0
    step = next((each for each in _STEPS if last - first <= 5 * each), _STEPS[-1])
    whole = np.arange(np.ceil(first / step) * step, last, step)
    axes.set_xticks(whole - first, [_clock(3600.0 * hour) for hour in whole])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(True, axis="y", color=FAINT)
    day = datetime.fromtimestamp(detail.found, UTC)
    axes.set_title(f"Members, from {day.day} {day:%B %Y}, UTC", size=10, pad=6)


def _clock(ts: float) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%H:%M}"

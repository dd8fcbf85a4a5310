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
from pipelines.inspect.campaign import Bystander, CampaignDetail, Member, SharedIdentifier
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

Position = npt.NDArray[np.float64]  # (2,)
Positions = dict[str, Position]


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
    in_middle = [
        kind
        for kind, ids in linking.items()
        if len(ids) == 1 and ids[0].members >= _ALL * len(detail.members)
    ]
    rings = {kind: ids for kind, ids in linking.items() if kind not in in_middle}
    members = _in_order(detail.members[:_DRAWN], rings)
    positions = _circle(members)
    _place_on_rings(positions, members, rings)
    for i, kind in enumerate(in_middle):
        radius = 0.0 if len(in_middle) == 1 else 0.13
        angle = 2.0 * np.pi * i / len(in_middle)
        positions[linking[kind][0].id] = _at(radius, angle)
    _place_bystanders(positions, detail.bystanders)
    return positions


def _in_order(members: list[Member], rings: dict[str, list[SharedIdentifier]]) -> list[Member]:
    """The members, those with the same identifiers side by side."""
    order = {
        shared.id: (ring, i)
        for ring, ids in enumerate(rings.values())
        for i, shared in enumerate(ids)
    }

    def rank(member: Member) -> tuple[list[tuple[int, int]], float]:
        places = sorted(order[shared] for shared in member.shares if shared in order)
        return places or [(len(order), 0)], -member.confidence

    return sorted(members, key=rank)


def _circle(members: list[Member]) -> Positions:
    """Members on a circle, or on several close ones if they are many."""
    n = len(members)
    angles = 2.0 * np.pi * np.arange(n) / max(n, 1) + 0.5 * np.pi
    circles = -(-n // _PER_CIRCLE)
    radii = 1.0 + 0.06 * (np.arange(n) % max(circles, 1))
    return {
        member.key: _at(radius, angle)
        for member, radius, angle in zip(members, radii, angles, strict=True)
    }


def _place_on_rings(
    positions: Positions, members: list[Member], rings: dict[str, list[SharedIdentifier]]
) -> None:
    """Place identifiers near their members, each kind on a ring of its own."""
    around: dict[str, list[Position]] = defaultdict(list)
    for member in members:
        for name in member.shares:
            around[name].append(positions[member.key])
    radii = np.linspace(_OUTER, _INNER, max(len(rings), 1)).tolist()
    for ring, (shared_ones, radius) in enumerate(zip(rings.values(), radii, strict=False)):
        ids = [shared.id for shared in shared_ones if around[shared.id]]
        if not ids:  # their members are not drawn
            continue
        middle = np.array([np.sum(around[each], axis=0) for each in ids])
        angles = np.arctan2(middle[:, 1], middle[:, 0])
        if ring > 0:  # their members are all around: spread them evenly
            rank = np.argsort(np.argsort(angles))
            angles = 2.0 * np.pi * rank / len(ids) + angles.min()
        for name, angle in zip(ids, angles.tolist(), strict=True):
            positions[name] = _at(radius, angle)


def _place_bystanders(positions: Positions, bystanders: list[Bystander]) -> None:
    """Place bystanders outside, near their identifiers; those at one angle spread out."""
    at_angle: dict[float, int] = defaultdict(int)
    for bystander in bystanders:
        shared = [positions[each] for each in bystander.shares if each in positions]
        near = np.sum(shared or [np.array([0.0, 1.0])], axis=0)
        angle = float(np.round(np.arctan2(near[1], near[0]), 2))
        at_angle[angle] += 1
        spread = 0.05 * (at_angle[angle] // 2) * (-1) ** at_angle[angle]
        positions[bystander.key] = _at(_OUTSIDE, angle + spread)


def _at(radius: float, angle: float) -> Position:
    return radius * np.array([np.cos(angle), np.sin(angle)])


def _network(axes: Axes, detail: CampaignDetail) -> None:
    """Draw keys, identifiers and their links."""
    positions = _positions(detail)
    linking = {
        kind: drawn
        for kind, ids in _linking(detail).items()
        if (drawn := [shared for shared in ids if shared.id in positions])
    }
    members = [member for member in detail.members if member.key in positions]
    kind_of = {shared.id: shared.kind for ids in linking.values() for shared in ids}
    _draw_links(axes, members, positions, kind_of, outermost=next(iter(linking), ""))
    _draw_members(axes, members, positions)
    for kind, drawn in linking.items():
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
    _draw_bystanders(axes, detail, positions, kind_of)
    _draw_unlinked(axes, members, positions, kind_of)
    left_out = len(detail.members) - len(members)
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


def _draw_links(
    axes: Axes,
    members: list[Member],
    positions: Positions,
    kind_of: dict[str, str],
    *,
    outermost: str,
) -> None:
    """Draw a line from each member to each of its identifiers, pale if there are many."""
    from matplotlib.collections import LineCollection

    lines: dict[str, list[list[Position]]] = defaultdict(list)
    for member in members:
        for shared in member.shares:
            if shared in kind_of:
                lines[kind_of[shared]].append([positions[member.key], positions[shared]])
    for kind, links in lines.items():
        alpha, width = (0.5, 0.9) if kind == outermost or len(links) < _FEW else (0.24, 0.6)
        axes.add_collection(
            LineCollection(links, colors=_COLOURS[kind], alpha=alpha, lw=width, zorder=1)
        )


def _draw_members(axes: Axes, members: list[Member], positions: Positions) -> None:
    """Draw a dot per member, larger with more requests."""
    sure = [member for member in members if member.confidence >= SURE]
    likely = [member for member in members if member.confidence < SURE]
    for label, colour, drawn in (
        ("with confidence ≥ 95%, larger with more requests", _SURE, sure),
        ("with lower confidence", _LIKELY, likely),
    ):
        if not drawn:
            continue
        at = np.array([positions[member.key] for member in drawn])
        busy = np.sqrt([member.requests for member in drawn])
        size = np.clip(5000.0 / len(members), 20.0, 80.0) * np.clip(busy / np.median(busy), 0.4, 3)
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=size,
            color=colour,
            lw=0.4,
            edgecolor="white",
            zorder=3,
            label=f"{count(len(drawn), 'key')} {label}",
        )


def _draw_unlinked(
    axes: Axes, members: list[Member], positions: Positions, kind_of: dict[str, str]
) -> None:
    """Draw a line to the centre from each member without a drawn identifier."""
    from matplotlib.collections import LineCollection

    unlinked = [m.key for m in members if not any(shared in kind_of for shared in m.shares)]
    linked = len(unlinked) < len(members)
    if unlinked:
        spokes = [[np.zeros(2), positions[key]] for key in unlinked]
        label = f"{count(len(unlinked), 'key')} linked by behaviour only" if linked else None
        axes.add_collection(LineCollection(spokes, colors=FAINT, lw=0.9, zorder=1, label=label))
    if not linked:
        box = {"boxstyle": "round,pad=0.7", "facecolor": "white", "edgecolor": FAINT}
        text = "They share no rare identifier.\nTheir behaviour links them."
        axes.text(0, 0, text, ha="center", bbox=box)


def _draw_bystanders(
    axes: Axes, detail: CampaignDetail, positions: Positions, kind_of: dict[str, str]
) -> None:
    from matplotlib.collections import LineCollection

    if not detail.bystanders:
        return
    links: list[list[Position]] = [
        [positions[each.key], positions[shared]]
        for each in detail.bystanders
        for shared in each.shares
        if shared in kind_of
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

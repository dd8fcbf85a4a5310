"""Pictures for documents: when the keys appeared, and what ties them together.

The same case gives the same picture. Positions follow from the order of members, no layout is
searched for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from monitor.evidence.facts import Facts, MemberFact, SharedFact
from pipelines.reports import words
from pipelines.reports.render import svg

_WIDTH, _HEIGHT, _MARGIN = 720.0, 150.0, 46.0
_SIZE = 720.0  # of the graph
_MEMBERS = 1_200  # that are drawn
_BYSTANDERS = 240
_PER_RING = 150
_HUBS = 24  # identifiers that are drawn, the strongest
_COLOURS = {
    "payment": "#4477aa",
    "network": "#228833",
    "system": "#aa3377",
    "tls_fingerprint": "#bb9922",
    "user_agent": "#66ccee",
    "model": "#777777",
}
_OTHER = "#555555"
_ALL = 0.9  # share of members that have an identifier in the middle


@dataclass(frozen=True, slots=True)
class Dot:
    """A key or an identifier in the graph."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A line from an identifier to a key that has it."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str


def growth(facts: Facts) -> str:
    """Keys of the campaign over time, by when each was first seen; empty with fewer than two."""
    members = [each for each in facts.members if each.role == "member" and each.first_seen]
    if len(members) < 2:
        return ""
    times = sorted(each.first_seen for each in members)
    first, last = times[0], max(facts.last_seen, times[-1] + 1.0)
    wide, high = _WIDTH - 2 * _MARGIN, _HEIGHT - 44.0

    def x(at: float) -> float:
        return round(_MARGIN + wide * (at - first) / (last - first), 2)

    def y(number: int) -> float:
        return round(14.0 + high * (1.0 - number / len(times)), 2)

    path = [f"M {x(first)} {y(0)}"]
    for number, at in enumerate(times, 1):
        path.append(f"H {x(at)} V {y(number)}")
    path.append(f"H {x(last)}")
    area = f"{' '.join(path)} V {y(0)} Z"
    labels = {"first": words.moment(first), "last": words.moment(last), "most": f"{len(times):,}"}
    frame = {"width": _WIDTH, "height": _HEIGHT, "left": _MARGIN, "right": _WIDTH - _MARGIN}
    bounds = {"top": 14.0, "bottom": 14.0 + high}
    return svg("growth.svg.j2", {"line": " ".join(path), "area": area, **labels, **frame, **bounds})


def graph(facts: Facts) -> str:
    """Keys on rings, the identifiers that they share inside; empty if no key is known."""
    members = [each for each in facts.members if each.role == "member"]
    if not members:
        return ""
    beside = [each for each in facts.members if each.role == "bystander"][:_BYSTANDERS]
    hubs = _hubs(facts)
    order = {hub.id: place for place, hub in enumerate(hubs)}
    common = bool(hubs) and hubs[0].members >= _ALL * len(members)  # it is in the middle
    members = sorted(members, key=lambda each: (_place(each, order), each.key))[:_MEMBERS]
    centre, rings = _SIZE / 2, math.ceil(len(members) / _PER_RING)
    step = min(10.0, 66.0 / rings)
    positions: dict[str, tuple[float, float]] = {}
    dots, links = [], []
    for number, member in enumerate(members):
        angle = _turn(number / len(members))
        distance = 226.0 + step * (number % rings)
        positions[member.key] = _point(centre, distance, angle)
    for number, member in enumerate(beside):
        positions[member.key] = _point(centre, 334.0, _turn(number / len(beside)))
    for hub in hubs:
        shared = [positions[each.key] for each in (*members, *beside) if hub.id in each.shares]
        middle = common and hub is hubs[0]
        turn = _turn((order[hub.id] - common) / max(len(hubs) - common, 1))
        place = _point(centre, 0.0 if middle else 130.0, turn)
        colour = _COLOURS.get(hub.kind, _OTHER)
        links += [Link(*place, *end, colour) for end in shared]
        dots.append(Dot(*place, 9.0, colour, "#ffffff", str(order[hub.id] + 1)))
    radius = 5.0 if len(members) <= 120 else 2.6
    for member in members:
        sure = member.confidence >= 0.95
        dots.append(
            Dot(*positions[member.key], radius, "#cc3311" if sure else "#ee9977", "#ffffff")
        )
    hollow = "#ffffff", "#7b8794"
    dots += [Dot(*positions[each.key], min(radius, 4.0), *hollow) for each in beside]
    opacity = 0.5 if len(links) <= 200 else 0.12
    kinds = list(dict.fromkeys(hub.kind for hub in hubs))
    legend = [(_COLOURS.get(kind, _OTHER), words.tie(kind)) for kind in kinds]
    data = {"size": _SIZE, "dots": dots, "links": links, "opacity": opacity, "legend": legend}
    return svg("graph.svg.j2", data)


def drawn_hubs(facts: Facts) -> dict[str, int]:
    """The number in the graph of each identifier that it shows."""
    return {hub.id: number for number, hub in enumerate(_hubs(facts), 1)}


def _hubs(facts: Facts) -> list[SharedFact]:
    """The identifiers that are drawn: those of the most members, weighted by their evidence."""
    return sorted(facts.shared, key=lambda each: (-each.nats * each.members, each.id))[:_HUBS]


def _place(member: MemberFact, order: dict[str, int]) -> int:
    """The last place of a member's identifiers, so that its links are short."""
    return max((order[each] for each in member.shares if each in order), default=len(order))


def _turn(share: float) -> float:
    return 2.0 * math.pi * share - math.pi / 2


def _point(centre: float, distance: float, angle: float) -> tuple[float, float]:
    return (
        round(centre + distance * math.cos(angle), 2),
        round(centre + distance * math.sin(angle), 2),
    )

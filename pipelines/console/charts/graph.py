"""A campaign as a picture: its keys, bystanders, and the identifiers that tie them.

A picture of thousands of keys shows nothing. So keys that share the same identifiers are one node
that grows with their number, and a kind of identifier with many values is one node, too. A
small campaign is drawn key by key. The template draws the result as SVG; here are the places.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
import networkx as nx
import numpy as np
import numpy.typing as npt

from pipelines.inspect.campaign import SharedIdentifier

WIDTH, HEIGHT = 960.0, 600.0
LEAST_NATS = 0.5  # of an identifier that is drawn
_SINGLE = 60  # members, at most, that are drawn key by key
_GROUPS = 40  # of keys, at most
_EACH = 5  # identifiers of one kind, at most, that are drawn one by one
_ALL = 30  # the same in a campaign that is drawn key by key, of all kinds
_MARGIN_X, _MARGIN_Y = 90.0, 44.0
_KEY, _TIE = 7.0, 9.0  # radii
_GAP = 12.0  # between nodes
_LARGEST = 40.0  # radius
_LABEL = 150.0, 20.0  # room of a label

NodeKind = Literal["member", "bystander", "tie"]
Places = npt.NDArray[np.float64]  # (n, 2)


class Key(Protocol):
    """A member or a bystander."""

    @property
    def key(self) -> str: ...
    @property
    def shares(self) -> Sequence[str]: ...


class Node(msgspec.Struct, frozen=True):
    """A circle.

    Attributes:
        name: of the one key or identifier; empty for several.
        trait: kind of identifier; empty for keys.
        count: keys, or identifiers of this kind.
        members, others: keys that have the identifier.
        shares: names of identifiers that these keys share.
        above: its label goes above it, as that of a neighbour is below.
    """

    kind: NodeKind
    x: float
    y: float
    r: float
    name: str = ""
    trait: str = ""
    count: int = 1
    members: int = 0
    others: int = 0
    shares: tuple[str, ...] = ()
    above: bool = False


class Edge(msgspec.Struct, frozen=True):
    """A line from a key to an identifier, wider for many keys."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    kind: NodeKind


class Drawing(msgspec.Struct, frozen=True):
    """A picture.

    Attributes:
        members, bystanders: number of keys in it.
    """

    nodes: list[Node]
    edges: list[Edge]
    members: int
    bystanders: int
    width: float = WIDTH
    height: float = HEIGHT


class _Circle(msgspec.Struct):
    """A node before it has a place, and the number of keys on each line from it."""

    kind: NodeKind
    r: float
    name: str = ""
    trait: str = ""
    count: int = 1
    members: int = 0
    others: int = 0
    shares: tuple[str, ...] = ()
    ties: Counter[str] = msgspec.field(default_factory=Counter)


def draw(
    members: Sequence[Key], bystanders: Sequence[Key], shared: Sequence[SharedIdentifier]
) -> Drawing:
    """Draw a campaign; the same picture for the same campaign."""
    single = len(members) + len(bystanders) <= _SINGLE
    ties, node_of = _ties(shared, single)
    circles = [
        *_keys("member", members, node_of, single),
        *_keys("bystander", bystanders, node_of, single),
    ]
    used = {name for circle in circles for name in circle.ties}
    drawn = {name: tie for name, tie in ties.items() if name in used}
    every = [*circles, *drawn.values()]
    places = _places(circles, drawn)
    index = {name: len(circles) + i for i, name in enumerate(drawn)}
    above = _above(places, list(index.values()))
    edges = [
        Edge(
            *_point(places[i]),
            *_point(places[index[name]]),
            width=round(1.0 + math.log2(count), 1),
            kind=circle.kind,
        )
        for i, circle in enumerate(circles)
        for name, count in circle.ties.items()
    ]
    nodes = [
        Node(
            circle.kind,
            *_point(place),
            round(circle.r, 1),
            circle.name,
            circle.trait,
            circle.count,
            circle.members,
            circle.others,
            circle.shares,
            i in above,
        )
        for i, (circle, place) in enumerate(zip(every, places, strict=True))
    ]
    return Drawing(nodes, edges, len(members), len(bystanders))


def _ties(
    shared: Iterable[SharedIdentifier], single: bool
) -> tuple[dict[str, _Circle], dict[str, str]]:
    """The nodes of identifiers by name, and the node of each identifier."""
    kinds = defaultdict[str, list[SharedIdentifier]](list)
    for each in shared:
        if each.nats >= LEAST_NATS:
            kinds[each.kind].append(each)
    apart = single and sum(map(len, kinds.values())) <= _ALL
    circles, node_of = dict[str, _Circle](), dict[str, str]()
    for kind, group in kinds.items():
        if apart or len(group) <= _EACH:
            for each in group:
                circles[each.id] = _Circle("tie", _TIE, each.id, kind, 1, each.members, each.others)
                node_of[each.id] = each.id
        else:
            circles[kind] = _Circle("tie", _radius(_TIE, len(group)), "", kind, len(group))
            node_of |= dict.fromkeys((each.id for each in group), kind)
    return circles, node_of


def _keys(
    kind: NodeKind, keys: Sequence[Key], node_of: Mapping[str, str], single: bool
) -> list[_Circle]:
    """The nodes of keys: each, or those with the same ties."""
    if single:
        return [
            _Circle(
                kind, _KEY, each.key, ties=Counter(node_of[s] for s in each.shares if s in node_of)
            )
            for each in keys
        ]
    groups = defaultdict[tuple[str, ...], list[str]](list)
    for each in keys:
        groups[tuple(sorted({node_of[s] for s in each.shares if s in node_of}))].append(each.key)
    ranked = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    found = list[_Circle]()
    for ties, names in ranked[:_GROUPS]:
        count = len(names)
        name = names[0] if count == 1 else ""
        circle = _Circle(kind, _radius(_KEY, count), name, count=count, shares=ties)
        circle.ties.update(dict.fromkeys(ties, count))
        found.append(circle)
    rest = ranked[_GROUPS:]
    if rest:
        count = sum(len(names) for _, names in rest)
        circle = _Circle(kind, _radius(_KEY, count), count=count)
        for ties, names in rest:
            circle.ties.update(dict.fromkeys(ties, len(names)))
        found.append(circle)
    return found


def _radius(one: float, count: int) -> float:
    return min(one * math.pow(count, 0.22), _LARGEST)


def _places(circles: Sequence[_Circle], ties: Mapping[str, _Circle]) -> Places:
    """The centre of each node, `(n, 2) float64`."""
    graph = nx.Graph()
    size = len(circles) + len(ties)
    if size == 0:
        return np.empty((0, 2))
    graph.add_nodes_from(range(size))
    index = {name: len(circles) + i for i, name in enumerate(ties)}
    for i, circle in enumerate(circles):
        for name in circle.ties:
            graph.add_edge(i, index[name], weight=1.0)
        if not circle.ties:  # it would drift away
            graph.add_edge(i, size, weight=0.3)
    for i in index.values():
        graph.add_edge(i, size, weight=0.3)
    turn = np.linspace(0.0, 2.0 * np.pi, graph.number_of_nodes(), endpoint=False)
    start = {i: (math.cos(a), math.sin(a)) for i, a in enumerate(turn.tolist())}
    found = nx.spring_layout(
        graph, pos=start, iterations=60, k=2.2 / math.sqrt(size), seed=1, weight="weight"
    )
    places = np.array([found[i] for i in range(size)])
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([WIDTH - 2 * _MARGIN_X, HEIGHT - 2 * _MARGIN_Y])
    places = (places - low) / np.maximum(high - low, 1e-6) * room + (_MARGIN_X, _MARGIN_Y)
    radii = np.array([circle.r for circle in (*circles, *ties.values())])
    return _apart(places, radii)


def _apart(places: Places, radii: npt.NDArray[np.float64]) -> Places:
    """Push circles apart that overlap, and keep them inside."""
    least = radii[:, None] + radii[None, :] + _GAP
    np.fill_diagonal(least, 0.0)
    low = np.maximum(np.array([_MARGIN_X, _MARGIN_Y]), radii[:, None] + _GAP)
    high = np.array([WIDTH, HEIGHT]) - low
    places = np.clip(places, low, high)
    for _ in range(60):
        way = places[:, None, :] - places[None, :, :]
        distance = np.maximum(np.hypot(way[..., 0], way[..., 1]), 1e-3)
        overlap = np.maximum(least - distance, 0.0)
        if not overlap.any():
            break
        places = places + (way / distance[..., None] * overlap[..., None]).sum(axis=1) / 3.0
        places = np.clip(places, low, high)
    return places


def _above(places: Places, labelled: Sequence[int]) -> set[int]:
    """Nodes whose label would cover that of a node before them."""
    found: set[int] = set()
    for at, i in enumerate(labelled):
        below = [j for j in labelled[:at] if j not in found]
        if (np.abs(places[below] - places[i]) < _LABEL).all(axis=1).any():
            found.add(i)
    return found


def _point(place: npt.NDArray[np.float64]) -> tuple[float, float]:
    return round(float(place[0]), 1), round(float(place[1]), 1)

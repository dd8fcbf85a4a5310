"""Imported evidence: keys that have indicators of one campaign of a partner.

A partner may be wrong, or may lie: its list may contain the network of a whole university or the
system prompt of a popular product. So what is imported only helps to link keys, within narrow
bounds:

- An indicator that more than one in a hundred other keys have is worth nothing, and one that is a
  little rarer is worth very little.
- One source counts for at most 1.5 nats, times the confidence that it states and the weight that
  this deployment gives it; all sources together for at most 2. A sure member has 2.9.
- A key is named, and a group becomes a campaign, by evidence without any import (`rounds.py`).

Which indicators requests have follows from what workers have seen, and reaches the linker as a
list. The list is part of the state of the linker's partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.population import Population
from monitor.sharing.indicator import IN_FINGERPRINTS, Found, Indicator, Kind

MOST_NATS, MOST_NATS_OF_SOURCE = 2.0, 1.5
_COMMON = 0.01  # share of other keys above which an indicator is worth nothing
_MOST_KEYS = 5_000  # with an indicator that counts
# Bounds of the state and of the work of a round, whatever partners send:
_PER_SOURCE, _MOST = 200, 1_000  # imports
_TEMPLATE_KEYS = 10_000  # keys of all templates together
_TEXT = 100  # characters of a name that a partner chose
_LISTED = 100  # of a campaign

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


class Import(msgspec.Struct, frozen=True, array_like=True):
    """An indicator that requests of this deployment have. Times are epoch seconds.

    Attributes:
        id, kind, value, source, campaign: of the `Indicator`.
        nats: its evidence, at most.
        own: own hash of the identifier; 0 for a template.
        keys: that have the template.
    """

    id: str
    kind: Kind
    value: str
    source: str
    source_name: str
    campaign: str
    nats: float
    valid_from: float
    valid_until: float
    own: int = 0
    keys: list[str] = []


class ImportSeen(msgspec.Struct, frozen=True):
    """An import that members of a campaign have. Times are event time, epoch seconds.

    Attributes:
        id, kind, value, source, source_name: of the `Indicator`.
        campaign: what the partner calls its campaign.
        members: that have it.
        nats: mean evidence of these members from all imports; 0 if the indicator is common.
    """

    id: str
    kind: Kind
    value: str
    source: str
    source_name: str
    campaign: str
    members: int
    first_seen: float
    last_seen: float
    nats: float


class _Held(NamedTuple):
    """An import and the rows of the keys that have it."""

    found: Import
    rows: Rows


def imports_of(indicators: Iterable[Indicator], found: Iterable[Found]) -> list[Import]:
    """The imports of indicators that this deployment has seen, in a fixed order.

    A template that many keys have is left out. Of one source, the first 200 by confidence count.
    """
    seen = {(each.kind, each.value): each for each in found if not each.many}
    imports: list[Import] = []
    by_source = defaultdict[str, int](int)
    keys = 0
    for each in sorted(indicators, key=lambda each: (-each.confidence, each.source, each.id)):
        here = seen.get((each.kind, each.value))
        if here is None or by_source[each.source] >= _PER_SOURCE or len(imports) >= _MOST:
            continue
        if keys + len(here.keys) > _TEMPLATE_KEYS:
            continue
        by_source[each.source] += 1
        keys += len(here.keys)
        nats = MOST_NATS_OF_SOURCE * each.confidence / 100.0 * each.weight
        imports.append(
            Import(
                id=each.id,
                kind=each.kind,
                value=each.value,
                source=each.source,
                source_name=each.source_name[:_TEXT],
                campaign=each.campaign[:_TEXT],
                nats=nats,
                valid_from=each.valid_from,
                valid_until=each.valid_until,
                own=here.own,
                keys=here.keys,
            )
        )
    return imports


class Imports:
    """The imports that hold at one time, and which keys have them.

    Args:
        held: each with the rows of keys.
        keys: number of keys.
    """

    def __init__(self, held: Sequence[_Held], keys: int) -> None:
        self._held = held
        self._keys = keys

    def __bool__(self) -> bool:
        return bool(self._held)

    @classmethod
    def of(cls, imports: Iterable[Import], population: Population, now: float) -> Imports:
        """Those that hold at an event time, epoch seconds, and that keys have."""
        valid = [each for each in imports if each.valid_from <= now < each.valid_until]
        rows = _rows_by_hash(valid, population)
        held = [
            _Held(each, rows[each.kind, each.own] if each.own else population.rows_of(each.keys))
            for each in valid
        ]
        held = [each for each in held if 0 < len(each.rows) <= _MOST_KEYS]
        return cls(held, len(population))

    def among(self, which: Rows) -> Imports:
        """The same for some keys only, `(m,) int64`."""
        place = np.full(self._keys, -1)
        place[which] = np.arange(len(which))
        held = [_Held(each, place[rows][place[rows] >= 0]) for each, rows in self._held]
        return Imports([each for each in held if len(each.rows)], len(which))

    def evidence(self, member: Floats, eligible: Mask) -> Floats:
        """The evidence on n keys, `(n,) float64`, nats; never negative.

        Args:
            member: `(n,) float64`, the probability that each key is a member.
            eligible: `(n,) bool`, which keys may be members.
        """
        members, all_ = float(member[eligible].sum()), int(np.count_nonzero(eligible))
        total = np.zeros(self._keys)
        if members < 1.0 or all_ - members < 1.0:
            return total
        of_source = np.zeros(self._keys)
        for parties in self._by_campaign(member).values():
            touched: list[Rows] = []
            for held in parties:
                rows, most = _most(held)
                may = eligible[rows]
                rows, most = rows[may], most[may]
                inside = float(member[rows].sum())
                if inside < 0.5:
                    continue
                others = inside - member[rows]
                outside = (len(rows) - inside + 0.5) / (all_ - members + 1.0)
                nats = np.log(np.maximum(others / members, 1e-9) * _COMMON / outside)
                nats = np.where(others >= 0.5, np.clip(nats, 0.0, most), 0.0)
                of_source[rows] = np.maximum(of_source[rows], nats)
                touched.append(rows)
            for rows in touched:  # a key in two of them counts once
                total[rows] += of_source[rows]
                of_source[rows] = 0.0
        return np.minimum(total, MOST_NATS)

    def candidates(self, free: Mask) -> Iterator[Rows]:
        """Keys that have imports of one campaign of a partner, of those that are in no group."""
        nobody = np.zeros(self._keys)
        for parties in self._by_campaign(nobody).values():
            for held in parties:
                rows = np.unique(np.concatenate([each.rows for each in held]))
                yield rows[free[rows]]

    def seen(
        self, members: Rows, nats: Floats, member: Floats, first: Floats, last: Floats
    ) -> list[ImportSeen]:
        """The imports that members of a campaign have, those of most members first.

        Args:
            members: `(m,) int64`.
            nats: `(n,) float64`, evidence of imports.
            member: `(n,) float64`, the probability that each key is a member.
            first, last: `(n,) float64`, when each key was seen, epoch seconds.
        """
        inside = np.zeros(self._keys, bool)
        inside[members] = True
        weight, found = float(member.sum()), []
        for each, rows in self._held:
            own = rows[inside[rows]]
            if len(own):
                counts = not self._is_common(rows, member, weight)
                found.append(
                    ImportSeen(
                        *(each.id, each.kind, each.value, each.source, each.source_name),
                        each.campaign,
                        len(own),
                        float(first[own].min()),
                        float(last[own].max()),
                        float(nats[own].mean()) if counts else 0.0,
                    )
                )
        found.sort(key=lambda each: (-each.members, each.source, each.id))
        return found[:_LISTED]

    def _by_campaign(self, member: Floats) -> dict[str, list[list[_Held]]]:
        """The imports that are not common, by source, in a list for each of its campaigns."""
        parties = defaultdict[tuple[str, str], list[_Held]](list)
        members = float(member.sum())
        for each in self._held:
            if not self._is_common(each.rows, member, members):
                parties[each.found.source, each.found.campaign].append(each)
        by_source = defaultdict[str, list[list[_Held]]](list)
        for (source, _), held in parties.items():
            by_source[source].append(held)
        return by_source

    def _is_common(self, rows: Rows, member: Floats, members: float) -> bool:
        """Whether too many keys outside the group have an indicator, eligible or not.

        Args:
            members: sum of `member`.
        """
        outside = len(rows) - float(member[rows].sum())
        others = self._keys - members
        return (outside + 0.5) / (others + 1.0) > _COMMON


def _rows_by_hash(
    imports: Iterable[Import], population: Population
) -> dict[tuple[Kind, int], Rows]:
    """The rows of the keys that have own hashes, by kind and hash."""
    wanted = defaultdict[Kind, set[int]](set)
    for each in imports:
        if each.own:
            wanted[each.kind].add(each.own)
    found: dict[tuple[Kind, int], Rows] = {}
    for kind, hashes in wanted.items():
        values = population.rows["identifiers"][:, IDENTIFIERS.index(IN_FINGERPRINTS[kind])]
        some = np.array(sorted(hashes), np.uint64)
        rows, _ = places = np.nonzero(np.isin(values, some))
        having = values[places]
        for own in some.tolist():
            found[kind, own] = np.unique(rows[having == own])
    return found


def _most(held: Sequence[_Held]) -> tuple[Rows, Floats]:
    """The rows of all keys that have any of some imports, and the most nats for each."""
    rows = np.concatenate([each.rows for each in held])
    nats = np.repeat([each.found.nats for each in held], [len(each.rows) for each in held])
    order = np.lexsort((-nats, rows))
    first = np.flatnonzero(np.diff(rows[order], prepend=-1))
    return rows[order][first], nats[order][first]

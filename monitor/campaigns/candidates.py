"""Seeds: a few keys that may be the beginning of a group.

Two kinds of places are searched. Keys that show the same identifier, if their prompts deviate the
same way, too. And keys whose deviations lie close together, that came at the same time and ask as
fast, where such keys are densest: pairs are compared only among a bounded number of keys, those in
buckets of locality-sensitive hashing (random hyperplanes; M. Charikar, STOC 2002) that are fuller
than chance, so that a million cost little more than a hundred thousand. A seed is no more than a
guess; what comes of it, `Group` decides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.population import Population
from monitor.prompts.projection import CONTENT
from monitor.records.profile import MINUTE

SIZE = 8  # keys of a seed by nearness
_AT_A_TIME, _TURNS = 3, 4  # seeds of either kind in a round, and rounds that share them
_TELLING = ("payment", "network", "tls_fingerprint", "system")
_COMMON = 0.25  # share of keys beyond which an identifier tells nothing
_COHERENT = 4.0  # standard deviations
_COMPARED = 3072  # keys that are compared with each other
_TABLES, _BITS, _BORN_CELL = 6, 8, 30 * MINUTE
_BORN, _PACE = 20 * MINUTE, 0.5  # how near keys are in time and speed
_NEAR = 0.6  # least mean nearness of a seed

Marks = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


def seeds(population: Population, free: Marks, turn: int) -> Iterator[Rows]:
    """Rows of keys that may act as one, the likeliest first.

    Args:
        free: `(n,)`, which keys are in no group.
        turn: of the round, for what leads nowhere in one shall not stand in the way in the next.
    """
    if np.count_nonzero(free) >= SIZE:
        yield from _by_identifier(population, free)
        yield from _by_nearness(population, free, turn % _TURNS)


def _by_identifier(population: Population, free: Marks) -> Iterator[Rows]:
    """Keys that share an identifier and deviate the same way."""
    rows = np.flatnonzero(free)
    found: list[tuple[float, Rows]] = []
    for name in _TELLING:
        values = population.rows["seen"][rows, IDENTIFIERS.index(name)]
        each, where, counts = np.unique(values, return_inverse=True, return_counts=True)
        some = (each != 0) & (counts >= 4) & (counts <= _COMMON * len(rows))
        where = where.reshape(values.shape)
        for value in np.flatnonzero(some).tolist():
            sharing = rows[(where == value).any(axis=1)]
            found.append((_coherence(population.direction[sharing]), sharing))
    found.sort(key=lambda each: -each[0])
    yield from (sharing for z, sharing in found[:_AT_A_TIME] if z >= _COHERENT)


def _coherence(directions: npt.NDArray[np.float32]) -> float:
    """How much longer the sum of m unit vectors is than that of random ones, in deviations."""
    m = len(directions)
    total = directions.sum(axis=0, dtype=np.float64)
    pairs = float(total @ total) - m
    return float(pairs / np.sqrt(2.0 * m * (m - 1) / CONTENT))


def _by_nearness(population: Population, free: Marks, turn: int) -> Iterator[Rows]:
    """The densest places among keys that deviate alike, came together and ask as fast."""
    rows = _crowded(population, np.flatnonzero(free))
    directions, traits = population.direction[rows], population.traits
    nearness = directions @ directions.T
    for trait, width, worth in ((traits.born, _BORN, 0.3), (traits.pace, _PACE, 0.1)):
        x = trait[rows].astype(np.float32)
        nearness += worth * np.exp(-np.abs(x[:, None] - x[None, :]) / width)
    density = np.partition(nearness, -SIZE, axis=1)[:, -SIZE:].sum(axis=1)
    left = np.ones(len(rows), bool)
    for place in range((turn + 1) * _AT_A_TIME):
        centre = int(np.where(left, density, -np.inf).argmax())
        if not left[centre] or density[centre] < _NEAR * SIZE:
            return
        around = np.argpartition(nearness[centre], -SIZE)[-SIZE:]
        left &= nearness[centre] < density[centre] / SIZE
        left[around] = False
        if place >= turn * _AT_A_TIME:
            yield rows[around]


def _crowded(population: Population, rows: Rows) -> Rows:
    """Those in the buckets that are fuller than chance, if there are too many to compare.

    A bucket is a side of some hyperplanes, an octave of pace and half an hour of birth. What
    ordinary keys ask may go with how fast they do, as it does with applications; but when they came
    has nothing to do with either. So of each side and pace every half hour has its share, but for
    chance and for those who came together.
    """
    if len(rows) <= _COMPARED:
        return rows
    traits = population.traits
    _, born = np.unique(traits.born[rows] // _BORN_CELL, return_inverse=True)
    _, pace = np.unique(np.floor(traits.pace[rows]), return_inverse=True)
    share = np.bincount(born)[born] / len(rows)
    planes = np.random.default_rng(1).standard_normal((CONTENT, _TABLES * _BITS), np.float32)
    sides = (population.direction[rows] @ planes > 0).reshape(len(rows), _TABLES, _BITS)
    side = sides @ (1 << np.arange(_BITS))
    fuller = np.full(len(rows), -np.inf)
    for table in range(_TABLES):
        asked = (pace << _BITS) + side[:, table]
        bucket = (born << 16) + asked
        counts = np.bincount(bucket)[bucket]
        expected = np.bincount(asked)[asked] * share
        fuller = np.maximum(fuller, (counts - expected) / np.sqrt(expected + 1.0))
    return rows[np.sort(np.argpartition(fuller, -_COMPARED)[-_COMPARED:])]

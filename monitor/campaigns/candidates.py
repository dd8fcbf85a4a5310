"""Candidates: a few keys each from which a group may grow.

There are three sources of candidates: keys that share an identifier and whose prompts deviate in
one direction, keys that have imported indicators of one campaign, and the densest sets of keys with
similar deviations, first-seen times and request rates. Pairs are compared only among a bounded
number of keys: those in buckets of locality-sensitive hashing that hold more keys than chance
explains. So a million keys cost little more than a hundred thousand. A candidate is only a guess;
`Group` computes what follows from it.

Source: M. Charikar, STOC 2002, for hashing by random hyperplanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.imported import Imports
from monitor.campaigns.population import Population
from monitor.prompts.projection import CONTENT
from monitor.records.profile import MINUTE

SIZE = 8  # keys of a candidate by similarity, at most
NEAREST = 4  # keys by whose similarity a key is dense, itself included
_PER_ROUND = 4  # candidates of either source
_UNTRIED = 0.5  # share of keys with one identifier that have not been tried, at least
_GROWN = 1.5  # requests of a key, relative to those when it was tried, until it is tried again
_SHARED = ("payment", "network", "tls_fingerprint", "system")
_MIN_SHARING = 4  # keys with one identifier
_COMMON = 0.25  # share of keys above which an identifier is ignored
_COHERENT = 4.0  # standard deviations
_COHERENT_IMPORTED = 2.0  # the same for keys that have imports of one campaign
_COMPARED = 3072  # keys that are compared with each other
_TABLES, _BITS, _FIRST_SEEN_CELL = 6, 8, 30 * MINUTE  # hash tables, hyperplanes of each, seconds
_FIRST_SEEN_WIDTH, _FIRST_SEEN_WEIGHT = 20 * MINUTE, 0.3  # seconds, cosine units
_RATE_WIDTH, _RATE_WEIGHT = 0.5, 0.1  # octaves, cosine units
_SIMILAR = 0.6  # mean similarity of a candidate, at least

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


def candidates(
    population: Population, free: Mask, imports: Imports | None = None
) -> Iterator[Rows]:
    """Rows of keys that may be coordinated, the most likely first.

    Args:
        population: n keys; it remembers which ones have been tried.
        free: `(n,) bool`, which keys are in no group.
        imports: of the n keys; by default there are none.
    """
    if np.count_nonzero(free) >= NEAREST:
        found = (
            _by_identifier(population, free),
            _by_import(population, free, imports) if imports else iter(()),
            _by_similarity(population, free),
        )
        for rows in chain.from_iterable(found):
            population.mark_tried(rows)
            yield rows


def _by_identifier(population: Population, free: Mask) -> Iterator[Rows]:
    """Keys that share an identifier and deviate in one direction."""
    rows = np.flatnonzero(free)
    untried = _untried(population)
    found: list[tuple[float, Rows]] = []
    for name in _SHARED:
        values = population.rows["identifiers"][rows, IDENTIFIERS.index(name)]
        found += [
            (_coherence(population.direction[sharing]), sharing)
            for which in _sharing(values, int(_COMMON * len(rows)))
            for sharing in [rows[which]]
            if untried[sharing].mean() >= _UNTRIED
        ]
    found.sort(key=lambda each: -each[0])
    yield from (sharing for z, sharing in found[:_PER_ROUND] if z >= _COHERENT)


def _by_import(population: Population, free: Mask, imports: Imports) -> Iterator[Rows]:
    """Keys that have imported indicators of one campaign and deviate in one direction."""
    untried = _untried(population)
    most = _COMMON * np.count_nonzero(free)
    found = [
        (_coherence(population.direction[rows]), rows)
        for rows in imports.candidates(free)
        if _MIN_SHARING <= len(rows) <= most and untried[rows].mean() >= _UNTRIED
    ]
    found.sort(key=lambda each: -each[0])
    yield from (rows for z, rows in found[:_PER_ROUND] if z >= _COHERENT_IMPORTED)


def _sharing(values: npt.NDArray[np.uint64], most: int) -> Iterator[Rows]:
    """Which keys share each value, in the order of the values; rare and common ones are left out.

    Args:
        values: `(n, SEEN) uint64`, different values per key, 0 if unknown.
        most: keys with one value.
    """
    flat = values.ravel()
    known = np.flatnonzero(flat)
    order = known[np.argsort(flat[known], kind="stable")]
    ordered = flat[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(order)])
    counts = np.diff(starts, append=len(order))
    shared = (counts >= _MIN_SHARING) & (counts <= most)
    for start, count in zip(starts[shared].tolist(), counts[shared].tolist(), strict=True):
        yield order[start : start + count] // values.shape[1]


def _coherence(directions: npt.NDArray[np.float32]) -> float:
    """How far m unit vectors agree beyond chance, in standard deviations.

    Args:
        directions: `(m, CONTENT) float32`.
    """
    m = len(directions)
    total = directions.sum(axis=0, dtype=np.float64)
    pairs = float(total @ total) - m
    return float(pairs / np.sqrt(2.0 * m * (m - 1) / CONTENT))


def _by_similarity(population: Population, free: Mask) -> Iterator[Rows]:
    """The densest sets of keys with similar deviations, first-seen times and request rates.

    Only around untried keys, so that every key has its turn.
    """
    rows = _crowded(population, np.flatnonzero(free))
    if len(rows) < NEAREST:
        return
    directions, traits = population.direction[rows], population.traits
    similarity = directions @ directions.T
    for trait, width, weight in (
        (traits.first_seen, _FIRST_SEEN_WIDTH, _FIRST_SEEN_WEIGHT),
        (traits.rate, _RATE_WIDTH, _RATE_WEIGHT),
    ):
        x = trait[rows].astype(np.float32)
        similarity += weight * np.exp(-np.abs(x[:, None] - x[None, :]) / width)
    density = np.partition(similarity, -NEAREST, axis=1)[:, -NEAREST:].sum(axis=1)
    left = _untried(population)[rows]
    for _ in range(_PER_ROUND):
        centre = int(np.where(left, density, -np.inf).argmax())
        if not left[centre] or density[centre] < _SIMILAR * NEAREST:
            return
        size = min(SIZE, len(rows))
        around = np.argpartition(similarity[centre], -size)[-size:]
        around = around[similarity[centre, around] >= _SIMILAR]
        left &= similarity[centre] < density[centre] / NEAREST
        left[around] = False
        yield rows[around]


def _untried(population: Population) -> Mask:
    """Which of n keys have not been tried since they had half as many requests, `(n,) bool`."""
    rows = population.rows
    return np.asarray(rows["fingerprint"]["requests"] >= _GROWN * rows["tried"])


def _crowded(population: Population, rows: Rows) -> Rows:
    """At most `_COMPARED` of some keys: those in the buckets that exceed chance most.

    A bucket is one side of each hyperplane, one octave of request rate and one half-hour of first
    seen. Among ordinary keys, prompts and request rate may depend on each other, but neither
    depends on when a key was first seen. So each half-hour has the same share of every side and
    rate, except by chance and for keys that start together.
    """
    if len(rows) <= _COMPARED:
        return rows
    traits = population.traits
    _, cell = np.unique(traits.first_seen[rows] // _FIRST_SEEN_CELL, return_inverse=True)
    _, rate = np.unique(np.floor(traits.rate[rows]), return_inverse=True)
    share = np.bincount(cell)[cell] / len(rows)
    planes = np.random.default_rng(1).standard_normal((CONTENT, _TABLES * _BITS), np.float32)
    sides = (population.direction[rows] @ planes > 0).reshape(len(rows), _TABLES, _BITS)
    side = sides @ (1 << np.arange(_BITS))
    excess = np.full(len(rows), -np.inf)
    for table in range(_TABLES):
        prompts = (rate << _BITS) + side[:, table]
        bucket = (cell << 16) + prompts
        counts = np.bincount(bucket)[bucket]
        expected = np.bincount(prompts)[prompts] * share
        excess = np.maximum(excess, (counts - expected) / np.sqrt(expected + 1.0))
    return rows[np.sort(np.argpartition(excess, -_COMPARED)[-_COMPARED:])]

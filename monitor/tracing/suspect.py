"""What a suspect model's outputs show, before any key is asked: trials and their weights.

All of it depends on the text alone and never on a key. Therefore the probability of agreeing with a
random key is known exactly, see `significance.py`. Each trial is counted once, however often it is
repeated: a token (scheme `fixed`), a pair of tokens (scheme `context`), a wording after a word, an
answer to a canary. Pairs and wordings that are in the prompts do not count: a model repeats what it
is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from monitor.tracing.choices import Canary, Wordings, given, normalised
from monitor.tracing.watermark import Scheme

Tokens = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_T = TypeVar("_T")
_SHIFT = 32  # bits of a token
_TOKEN = (1 << _SHIFT) - 1
_MISMATCH = 0.3  # relative deviation of any other model's token frequencies from the ordinary ones
_LEVELS, _MOST = 2, 8  # weights: per root mean square, and at most


class Output(NamedTuple):
    """One output.

    Attributes:
        prompt: that it answers; `None` if it is not known.
    """

    text: str
    prompt: str | None = None


class Counts(NamedTuple):
    """Distinct pairs of tokens, and how often each occurs.

    Attributes:
        ids: int64, ascending: a token, and the one before it in the upper bits.
        counts: int64.
    """

    ids: Tokens
    counts: Tokens


class TokenTrials(NamedTuple):
    """Trials of the watermark.

    Attributes:
        previous, tokens: int64 `(n,)`.
        weights: int64 `(n,)`, not 0; negative: the token is rarer than it should be, so it agrees
            with a key that does not favour it.
    """

    previous: Tokens
    tokens: Tokens
    weights: Tokens


def count(texts: Iterable[Tokens]) -> Counts:
    """Count pairs of tokens within texts."""
    return _counted(np.concatenate([*map(_pairs, texts), np.empty(0, np.int64)]))


def token_trials(
    found: Counts, prompts: Counts, scheme: Scheme, ordinary: Counts | None = None
) -> TokenTrials:
    """The trials of a scheme.

    Args:
        found: in the outputs.
        prompts: in the prompts.
        ordinary: in outputs of an unmarked model, which make the test more powerful.
    """
    found = _without(found, prompts)
    if scheme == "fixed":
        found = _tokens_of(found)
        ordinary = ordinary and _tokens_of(ordinary)
    if ordinary is not None and len(ordinary.ids):
        ids, weights = _against(found, ordinary, scheme)
    elif scheme == "context":
        ids, weights = found.ids, np.ones(len(found.ids))
    else:
        ids, weights = found.ids, np.log1p(found.counts)
    levels = _levels(weights)
    ids, levels = ids[levels != 0], levels[levels != 0]
    return TokenTrials(ids >> _SHIFT, ids & _TOKEN, levels)


def wording_trials(outputs: Sequence[Output], wordings: Wordings) -> list[tuple[int, str, int]]:
    """The group, the word before and the commonest wording there; ties are left out."""
    known = {
        (group, before)
        for each in outputs
        if each.prompt is not None
        for group, before, _ in wordings.read(normalised(each.prompt))
    }
    votes = dict[tuple[int, str], Counter[int]]()
    for each in outputs:
        for group, before, choice in wordings.read(normalised(each.text)):
            if (group, before) not in known:
                votes.setdefault((group, before), Counter())[choice] += 1
    firsts = ((*place, _first(of)) for place, of in votes.items())
    return [(group, before, first) for group, before, first in firsts if first is not None]


def canary_trials(outputs: Sequence[Output], canaries: Sequence[Canary]) -> dict[str, str]:
    """The commonest answer to each canary, by its name."""
    found = dict[str, str]()
    for canary in canaries:
        votes = Counter(
            answer for each in outputs if (answer := given(canary, each.prompt, each.text))
        )
        if votes and (answer := _first(votes)) is not None:
            found[canary.name] = answer
    return found


def _pairs(tokens: Tokens) -> Tokens:
    return (tokens[:-1] << _SHIFT) | tokens[1:]


def _tokens_of(pairs: Counts) -> Counts:
    """The second tokens of pairs."""
    return _counted(pairs.ids & _TOKEN, pairs.counts)


def _counted(ids: Tokens, counts: Tokens | None = None) -> Counts:
    distinct, place = np.unique(ids, return_inverse=True)
    return Counts(distinct, np.bincount(place, counts, len(distinct)).astype(np.int64))


def _without(found: Counts, other: Counts) -> Counts:
    keep = ~np.isin(found.ids, other.ids)
    return Counts(found.ids[keep], found.counts[keep])


def _against(found: Counts, ordinary: Counts, scheme: Scheme) -> tuple[Tokens, Floats]:
    """By how much each count differs from what is ordinary, in units that weigh all fairly."""
    if scheme == "context":
        keep = np.isin(ordinary.ids >> _SHIFT, found.ids >> _SHIFT)
        ordinary = Counts(ordinary.ids[keep], ordinary.counts[keep])
    ids = _distinct(found.ids, ordinary.ids)
    counts, usual = _looked_up(found, ids), _looked_up(ordinary, ids)
    if scheme == "context":
        before, place = np.unique(ids >> _SHIFT, return_inverse=True)
        here = np.bincount(place, counts, len(before))[place]
        there = np.bincount(place, usual, len(before))[place]
    else:
        here, there = np.full(len(ids), counts.sum()), np.full(len(ids), usual.sum())
    known = (here > 0) & (there > 0)
    expected = np.where(known, here * (usual + 0.1) / np.maximum(there, 1.0), 0.0)
    weights = (counts - expected) / (1.0 + _MISMATCH**2 * expected)
    return ids, np.where(known, weights, np.minimum(counts, 1.0))


def _distinct(first: Tokens, second: Tokens) -> Tokens:
    """All of two sorted arrays; NumPy's own function hashes pairs of tokens badly and is slow."""
    both: Tokens = np.sort(np.concatenate([first, second]), kind="stable")
    found: Tokens = both[np.diff(both, prepend=-1) != 0]
    return found


def _looked_up(counts: Counts, ids: Tokens) -> Floats:
    found = np.zeros(len(ids))
    found[np.searchsorted(ids, counts.ids)] = counts.counts
    return found


def _levels(weights: Floats) -> Tokens:
    if len(weights) == 0:
        return np.empty(0, np.int64)
    scale = np.sqrt(np.mean(weights**2))
    if np.ptp(weights) == 0:
        scale *= _LEVELS
    levels: Floats = np.clip(np.rint(_LEVELS * weights / scale), -_MOST, _MOST)
    return levels.astype(np.int64)


def _first(votes: Counter[_T]) -> _T | None:
    """What has most votes; `None` if several have."""
    (top, most), *others = votes.most_common(2)
    return None if others and others[0][1] == most else top

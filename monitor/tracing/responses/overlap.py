"""Overlap: does a suspect model say what a campaign was given, more than what others were given?

A model that was trained on responses repeats runs of words from some of them. All models repeat
some: phrases and quotations that everybody uses. So the campaign's responses are compared with
responses that other keys got at the same time. If the suspect model has seen neither, both kinds
are found in its outputs equally often. Fisher's exact test gives the probability that chance alone
finds as many of the campaign's.

Only runs that are in one response count, so a stock phrase is evidence of nothing. A response
counts once, however often the outputs repeat it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from monitor.tracing.responses.sketch import Hashes, Sketch


class Overlap(NamedTuple):
    """The result of the test.

    Attributes:
        trials: distinct responses of the campaign.
        agree: of them, in the outputs.
        expected: of them in the outputs, if the campaign's were found as often as the others'.
        z: standard deviations above this.
        p: probability of as many by chance.
        controls: distinct responses of other keys.
        others: of them, in the outputs.
    """

    trials: int
    agree: int
    expected: float
    z: float
    p: float
    controls: int
    others: int


def overlap(said: Hashes, given: Sequence[Sketch], controls: Sequence[Sketch]) -> Overlap:
    """Test whether outputs overlap with a campaign's responses.

    Args:
        said: the hashes of the outputs' runs, see `Sketcher.runs`, without those of the prompts
            that they answer: a model repeats what it is given.
        given: responses to the campaign.
        controls: responses to other keys at the same time.
    """
    own, others = {each.runs for each in given}, {each.runs for each in controls}
    own, others = own - others, others - own  # what both were given shows nothing
    runs = [np.frombuffer(each, "<u8") for each in (*own, *others)]
    of = np.repeat(np.arange(len(runs)), [len(each) for each in runs])
    hashes = np.concatenate([np.empty(0, "<u8"), *runs]).astype(np.uint64)
    distinct, place, count = np.unique(hashes, return_inverse=True, return_counts=True)
    counts = (count == 1)[place]
    found = counts & np.isin(distinct, said)[place]
    usable = np.zeros(len(runs), np.bool_)
    usable[of[counts]] = True
    hit = np.zeros(len(runs), np.bool_)
    hit[of[found]] = True
    trials, agree = int(usable[: len(own)].sum()), int(hit[: len(own)].sum())
    rest, elsewhere = int(usable[len(own) :].sum()), int(hit[len(own) :].sum())
    expected, deviation = _moments(trials, rest, agree + elsewhere)
    z = (agree - expected) / deviation if deviation else 0.0
    p = fisher(trials, agree, rest, elsewhere)
    return Overlap(trials, agree, expected, z, p, rest, elsewhere)


def fisher(trials: int, agree: int, controls: int, others: int) -> float:
    """The probability that chance puts at least `agree` of all hits among the trials (Fisher,
    1935; hypergeometric, one-sided).
    """
    hits = agree + others
    whole = _choices(trials + controls, hits)
    terms = [
        _choices(trials, k) + _choices(controls, hits - k) - whole
        for k in range(max(agree, hits - controls), min(hits, trials) + 1)
    ]
    return min(math.fsum(map(math.exp, terms)), 1.0) if terms else 1.0


def _choices(n: int, k: int) -> float:
    """The logarithm of the number of ways to choose k of n."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _moments(trials: int, controls: int, hits: int) -> tuple[float, float]:
    """Mean and standard deviation of the hits among the trials by chance."""
    total = trials + controls
    if total < 2:
        return float(min(hits, trials)), 0.0
    share = trials / total
    variance = hits * share * (1 - share) * (total - hits) / (total - 1)
    return hits * share, math.sqrt(max(variance, 0.0))

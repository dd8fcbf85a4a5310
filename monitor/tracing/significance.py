"""Significance: the probability that text which has nothing to do with a key agrees with it.

The text is given and the key is random. Each distinct trial (a word pair, a choice, a question)
agrees with a random key with a known probability, independently of the others. So the distribution
of the score is known exactly, whatever the text is: no assumption about the suspect model is made,
and a text that is repeated a thousand times counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST = 1e-300  # smaller probabilities are given as this one
_DEVIATIONS = 32.0  # of the score, that the Fourier transform covers


class Trials(NamedTuple):
    """Trials of one kind.

    Attributes:
        weight: added to the score for each trial that agrees, from 1.
        number: of trials.
        probability: that one agrees by chance.
    """

    weight: int
    number: int
    probability: float


def tail(trials: Sequence[Trials], score: int) -> float:
    """The probability of at least this score by chance.

    The distribution is exponentially tilted so that its mean is the score, and found by a Fourier
    transform: the relative error stays small far out in the tail.
    """
    trials = [each for each in trials if each.number and each.weight]
    most = sum(each.weight * each.number for each in trials)
    if score <= 0:
        return 1.0
    if score > most:
        return 0.0
    if score == most:
        return max(math.exp(sum(n * math.log(q) for _, n, q in trials)), LEAST)
    tilt = _tilt(trials, score)
    tilted = [(w, n, _tilted(q, w * tilt)) for w, n, q in trials]
    deviation = math.sqrt(sum(w * w * n * q * (1 - q) for w, n, q in tilted))
    size = 1 << math.ceil(math.log2(min(most + 1, _DEVIATIONS * (deviation + 1.0))))
    angles = 2j * np.pi * np.arange(size // 2 + 1) / size
    logarithm = -score * angles
    for w, n, q in tilted:
        logarithm += n * np.log(1 - q + q * np.exp(w * angles))
    masses = np.fft.irfft(np.exp(logarithm.conj()), size)  # of score + 0, 1, …
    above = np.arange(min(size // 2 if size <= most else size, most - score + 1))
    total = float((np.maximum(masses[above], 0.0) * np.exp(-tilt * above)).sum())
    if total <= 0.0:
        return LEAST
    found = math.log(total) + _cumulant(trials, tilt) - tilt * score
    return min(max(math.exp(max(found, -700.0)), LEAST), 1.0)


def deviations(trials: Sequence[Trials], score: int) -> float:
    """How many standard deviations a score is above what is expected by chance."""
    mean = sum(w * n * q for w, n, q in trials)
    variance = sum(w * w * n * q * (1 - q) for w, n, q in trials)
    return (score - mean) / math.sqrt(variance) if variance else 0.0


def holm(p: Sequence[float]) -> list[float]:
    """Probabilities corrected for having asked for all of them (Holm, 1979)."""
    adjusted, least = [1.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[i] * (len(p) - place)))
        adjusted[i] = least
    return adjusted


def _tilted(q: float, exponent: float) -> float:
    odds = math.log(q) - math.log1p(-q) + exponent
    return 1.0 / (1.0 + math.exp(-odds)) if odds > -700 else 0.0


def _cumulant(trials: Sequence[Trials], tilt: float) -> float:
    """The logarithm of the mean of exp(tilt * score)."""
    return sum(
        n * float(np.logaddexp(math.log1p(-q), math.log(q) + w * tilt)) for w, n, q in trials
    )


def _tilt(trials: Sequence[Trials], score: int) -> float:
    """The tilt under which the score is the mean; 0 if the mean is higher already."""

    def mean(tilt: float) -> float:
        return sum(w * n * _tilted(q, w * tilt) for w, n, q in trials)

    low, high = 0.0, 1.0
    if mean(0.0) >= score:
        return 0.0
    while mean(high) < score and high < 700.0:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < score else (low, middle)
    return (low + high) / 2

"""Kernel means: where a key's prompts lie, and how far apart they are.

The mean of unit vectors φ over a key's prompts is a point in feature space, and its length tells
how alike the prompts are: the mean of φ·ψ over pairs of them (self-similarity) is the squared
length, freed from the pairs of a prompt with itself. Its squared distance from another mean is the
squared maximum mean discrepancy of the two (MMD²; Gretton et al., JMLR 13, 2012, eq. 3, with the
linear kernel on φ), likewise unbiased. Sums of such means pool keys into campaigns.

A mean decays by prompts, not by time: the last `half_life` of them weigh half. A key that slows
down is not forgotten, and the weights follow from the number of prompts alone, so that a record
holds nothing but the number and the mean in 16-bit steps. Rounding to a step is random but fair
(stochastic rounding, its coins a hash of the prompt), or a mean could never take steps smaller
than half of one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

Floats = npt.NDArray[np.float64]

UNIT = 127  # a feature's component 1, int8
STEPS = 258  # steps of a stored mean to one of a feature: 127 * 258 fits 16 bits
HALF_LIVES = (64.0, 1024.0)  # prompts
LISTED = 256.0  # likewise, of scores: a list may be mixed in, or begin late


def decay(half_life: float) -> float:
    """What a prompt's weight is multiplied by with each further prompt."""
    return float(0.5 ** (1.0 / half_life))


@jit
def rate(prompts: int, decay: float) -> float:
    """The weight of the newest of so many prompts in their mean."""
    return float((1.0 - decay) / (1.0 - decay**prompts))


@jit
def fold(mean: Any, feature: Any, rate: float, seed: int) -> None:
    """Take a prompt into a mean.

    Args:
        mean: `(d,) int16`, updated in place.
        feature: `(d,) int8`.
        rate: the prompt's weight, in (0, 1].
        seed: 32 bits of the prompt's own.
    """
    share, scale = np.float32(rate), np.float32(2.0**-24)
    start = np.uint32(seed)
    for i in range(len(mean)):
        coin = np.uint32(np.uint32(i) * np.uint32(0x9E3779B9)) ^ start
        coin = np.uint32((coin ^ (coin >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        coin = np.uint32((coin ^ (coin >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        old = np.float32(mean[i])
        new = old + (np.float32(feature[i]) * np.float32(STEPS) - old) * share
        step = np.floor(new)
        up = np.float32(coin >> np.uint32(8)) * scale < new - step
        mean[i] = np.int16(step) + np.int16(up)


def weights(prompts: Any, half_life: float) -> tuple[Floats, Floats]:
    """The sum of the weights of so many prompts, `(n,)`, and of their squares."""
    each, n = decay(half_life), np.asarray(prompts, np.float64)
    return (1.0 - each**n) / (1.0 - each), (1.0 - each ** (2.0 * n)) / (1.0 - each**2)


class KernelMeans(NamedTuple):
    """Decayed sums of vectors, most of them unit vectors, of n keys; they add up.

    Attributes:
        sum: `(n, d) float64`, of w·φ over the prompts.
        weight: `(n,) float64`, of w.
        squares: `(n,) float64`, of w².
        own: `(n,) float64`, of w²·φ·φ, or as much as is to be expected.
    """

    sum: Floats
    weight: Floats
    squares: Floats
    own: Floats

    @classmethod
    def stored(
        cls,
        means: npt.NDArray[np.int16],
        prompts: Any,
        half_life: float,
        unit: float = UNIT,
        length: float = 1.0,
    ) -> KernelMeans:
        """From means as records hold them, `(n, d)`, of so many prompts each, `(n,)`.

        Args:
            unit: a feature's component 1.
            length: the squared length of a vector, in the mean.
        """
        weight, squares = weights(prompts, half_life)
        return cls(means * (weight[:, None] / (unit * STEPS)), weight, squares, length * squares)

    def merged(self, other: KernelMeans) -> KernelMeans:
        """Of both keys' prompts together, row by row."""
        return KernelMeans(*(mine + its for mine, its in zip(self, other, strict=True)))

    def pooled(self) -> KernelMeans:
        """Of all keys' prompts together, one row."""
        return KernelMeans(*(part.sum(axis=0, keepdims=True) for part in self))

    @property
    def mean(self) -> Floats:
        """`(n, d)`, zero where there are no prompts."""
        return self.sum / np.maximum(self.weight, 1e-12)[:, None]

    @property
    def effective(self) -> Floats:
        """The number of prompts, equally weighted, that would tell as much, `(n,)`."""
        return self.weight**2 / np.maximum(self.squares, 1e-12)

    @property
    def self_similarity(self) -> Floats:
        """The mean of φ·ψ over pairs of a key's prompts, `(n,)`; 0 below two prompts."""
        pairs = self.weight**2 - self.squares
        alike = np.einsum("nd,nd->n", self.sum, self.sum) - self.own
        return np.where(pairs > 1e-9, alike / np.maximum(pairs, 1e-9), 0.0)

    def squared_distance(self, mean: Floats, uncertainty: float = 0.0) -> Floats:
        """MMD² from a mean `(d,)` whose own expected squared error is `uncertainty`, `(n,)`.

        Unbiased: around zero, also below, for a key whose prompts are from that mean.
        """
        apart = -2.0 * (self.mean @ mean) + float(mean @ mean)
        return self.self_similarity + apart - uncertainty

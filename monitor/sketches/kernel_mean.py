"""Kernel means: where a key's prompts lie in feature space, and how far apart they are.

The mean of unit vectors φ over a key's prompts is a point in feature space. Its length measures how
similar the prompts are: the mean of φ·ψ over pairs of prompts (the self-similarity) is the squared
length without the pairs of a prompt with itself. The squared distance from another mean is the
squared maximum mean discrepancy (MMD²; Gretton et al., JMLR 13, 2012, eq. 3, with the linear kernel
on φ), also unbiased. Sums of such means pool keys.

A mean decays by prompts, not by time: the last `half_life` prompts have half of the weight. The
weights follow from the number of prompts alone, so a record stores only that number and the mean in
16-bit steps. Rounding to a step is stochastic, with a hash of the prompt as the random bits;
otherwise a mean could never change by less than half a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

Floats = npt.NDArray[np.float64]

UNIT = 127  # int8 value of a feature component of 1.0
STEPS = 258  # steps of a stored mean per step of a feature: 127 * 258 fits 16 bits


def decay(half_life: float) -> float:
    """Factor on the weight of older prompts per new prompt."""
    return float(0.5 ** (1.0 / half_life))


@jit
def newest_weight(prompts: int, decay: float) -> float:
    """Weight of the newest prompt in the mean of `prompts` prompts, in (0, 1]."""
    return float((1.0 - decay) / (1.0 - decay**prompts))


@jit
def add(mean: Any, feature: Any, weight: float, seed: int) -> None:
    """Add one prompt to a mean.

    Args:
        mean: `(d,) int16`, in steps of 1 / (UNIT * STEPS); updated in place.
        feature: `(d,) int8`, in steps of 1 / UNIT.
        weight: the prompt's weight, in (0, 1].
        seed: 32 bits that differ from prompt to prompt; they decide the rounding.
    """
    share, scale = np.float32(weight), np.float32(2.0**-24)
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


@jit
def squared_length(feature: Any) -> int:
    """Squared length of a feature vector, `(d,) int8`, in squared steps."""
    squares = 0
    for i in range(len(feature)):
        squares += int(feature[i]) * int(feature[i])
    return squares


def weights(prompts: Any, half_life: float) -> tuple[Floats, Floats]:
    """Sums of the weights of `prompts` prompts and of the squared weights, `(n,) float64` each."""
    each, n = decay(half_life), np.asarray(prompts, np.float64)
    return (1.0 - each**n) / (1.0 - each), (1.0 - each ** (2.0 * n)) / (1.0 - each**2)


class KernelMeans(NamedTuple):
    """Decayed sums over the prompts of n keys.

    Attributes:
        sum: `(n, d) float64`, sum of w·φ.
        weight: `(n,) float64`, sum of w.
        squares: `(n,) float64`, sum of w².
        own: `(n,) float64`, expected sum of w²·φ·φ.
    """

    sum: Floats
    weight: Floats
    squares: Floats
    own: Floats

    @classmethod
    def from_stored(
        cls,
        means: npt.NDArray[np.int16],
        prompts: Any,
        half_life: float,
        unit: float = UNIT,
        length: float = 1.0,
    ) -> KernelMeans:
        """Restore the sums from the means in records.

        Args:
            means: `(n, d) int16`.
            prompts: `(n,)`, prompts per key.
            half_life: prompts.
            unit: stored value of a feature component of 1.0.
            length: mean squared length of a feature vector.
        """
        weight, squares = weights(prompts, half_life)
        return cls(means * (weight[:, None] / (unit * STEPS)), weight, squares, length * squares)

    @property
    def mean(self) -> Floats:
        """Mean vectors, `(n, d) float64`; zero for a key without prompts."""
        return self.sum / np.maximum(self.weight, 1e-12)[:, None]

    @property
    def self_similarity(self) -> Floats:
        """Mean of φ·ψ over pairs of a key's prompts, `(n,) float64`; 0 below two prompts."""
        pairs = self.weight**2 - self.squares
        products = np.einsum("nd,nd->n", self.sum, self.sum) - self.own
        return np.where(pairs > 1e-9, products / np.maximum(pairs, 1e-9), 0.0)

    def squared_distance(self, mean: Floats, uncertainty: float = 0.0) -> Floats:
        """Unbiased MMD² of each key from another mean, `(n,) float64`.

        Near zero, also below it, for keys whose prompts are drawn around that mean.

        Args:
            mean: `(d,) float64`.
            uncertainty: expected squared error of `mean`.
        """
        return self.self_similarity - 2.0 * (self.mean @ mean) + float(mean @ mean) - uncertainty

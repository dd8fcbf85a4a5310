"""Results per key, and the recall and the false alerts that they amount to, with 95% intervals.

The keys of a fleet are flagged together or not at all. So the number of fleets, not of keys, says
how certain a recall is. The interval of one class is Wilson's for its recall and its number of
fleets; the interval of the mean over classes is from a bootstrap that draws whole fleets.

Sources: E. B. Wilson, Journal of the American Statistical Association 22, 1927; B. Efron, Annals of
Statistics 7, 1979.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

MIN_REQUESTS = 20  # of an attacker that counts in recall
_NORMAL_QUANTILE = 1.959963984540054  # of the standard normal distribution at .975
_DRAWS = 2_000  # of the bootstrap
_QUANTILES = (0.5, 0.9)  # of requests until flagged


class KeyResult(msgspec.Struct, frozen=True):
    """What happened to a labelled key.

    Attributes:
        kind: its class.
        attack: whether it is an attacker.
        fleet: its campaign; the key itself if it acts alone.
        source: where its prompts come from, if known.
        requests: number of requests.
        flagged: its requests until it was flagged, by kind of alert; empty if it never was.
    """

    kind: str
    attack: bool
    fleet: str
    source: str
    requests: int
    flagged: dict[str, int]

    @property
    def counts(self) -> bool:
        """Whether it counts in recall, or in false alerts."""
        return not self.attack or self.requests >= MIN_REQUESTS

    @property
    def until(self) -> int:
        """Its requests until it was flagged."""
        return min(self.flagged.values())

    @property
    def first(self) -> str:
        """The kind of alert that flagged it first."""
        return min(self.flagged, key=self.flagged.__getitem__)


class Recall(msgspec.Struct, frozen=True):
    """The share of attackers that are flagged.

    Attributes:
        name: of the class or source.
        interval: 95%, by fleet.
        requests: median and 90th percentile of a flagged key's requests until it was flagged.
        first: flagged keys by the kind of alert that flagged them first.
    """

    name: str
    keys: int
    fleets: int
    recall: float
    interval: tuple[float, float]
    requests: tuple[int, int] | None
    first: dict[str, int]


class FalseKeys(msgspec.Struct, frozen=True):
    """The ordinary keys that are flagged.

    Attributes:
        name: of the kind or source.
        interval: 95%, of the share of keys that are flagged.
        kinds: flagged keys by kind of alert; a key may have several.
    """

    name: str
    keys: int
    flagged: int
    interval: tuple[float, float]
    kinds: dict[str, int]


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """The 95% interval of a probability from an observed share of independent trials."""
    if not trials:
        return 0.0, 1.0
    square = _NORMAL_QUANTILE**2 / trials
    centre = share + square / 2
    spread = math.sqrt(max(share * (1 - share) * square + square * square / 4, 0.0))
    return max((centre - spread) / (1 + square), 0.0), min((centre + spread) / (1 + square), 1.0)


def quantiles(requests: Iterable[int]) -> tuple[int, int] | None:
    """The median and the 90th percentile; `None` of nothing."""
    ranked = sorted(requests)
    if not ranked:
        return None
    median, high = (ranked[min(len(ranked) - 1, int(q * len(ranked)))] for q in _QUANTILES)
    return median, high


def recall_by(
    results: Iterable[KeyResult], name: Callable[[KeyResult], str] = lambda result: result.kind
) -> list[Recall]:
    """The recall of each class, or of each group that `name` gives, by name."""
    rows = []
    for each, found in _grouped((r for r in results if r.attack and r.counts), name):
        flagged = [result for result in found if result.flagged]
        fleets, share = len({result.fleet for result in found}), len(flagged) / len(found)
        first = Counter(result.first for result in flagged)
        requests = quantiles(result.until for result in flagged)
        interval = wilson_interval(share, fleets)
        rows.append(
            Recall(each, len(found), fleets, share, interval, requests, dict(first.most_common()))
        )
    return rows


def mean_recall(results: Iterable[KeyResult]) -> tuple[float, float, float]:
    """The mean recall over classes and its 95% interval; zeros without attackers."""
    random, draws = np.random.default_rng(1), []
    classes = _grouped((r for r in results if r.attack and r.counts), lambda r: r.kind)
    means = []
    for _, found in classes:
        fleets = np.array(
            [
                (sum(bool(result.flagged) for result in members), len(members))
                for _, members in _grouped(found, lambda r: r.fleet)
            ]
        )
        drawn = fleets[random.integers(len(fleets), size=(_DRAWS, len(fleets)))].sum(axis=1)
        draws.append(drawn[:, 0] / drawn[:, 1])
        flagged, keys = fleets.sum(axis=0)
        means.append(flagged / keys)
    if not means:
        return 0.0, 0.0, 0.0
    low, high = np.quantile(np.mean(draws, axis=0), (0.025, 0.975))
    return float(np.mean(means)), float(low), float(high)


def false_by(
    results: Iterable[KeyResult], name: Callable[[KeyResult], str] = lambda result: result.kind
) -> list[FalseKeys]:
    """The flagged ordinary keys of each kind, or of each group that `name` gives, by name."""
    rows = []
    for each, found in _grouped((r for r in results if not r.attack), name):
        flagged = [result for result in found if result.flagged]
        kinds = Counter(kind for result in flagged for kind in result.flagged)
        interval = wilson_interval(len(flagged) / len(found), len(found))
        rows.append(FalseKeys(each, len(found), len(flagged), interval, dict(kinds.most_common())))
    return rows


def _grouped(
    results: Iterable[KeyResult], name: Callable[[KeyResult], str]
) -> Sequence[tuple[str, list[KeyResult]]]:
    groups: dict[str, list[KeyResult]] = defaultdict(list)
    for result in results:
        groups[name(result)].append(result)
    return sorted(groups.items())

"""Results per key, and the recall and the false alerts that they amount to, with 95% intervals.

The keys of a fleet are flagged together or not at all. So the number of fleets, not of keys, says
how certain a recall is. The interval of a class is Wilson's for its recall and its number of
fleets. The interval of the mean over classes combines theirs.

Sources: E. B. Wilson, Journal of the American Statistical Association 22, 1927; G. Y. Zou and
A. Donner, Statistics in Medicine 27, 2008.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

MIN_REQUESTS = 20  # of an attacker that counts in recall
_NORMAL_QUANTILE = 1.959963984540054  # of the standard normal distribution at .975
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
        kind: their class.
        source: of their prompts; empty for all of the class.
        interval: 95%, by fleet.
        requests: median and 90th percentile of a flagged key's requests until it was flagged.
        first: flagged keys by the kind of alert that flagged them first.
    """

    kind: str
    source: str
    keys: int
    fleets: int
    recall: float
    interval: tuple[float, float]
    requests: tuple[int, int] | None
    first: dict[str, int]


class FalseKeys(msgspec.Struct, frozen=True):
    """The ordinary keys that are flagged.

    Attributes:
        kind: their class.
        source: of their prompts; empty for all of the class.
        interval: 95%, of the share of keys that are flagged.
        kinds: flagged keys by kind of alert; a key may have several.
    """

    kind: str
    source: str
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


def recall_of(results: Iterable[KeyResult]) -> list[Recall]:
    """The recall of each class by name, each followed by that of its sources if there are any."""
    rows = []
    for (kind, source), found in _parts(key for key in results if key.attack and key.counts):
        flagged = [result for result in found if result.flagged]
        fleets, share = len({result.fleet for result in found}), len(flagged) / len(found)
        first = dict(Counter(result.first for result in flagged).most_common())
        requests = quantiles(result.until for result in flagged)
        interval = wilson_interval(share, fleets)
        rows.append(Recall(kind, source, len(found), fleets, share, interval, requests, first))
    return rows


def mean_recall(rows: Iterable[Recall]) -> tuple[float, float, float]:
    """The mean recall over classes and its 95% interval; zeros without attackers."""
    classes = [row for row in rows if not row.source]
    if not classes:
        return 0.0, 0.0, 0.0
    count = len(classes)
    mean = sum(row.recall for row in classes) / count
    below = math.hypot(*(row.recall - row.interval[0] for row in classes)) / count
    above = math.hypot(*(row.interval[1] - row.recall for row in classes)) / count
    return mean, max(mean - below, 0.0), min(mean + above, 1.0)


def false_keys_of(results: Iterable[KeyResult]) -> list[FalseKeys]:
    """The flagged ordinary keys of each class, each followed by those of its sources."""
    rows = []
    for (kind, source), found in _parts(key for key in results if not key.attack):
        flagged = [result for result in found if result.flagged]
        kinds = dict(Counter(each for result in flagged for each in result.flagged).most_common())
        interval = wilson_interval(len(flagged) / len(found), len(found))
        rows.append(FalseKeys(kind, source, len(found), len(flagged), interval, kinds))
    return rows


def _parts(results: Iterable[KeyResult]) -> list[tuple[tuple[str, str], list[KeyResult]]]:
    """The keys of each class and of each of its sources, by name."""
    parts: dict[tuple[str, str], list[KeyResult]] = defaultdict(list)
    for result in results:
        for source in {"", result.source}:
            parts[result.kind, source].append(result)
    return sorted(parts.items())

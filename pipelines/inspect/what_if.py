"""What would have made the difference: the smallest change to a key that moves its severity.

A detector knows the record and the public, so one only has to ask it again, of records that are
changed a little and then a little more. Nothing here knows how a detector comes to its word; a new
one is explained as well as those that were there before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from monitor.alerting.alerts import SEVERITIES
from monitor.config import Detection
from monitor.detectors.base import Detector, Floats
from monitor.records.baseline import Baseline
from monitor.records.profile import ELICITATION, FARTHEST, REQUESTS, TOKENS, Profile, Records
from monitor.records.update import CAP, MATCH, MISS

_FACTORS = 2.0 ** (np.arange(1, 193) / 16)  # of volume, up to 4,096
_PROMPTS = np.arange(1.0, 101.0)
_SHARES = np.linspace(0.0, 1.0, 21)
_WANTED = {"reasoning": "the reasoning trace", "grading": "grades or preferences"}
_BILLION = 1e9
_COUNTS = ("requests", "prompts", "sketched", "matches")


class Change(NamedTuple):
    """Something that a key could have done more of, or less.

    Attributes:
        words: with a place for the amount.
        amounts: those to be tried, the smallest change first.
        apply: changes records in place, one an amount.
    """

    words: str
    amounts: Floats
    apply: Callable[[Records, Floats], None]


def differences(
    detector: Detector, record: Records, baseline: Baseline, settings: Detection
) -> list[str]:
    """Sentences on what would have made more of a key, and what less.

    Args:
        record: of the one key, `(1,)`.
    """
    p = float(detector(Profile(record), baseline).p[0])
    thresholds = (settings.info, settings.warning, settings.critical)
    found = sum(p <= threshold for threshold in thresholds)
    said = []
    if found < len(thresholds):
        ways = _ways(_more(record), detector, record, baseline, thresholds[found], rising=True)
        said += _sentence("From", thresholds[found], found + 1, ways)
    if found:
        ways = _ways(_less(record), detector, record, baseline, thresholds[found - 1], rising=False)
        said += _sentence("Above", thresholds[found - 1], found - 1, ways)
    return said


def one_in(p: float) -> str:
    """A probability in words."""
    times = 1.0 / max(p, 1e-300)
    if times >= _BILLION:
        return "under 1 in a billion"
    if times >= 1e6:
        return f"1 in {times / 1e6:,.3g} million"
    return f"1 in {times:,.0f}" if times >= 10 else f"1 in {times:.2g}"


def _sentence(side: str, threshold: float, severity: int, ways: Iterable[str]) -> list[str]:
    told = ", or ".join(ways)
    name = ("nothing", *SEVERITIES)[severity].replace("warning", "a warning")
    return [f"{side} {one_in(threshold)} it would be {name}: {told}."] if told else []


def _ways(
    changes: list[Change],
    detector: Detector,
    record: Records,
    baseline: Baseline,
    threshold: float,
    *,
    rising: bool,
) -> Iterator[str]:
    """In words, the changes that would bring a key's probability across a threshold."""
    for words, amounts, apply in changes:
        if not len(amounts):
            continue
        changed = np.repeat(record, len(amounts))
        apply(changed, amounts)
        across = (detector(Profile(changed), baseline).p <= threshold) == rising
        if across.any():
            amount = float(amounts[across.argmax()])
            yield words.format(f"{amount:,.0f}" if amount >= 10 else f"{amount:.2g}", amount)


def _more(record: Records) -> list[Change]:
    turns = float(record["followups"][0])
    return [
        Change("with {} times the requests and tokens", _FACTORS, _volume),
        Change("with {} times as many prompts of the same kind", _FACTORS, _prompts),
        *(
            Change(f"with {{}} more prompts in a row that ask for {wanted}", _PROMPTS, ask)
            for wanted, ask in zip(_WANTED.values(), _ASKS, strict=True)
        ),
        Change("with {1:.0%} follow-up turns", _SHARES[turns > _SHARES][::-1], _turns),
    ]


def _less(record: Records) -> list[Change]:
    turns = float(record["followups"][0])
    return [
        Change("with {} times the requests and tokens", 1.0 / _FACTORS, _volume),
        Change("with {} times as many prompts of the same kind", 1.0 / _FACTORS, _prompts),
        Change("with {} further prompts that ask for neither", _PROMPTS, _ask_for_neither),
        Change("with {1:.0%} follow-up turns", _SHARES[turns < _SHARES], _turns),
    ]


def _volume(records: Records, factors: Floats) -> None:
    """As many times the requests and tokens, over all windows."""
    which = slice(REQUESTS.start, TOKENS.stop)
    level = records["level"][:, which].astype(np.float64)
    counts = (np.exp2(level) - 1.0) * factors[:, None]
    records["level"][:, which] = np.minimum(np.log2(1.0 + counts), FARTHEST)


def _prompts(records: Records, factors: Floats) -> None:
    """As many times the prompts, in all, with the same share of each intent."""
    for name in _COUNTS:
        counts = (records[name].T * factors).T
        records[name] = np.minimum(np.round(counts), np.iinfo(np.uint32).max)


def _ask(records: Records, numbers: Floats, intent: int | None) -> None:
    """Further prompts with one of the intents, or with none."""
    for name in _COUNTS[:3]:
        records[name] += numbers.astype(np.uint32)
    level = records["level"][:, ELICITATION]
    for i in range(level.shape[1]):
        step = MATCH if i == intent else MISS
        level[:, i] = np.clip(level[:, i] + numbers * step / 2, 0.0, CAP / 2)
        if i == intent:
            records["matches"][:, i] += numbers.astype(np.uint32)


_ASKS = [partial(_ask, intent=i) for i in range(len(_WANTED))]
_ask_for_neither = partial(_ask, intent=None)


def _turns(records: Records, shares: Floats) -> None:
    records["followups"] = shares

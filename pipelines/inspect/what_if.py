"""Counterfactuals: the smallest changes to a key's record that would change its severity.

A detector sees only a record and the baseline, so it can be evaluated again on records that are
changed step by step. This works for any detector, without knowledge of how it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from monitor.config import Detection
from monitor.detectors.base import Detector, Floats
from monitor.records.baseline import Baseline
from monitor.records.profile import ELICITATION, MAX_LEVEL, REQUESTS, TOKENS, Profile, Records
from monitor.records.update import MATCH, MAX_NATS, MISS

_FACTORS = 2.0 ** (np.arange(1, 193) / 16)  # of volume, up to 4,096
_PROMPTS = np.arange(1.0, 101.0)
_SHARES = np.linspace(0.0, 1.0, 21)
_REQUESTED = {"reasoning": "the reasoning trace", "grading": "grades or preferences"}
_HIGHER = ("It would be info", "It would be a warning", "It would be critical")
_LOWER = ("There would be no alert", "It would be only info", "It would be only a warning")
_BILLION = 1e9
_COUNTS = ("requests", "prompts", "sketch_prompts", "matches")


class Change(NamedTuple):
    """A way in which a key could have behaved differently.

    Attributes:
        phrase: describes an amount of the change.
        amounts: the amounts to try, `(n,) float64`, the smallest change first.
        apply: changes n records in place, each by one amount.
    """

    phrase: Callable[[float], str]
    amounts: Floats
    apply: Callable[[Records, Floats], None]


def counterfactuals(
    detector: Detector, record: Records, baseline: Baseline, settings: Detection
) -> list[str]:
    """Sentences on what would have raised the key's severity, and what would have lowered it.

    Args:
        record: the record of one key, `(1,)`.
    """
    p = float(detector(Profile(record), baseline).p[0])
    thresholds = (settings.info, settings.warning, settings.critical)
    severity = sum(p <= threshold for threshold in thresholds)
    sentences = []
    if severity < len(thresholds):
        bound = thresholds[severity]
        ways = _ways(_more(record), detector, record, baseline, bound, rising=True)
        sentences += _sentence(f"{_HIGHER[severity]} (from {one_in(bound)})", ways)
    if severity:
        bound = thresholds[severity - 1]
        ways = _ways(_less(record), detector, record, baseline, bound, rising=False)
        sentences += _sentence(f"{_LOWER[severity - 1]} (above {one_in(bound)})", ways)
    return sentences


def one_in(p: float) -> str:
    """A probability in words."""
    times = 1.0 / max(p, 1e-300)
    if times >= _BILLION:
        return "under 1 in a billion"
    if times >= 1e6:
        return f"1 in {times / 1e6:,.3g} million"
    return f"1 in {times:,.0f}" if times >= 10 else f"1 in {times:.2g}"


def _sentence(outcome: str, ways: Iterator[str]) -> list[str]:
    alternatives = ", or ".join(ways)
    return [f"{outcome} with {alternatives}."] if alternatives else []


def _ways(
    changes: list[Change],
    detector: Detector,
    record: Records,
    baseline: Baseline,
    threshold: float,
    *,
    rising: bool,
) -> Iterator[str]:
    """Phrases for the changes that move a key's probability across a threshold."""
    for phrase, amounts, apply in changes:
        if not len(amounts):
            continue
        changed = np.repeat(record, len(amounts))
        apply(changed, amounts)
        across = (detector(Profile(changed), baseline).p <= threshold) == rising
        if across.any():
            yield phrase(float(amounts[across.argmax()]))


def _more(record: Records) -> list[Change]:
    turns = float(record["follow_ups"][0])
    return [
        Change(_volume_phrase, _FACTORS, _scale_volume),
        Change(_prompts_phrase(record), _FACTORS, _scale_prompts),
        *(
            Change(_further_phrase(f"that ask for {wanted}"), _PROMPTS, partial(_add, intent=i))
            for i, wanted in enumerate(_REQUESTED.values())
        ),
        Change(_turns_phrase, _SHARES[turns > _SHARES][::-1], _set_turns),
    ]


def _less(record: Records) -> list[Change]:
    turns = float(record["follow_ups"][0])
    neither = "that ask for neither reasoning nor grades"
    return [
        Change(_volume_phrase, 1.0 / _FACTORS, _scale_volume),
        Change(_prompts_phrase(record), 1.0 / _FACTORS, _scale_prompts),
        Change(_further_phrase(neither), _PROMPTS, partial(_add, intent=None)),
        Change(_turns_phrase, _SHARES[turns < _SHARES], _set_turns),
    ]


# Phrases


def _volume_phrase(factor: float) -> str:
    times = f"{factor:,.0f}" if factor >= 10 else f"{factor:.2g}"
    share = f"{100 * factor:.2g}% of" if factor < 1.0 else f"{times} times"
    return f"{share} the requests and tokens"


def _prompts_phrase(record: Records) -> Callable[[float], str]:
    prompts = int(record["sketch_prompts"][0])
    return lambda factor: f"{prompts * factor:,.0f} such prompts instead of {prompts:,}"


def _further_phrase(kind: str) -> Callable[[float], str]:
    return lambda number: f"{number:.0f} more prompt{'s' if number > 1 else ''} {kind}"


def _turns_phrase(share: float) -> str:
    return f"{share:.0%} follow-up turns"


# Changes


def _scale_volume(records: Records, factors: Floats) -> None:
    """Multiply requests and tokens in all windows."""
    which = slice(REQUESTS.start, TOKENS.stop)
    level = records["level"][:, which].astype(np.float64)
    counts = (np.exp2(level) - 1.0) * factors[:, None]
    records["level"][:, which] = np.minimum(np.log2(1.0 + counts), MAX_LEVEL)


def _scale_prompts(records: Records, factors: Floats) -> None:
    """Multiply the prompts, with the same share of each intent."""
    for name in _COUNTS:
        counts = (records[name].T * factors).T
        records[name] = np.minimum(np.round(counts), np.iinfo(np.uint32).max)


def _add(records: Records, numbers: Floats, intent: int | None) -> None:
    """Append prompts with one of the intents, or with none."""
    for name in _COUNTS[:3]:
        records[name] += numbers.astype(np.uint32)
    level = records["level"][:, ELICITATION]
    for i in range(level.shape[1]):
        step = MATCH if i == intent else MISS
        level[:, i] = np.clip(level[:, i] + numbers * step / 2, 0.0, MAX_NATS / 2)
        if i == intent:
            records["matches"][:, i] += numbers.astype(np.uint32)


def _set_turns(records: Records, shares: Floats) -> None:
    records["follow_ups"] = shares

"""Elicitation: a key that keeps asking for the reasoning trace, or for grades.

Distilling a reasoning model needs its reasoning, and training a reward model needs its judgements:
a distiller must ask for them, prompt after prompt. Ordinary users ask now and then. So no single
prompt decides; the share over the key's prompts does. Prompts are matched against a phrase lexicon
(`prompts/lexicon.py`). A cumulative sum of log-likelihood ratios, a share of 35% against 5%, rises
while the share is too high and falls back to zero while it is not. It is Page's test (E. S. Page,
Biometrika 41, 1954), valid however often it is evaluated: under the ordinary share, the probability
of reaching s within n prompts is at most n·exp(-s).

Requests that avoid the phrases are recognised by their similarity to lists of such requests, summed
as in `coverage.py`.

Some ordinary applications do nothing but grade. The baseline decides how common that is; both
probabilities must be small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from monitor.detectors.base import (
    ORDINARY_SHARE,
    Evidence,
    Finding,
    Floats,
    counted,
    first_seen,
    ordinary_shares,
)
from monitor.prompts.lexicon import INTENT_LISTS, INTENTS
from monitor.prompts.projection import LISTS
from monitor.records.baseline import Baseline
from monitor.records.profile import ELICITATION, LIKENESS, Profile

_WANTED = {"reasoning": "the reasoning trace", "grading": "grades or preferences"}


@dataclass(frozen=True, slots=True)
class Elicitation:
    """The share of prompts with an intent, by a sequential test and by the baseline."""

    name: ClassVar[str] = "elicitation"
    slot: ClassVar[int] = 1
    levels: ClassVar[Sequence[int]] = (
        *range(ELICITATION.start, ELICITATION.stop),
        *(LIKENESS[LISTS.index(kind)] for kind in INTENT_LISTS),
    )
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "prompts": Evidence("count"),
        **{f"{intent}_share": Evidence("share") for intent in INTENTS},
        **{
            f"{intent}_nats": Evidence("nats", level=ELICITATION.start + i)
            for i, intent in enumerate(INTENTS)
        },
        "like_cot": Evidence("deviations", "like reasoning"),
        "like_grader": Evidence("deviations", "like grading"),
        **ORDINARY_SHARE,
        "intent": Evidence("score", shown=False),
        "by_likeness": Evidence("score", shown=False),
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        level = keys.level[:, ELICITATION]
        prompts = np.maximum(keys["prompts"].astype(np.float64), 1.0)
        by_baseline = ordinary_shares(keys, baseline, self.levels)
        by_test = prompts[:, None] * np.exp(-2.0 * level)  # a level is half a nat
        p = by_baseline.copy()
        p[:, : len(INTENTS)] = np.maximum(p[:, : len(INTENTS)], np.minimum(by_test, 1.0))
        which = p.argmin(axis=1)
        each = np.arange(len(keys))

        def evidence() -> Mapping[str, Floats]:
            shares = keys["matches"] / prompts[:, None]
            lists = keys.lists.max(axis=2)
            return {
                "prompts": prompts,
                **{f"{name}_share": shares[:, i] for i, name in enumerate(INTENTS)},
                **{f"{name}_nats": 2.0 * level[:, i] for i, name in enumerate(INTENTS)},
                **{f"like_{kind}": lists[:, LISTS.index(kind)] for kind in INTENT_LISTS},
                "ordinary_share": by_baseline[each, which],
                "intent": (which % len(INTENTS)).astype(np.float64),
                "by_likeness": (which >= len(INTENTS)).astype(np.float64),
            }

        p_all = np.minimum(p[each, which] * len(self.levels), 1.0)
        return Finding(p_all, first_seen(keys), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The intent, and the share of prompts with it."""
        intent = INTENTS[int(evidence["intent"])]
        prompts = counted(evidence["prompts"], "prompt")
        if evidence["by_likeness"]:
            return f"{prompts} resemble data sets that ask for {_WANTED[intent]}"
        verb = "asks" if prompts == "1 prompt" else "ask"
        return f"{evidence[f'{intent}_share']:.0%} of {prompts} {verb} for {_WANTED[intent]}"

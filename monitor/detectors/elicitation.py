"""Elicitation: a key that keeps asking for the reasoning trace, or for grades.

Whoever distils a reasoning model needs its reasoning, and whoever trains a reward model needs its
judgements: they must ask, prompt after prompt. Ordinary people ask now and then. So the single
prompt decides nothing; the share over the key's stream does. Prompts are matched against a phrase
lexicon (`prompts/lexicon.py`), and a cumulative sum of log-likelihood ratios, a share of 35%
against 5%, rises while the share is too high and falls back to zero while it is not. It is
Page's test (E. S. Page, Biometrika 41, 1954), valid however often one looks: under the
ordinary share, the chance to see it at s within n prompts is at most n·exp(-s).

Requests that avoid the phrases are known by their likeness to lists of such requests, summed up as
in `coverage.py`.

Some ordinary applications do nothing but grade. The public knows how common that is; both
probabilities have to be small.

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Elicitation()(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.detectors.base import Finding
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import LISTS
from monitor.records.baseline import Baseline
from monitor.records.profile import ELICITATION, LIKENESS, Profile

_KINDS = ("cot", "grader")  # of LISTS, in the order of INTENTS
_INTENTS = len(INTENTS)
_LISTS = LIKENESS.start + np.array([LISTS.index(kind) for kind in _KINDS])
_TESTS = np.concatenate([np.arange(ELICITATION.start, ELICITATION.stop), _LISTS])


@dataclass(frozen=True, slots=True)
class Elicitation:
    """The share of prompts with an intent, by a sequential test, against the public."""

    name = "elicitation"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        level = keys.level[:, ELICITATION]
        prompts = np.maximum(keys["prompts"].astype(np.float64), 1.0)
        by_public = baseline.tail(_TESTS, keys.level[:, _TESTS])
        by_test = prompts[:, None] * np.exp(-2.0 * level)  # a level is half a nat
        p = by_public.copy()
        p[:, :_INTENTS] = np.maximum(p[:, :_INTENTS], np.minimum(by_test, 1.0))
        which = p.argmin(axis=1)
        each = np.arange(len(keys))
        shares = keys["matches"] / prompts[:, None]
        lists = keys.lists.max(axis=2)
        evidence = {
            "prompts": prompts,
            **{f"{name}_share": shares[:, i] for i, name in enumerate(INTENTS)},
            **{f"{name}_nats": 2.0 * level[:, i] for i, name in enumerate(INTENTS)},
            **{f"like_{kind}": lists[:, LISTS.index(kind)] for kind in _KINDS},
            "ordinary_share": by_public[each, which],
            "intent": (which % _INTENTS).astype(np.float64),
            "by_likeness": (which >= _INTENTS).astype(np.float64),
        }
        start = keys["first_seen"].astype(np.float64)
        return Finding(np.minimum(p[each, which] * len(_TESTS), 1.0), start, evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        intent = INTENTS[int(evidence["intent"])]
        wants = {"reasoning": "the reasoning trace", "grading": "grades or preferences"}[intent]
        if evidence["by_likeness"]:
            return f"{evidence['prompts']:,.0f} prompts are like lists that ask for {wants}"
        share = evidence[f"{intent}_share"]
        return f"{share:.0%} of {evidence['prompts']:,.0f} prompts ask for {wants}"

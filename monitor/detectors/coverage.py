"""Coverage: a key whose prompts are off a work list, or sweep as only a work list does.

Whoever copies a model works through a list that was made to cover a capability: instructions to
code, exam questions, samples of many tasks. Two things give it away, prompt by prompt and without
keeping one. The prompts look like such lists: for each known kind a likelihood ratio adds up over
the key's prompts (`prompts/projection.py`). And they are broad in a way of their own: in
coordinates in which the public has no preferred direction, the prompts of a chatbot's many users
have a self-similarity near 0, those of an application or of one person a high one, and a sweep lies
in between, whatever list it is off.

Lists that resemble what some applications send all day count only for keys that are broader than
applications are, and half for those whose requests come attended: persons are as broad by chance.
The public knows how far ordinary keys get with each of these in a day.

Source: the test of breadth is the unbiased MMD² of Gretton et al., JMLR 13 (2012), eq. 3, with the
linear kernel in whitened coordinates; mixtures of lists with ordinary prompts are what the
logarithm of 1 - ε + ε·LR is for.

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Coverage()(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.detectors.base import Finding
from monitor.prompts.projection import LISTS
from monitor.records.baseline import Baseline
from monitor.records.profile import BROAD, LIKENESS, Profile

_KINDS = ("code", "reasoning", "sweep")  # of LISTS; the others are elicitation
_FIRST = LIKENESS.start
_TESTS = np.array([*(_FIRST + LISTS.index(kind) for kind in _KINDS), BROAD])
_WORDS = {
    "code": "to write code to order",
    "reasoning": "to reason through questions",
    "sweep": "for samples of many tasks",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Likeness to work lists, and a breadth that only lists have.

    Attributes:
        least: prompts below which nothing is said.
    """

    least: int = 16
    name = "coverage"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        level = keys.level[:, _TESTS]
        by_public = baseline.tail(_TESTS, level)
        which = by_public.argmin(axis=1)
        share = by_public[np.arange(len(keys)), which]
        lists = keys.lists.max(axis=2)
        evidence = {
            "prompts": keys["sketched"].astype(np.float64),
            **{f"like_{kind}": lists[:, LISTS.index(kind)] for kind in _KINDS},
            "self_similarity": keys.content(0).self_similarity,
            "departure": keys.departure(0),
            "novelty": keys.novelty,
            "ordinary_share": share,
            "test": which.astype(np.float64),
        }
        p = np.where(keys["sketched"] >= self.least, np.minimum(share * len(_TESTS), 1.0), 1.0)
        return Finding(p, keys["first_seen"].astype(np.float64), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        test = int(evidence["test"])
        if test < len(_KINDS):
            what = f"are like lists that ask {_WORDS[_KINDS[test]]}"
        else:
            what = "sweep more than any application and less than the public"
        return f"{evidence['prompts']:,.0f} prompts {what}"

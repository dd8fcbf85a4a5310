"""Coverage: prompts that come from a distillation prompt list, or sweep many tasks as lists do.

A distiller works through a list that was made to cover a capability: coding instructions, exam
questions, samples of many tasks. Two statistics show it, without storing a prompt.
First, the prompts resemble such lists: for each known kind of list a likelihood ratio adds up over
the key's prompts (`prompts/projection.py`). Second, their breadth is unusual. In coordinates in
which ordinary prompts have no preferred direction, the prompts of a chatbot's many users have a
self-similarity near 0, those of one application or one person a high one. A sweep lies in between,
whatever its list.

Lists of what applications send all day count only for keys that are broader than applications, and
half for keys whose requests are attended, because users can be as broad by chance. The baseline
decides how far ordinary keys get with each statistic in a day.

Source: the test of breadth is the unbiased MMD² of Gretton et al., JMLR 13 (2012), eq. 3, with the
linear kernel in whitened coordinates. The likelihood ratio is log(1 - ε + ε·LR), for lists mixed
with ordinary prompts.
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
from monitor.prompts.projection import LISTS
from monitor.records.baseline import Baseline
from monitor.records.profile import BREADTH, LIKENESS, Profile

#: Of LISTS; the others are read by `elicitation.py`.
_LISTS = ("code", "reasoning", "sweep", "tools")
_RESEMBLE = {
    "code": "resemble code-generation data sets",
    "reasoning": "resemble exam and reasoning data sets",
    "sweep": "resemble samples of multi-task data sets",
    "tools": "resemble data sets of calls to listed tools",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Similarity to prompt lists, and a breadth that only lists have.

    Attributes:
        min_prompts: prompts below which nothing is reported.
    """

    min_prompts: int = 16
    name: ClassVar[str] = "coverage"
    slot: ClassVar[int] = 2
    levels: ClassVar[Sequence[int]] = (
        *(LIKENESS[LISTS.index(kind)] for kind in _LISTS),
        BREADTH,
    )
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "prompts": Evidence("count"),
        "like_code": Evidence("deviations", "like code lists"),
        "like_reasoning": Evidence("deviations", "like exams"),
        "like_sweep": Evidence("deviations", "like task mixes"),
        "like_tools": Evidence("deviations", "like tool calls"),
        "self_similarity": Evidence("score", "prompt similarity"),
        "departure": Evidence("deviations", "baseline distance"),
        "novelty": Evidence("share", "new kinds"),
        **ORDINARY_SHARE,
        "test": Evidence("score", shown=False),
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        shares = ordinary_shares(keys, baseline, self.levels)
        which = shares.argmin(axis=1)
        share = shares[np.arange(len(keys)), which]

        def evidence() -> Mapping[str, Floats]:
            lists = keys.lists.max(axis=2)
            return {
                "prompts": keys["sketch_prompts"].astype(np.float64),
                **{f"like_{kind}": lists[:, LISTS.index(kind)] for kind in _LISTS},
                "self_similarity": keys.content(0).self_similarity,
                "departure": keys.departure(0),
                "novelty": keys.novelty,
                "ordinary_share": share,
                "test": which.astype(np.float64),
            }

        enough = keys["sketch_prompts"] >= self.min_prompts
        p = np.where(enough, np.minimum(share * len(self.levels), 1.0), 1.0)
        return Finding(p, first_seen(keys), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The list that the prompts resemble most, or their breadth."""
        test = int(evidence["test"])
        prompts = counted(evidence["prompts"], "prompt")
        if test < len(_LISTS):
            return f"{prompts} {_RESEMBLE[_LISTS[test]]}"
        return f"{prompts} are as diverse as a data set sweep"

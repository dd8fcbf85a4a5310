"""Templates: many prompts from few templates, for tasks that have little in common.

A training set asks the same question of every document: a few templates, each filled in hundreds of
times. An application does that too, but for its one task. So the number of different prompts per
template counts only as far as the key is broader than any application (the self-similarity of its
content, see `coverage.py`). Users and chatbots rarely repeat a template.

Both numbers are HyperLogLog estimates. Prompts have the same template if they differ only in what
fills its slots (`prompts/template_hash.py`). The baseline decides how far ordinary keys get.

Test suites, catalogues and buttons in applications produce templates honestly, in numbers that
nobody can foresee. So this is one sign among others and never more than an info alert.
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
from monitor.records.baseline import Baseline
from monitor.records.profile import TEMPLATES, Profile


@dataclass(frozen=True, slots=True)
class Templates:
    """Prompts per template of a broad key, compared with ordinary keys.

    Attributes:
        min_prompts: prompts below which nothing is reported.
        floor: smallest probability reported.
    """

    min_prompts: int = 32
    floor: float = 1e-3
    name: ClassVar[str] = "templates"
    slot: ClassVar[int] = 5
    levels: ClassVar[Sequence[int]] = (TEMPLATES,)
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "different_prompts": Evidence("count"),
        "different_templates": Evidence("count"),
        "prompts_a_template": Evidence("score", "prompts per template"),
        "self_similarity": Evidence("score", "prompt similarity"),
        **ORDINARY_SHARE,
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        share = ordinary_shares(keys, baseline, self.levels)[:, 0]

        def evidence() -> Mapping[str, Floats]:
            prompts, templates = keys.distinct("prompts"), keys.distinct("templates")
            return {
                "different_prompts": prompts,
                "different_templates": templates,
                "prompts_a_template": prompts / np.maximum(templates, 1.0),
                "self_similarity": keys.content(0).self_similarity,
                "ordinary_share": share,
            }

        p = np.where(keys["sketch_prompts"] >= self.min_prompts, np.maximum(share, self.floor), 1.0)
        return Finding(p, first_seen(keys), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The numbers of prompts and templates."""
        prompts = counted(evidence["different_prompts"], "different prompt")
        templates = counted(evidence["different_templates"], "template")
        return f"about {prompts} from {templates} for unrelated tasks"

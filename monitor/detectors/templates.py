"""Templates: many slots swept through few templates, across tasks that have little in common.

A data set made for training asks the same question of every document: a few templates, each filled
in hundreds of times. An application does so too, but of its one task. So the number of different
prompts to a template counts in so far as the key is broader than any application (the
self-similarity of its content, see `coverage.py`). People and chatbots hardly repeat a template.

Both numbers are HyperLogLog estimates, and templates are told apart by what stays of a prompt when
its slots are filled anew (`prompts/template_hash.py`); the public knows how far ordinary keys get.

Test suites, catalogues and users who press the same button do so honestly, and there is no telling
how many come tomorrow. So it is a sign, which weighs with others, and never a case of its own.

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Templates()(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.detectors.base import Finding
from monitor.records.baseline import Baseline
from monitor.records.profile import TEMPLATES, Profile


@dataclass(frozen=True, slots=True)
class Templates:
    """Prompts to a template, of a broad key, against the public.

    Attributes:
        least: prompts below which nothing is said.
        floor: no probability is smaller.
    """

    least: int = 32
    floor: float = 1e-3
    name = "templates"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        level = keys.level[:, TEMPLATES]
        share = baseline.tail(slice(TEMPLATES, TEMPLATES + 1), level[:, None])[:, 0]
        prompts, templates = keys.distinct("prompts"), keys.distinct("templates")
        evidence = {
            "different_prompts": prompts,
            "different_templates": templates,
            "prompts_a_template": prompts / np.maximum(templates, 1.0),
            "self_similarity": keys.content(0).self_similarity,
            "ordinary_share": share,
        }
        p = np.where(keys["sketched"] >= self.least, np.maximum(share, self.floor), 1.0)
        return Finding(p, keys["first_seen"].astype(np.float64), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        return (
            f"about {evidence['different_prompts']:,.0f} different prompts fill "
            f"{evidence['different_templates']:,.0f} templates of unlike tasks"
        )

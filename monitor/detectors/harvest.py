"""Harvest: a key that works through independent tasks, each once, without following up.

Extraction needs answers to many tasks that have nothing to do with each other. Its prompts state
their tasks themselves, whatever is wrapped around them. An application states one task in its frame
and puts data into it; a person follows up on answers. So the key's own frame is taken out, and what
varies is judged: is it a task or data (`records/harvest/`)? Prompts with neither a frame nor a
system prompt must be tasks by themselves. Repeats and follow-ups count against it.

Only conversations that are known to begin count: where a gateway does not say whether a request
continues one, nothing is reported. The baseline decides how far ordinary keys get. A product that
answers single questions, or an evaluation with public exams, does honestly what is reported here.
So this detector alone never opens more than a warning.
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
from monitor.records.profile import HARVEST, Profile


@dataclass(frozen=True, slots=True)
class Harvest:
    """How surely a key works through tasks, compared with ordinary keys.

    Attributes:
        min_prompts: judged prompts below which nothing is reported.
        floor: smallest probability reported.
    """

    min_prompts: int = 24
    floor: float = 1e-5
    name: ClassVar[str] = "harvest"
    slot: ClassVar[int] = 8
    levels: ClassVar[Sequence[int]] = (HARVEST,)
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "judged_prompts": Evidence("count"),
        "task_nats": Evidence("nats", "tasks, log odds"),
        "unframed_share": Evidence("share", "without a frame"),
        "different_prompts": Evidence("count"),
        "follow_ups": Evidence("share"),
        **ORDINARY_SHARE,
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        share = ordinary_shares(keys, baseline, self.levels)[:, 0]
        judged = keys["task_prompts"].astype(np.float64)

        def evidence() -> Mapping[str, Floats]:
            return {
                "judged_prompts": judged,
                "task_nats": keys["tasks"].astype(np.float64),
                "unframed_share": keys["unframed"].astype(np.float64),
                "different_prompts": keys.distinct("prompts"),
                "follow_ups": keys["follow_ups"].astype(np.float64),
                "ordinary_share": share,
            }

        p = np.where(judged >= self.min_prompts, np.maximum(share, self.floor), 1.0)
        return Finding(p, first_seen(keys), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """What the prompts are, and how many differ."""
        prompts = f"about {counted(evidence['different_prompts'], 'different prompt')}"
        what = "are independent tasks" if evidence["task_nats"] > 0.0 else "stand by themselves"
        return f"{prompts} {what}, sent one after the other without follow-ups"

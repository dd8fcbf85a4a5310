"""Harvest: a key that works through independent tasks, each once, and follows up on no answer.

Four shares of a key's prompts say so, in any language: how surely what varies in them is a task
(`task_model.py`); whether there is neither a frame nor a system prompt, so that each prompt must
be a task by itself; how many repeat earlier ones, as the inputs of an application do; and how many
continue a conversation. The first two count for it, the others against it; log odds below 0 count
as 0. The weighted sum is the level. It counts in full from FULL_PROMPTS on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.records.profile import DISTINCT, HARVEST
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import decay

HALF_LIFE = 128.0  # prompts
FULL_PROMPTS = 48
_NEWEST = 1.0 - decay(HALF_LIFE)  # weight of the newest prompt
_MAX_PROMPTS = 65_535
_PROMPTS = DISTINCT.index("prompts")


@jit
def add(r: Any, odds: float, unframed: bool) -> None:
    """Add one prompt to a RECORD.

    Args:
        odds: log odds that what varies in it is a task, nats; NaN if it was not judged.
        unframed: whether it has neither a frame nor a system prompt.
    """
    if np.isnan(odds):
        return
    count = min(int(r["task_prompts"]) + 1, _MAX_PROMPTS)
    r["task_prompts"] = count
    weight = np.float32(max(1.0 / count, _NEWEST))
    r["tasks"] += (np.float32(odds) - r["tasks"]) * weight
    r["unframed"] += (np.float32(unframed) - r["unframed"]) * weight


@jit
def update_level(r: Any, weights: Any, levels: Any) -> None:
    """Compute the level of harvest.

    Args:
        r: RECORD.
        weights: `(1 + len(TRAITS),) float64`, see `task_model.py`.
        levels: `(LEVELS,) float64`, updated in place.
    """
    level = weights[0] + weights[1] * max(float(r["tasks"]), 0.0) + weights[2] * r["unframed"]
    level -= weights[4] * r["follow_ups"]
    if level > 0.0:
        different = hyperloglog.estimate_one(r["distinct"][_PROMPTS])
        repeats = 1.0 - different / max(float(r["sketch_prompts"]), 1.0)
        level -= weights[3] * max(repeats - hyperloglog.ERROR, 0.0)
    full = min(float(r["task_prompts"]) / FULL_PROMPTS, 1.0)
    levels[HARVEST] = max(level, 0.0) * full

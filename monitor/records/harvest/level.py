"""Harvest: a key that works through independent tasks, each once, and follows up on no answer.

Two traits of a key's prompts say so, in any language: how surely what varies in them is a task
(`task_model.py`), and how little of a frame there is. A prompt with neither a frame nor a system
prompt must be a task by itself. Data may look like tasks where a long frame states what to do with
them, as with the questions of an application's users; so then the first trait counts half. Three
traits speak against it: repeats of earlier prompts, as an application's inputs repeat; requests
that continue a conversation; and many end users. The weighted sum is the level. It counts in full
from FULL_PROMPTS prompts on, and at FULL_RATE. At SLOW_RATE it counts half: who takes a day for a
few hundred answers extracts little.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.records.profile import DISTINCT, HARVEST, REQUESTS, SCALES
from monitor.sketches import habits, hyperloglog
from monitor.sketches.kernel_mean import decay

HALF_LIFE = 128.0  # prompts
FULL_PROMPTS = 48
MANY_USERS = 16.0  # end users of an application
SLOW_RATE, FULL_RATE = 12.0, 48.0  # requests in the last hour
_NEWEST = 1.0 - decay(HALF_LIFE)  # weight of the newest prompt
_MAX_PROMPTS = 65_535
_SHARE_DECAY = decay(habits.HALF_LIFE)  # of `follow_ups`
_LAST_HOUR = REQUESTS.start + SCALES.index("1h")
_SLOW, _FAST = (float(np.log2(1.0 + rate)) for rate in (SLOW_RATE, FULL_RATE))
_SHORT = 0.25  # mean of `unframed` from which the frame is too short to state a task
_PROMPTS, _END_USERS = DISTINCT.index("prompts"), DISTINCT.index("end_users")


@jit
def add(r: Any, odds: float, unframed: float) -> None:
    """Add one prompt to a RECORD.

    Args:
        odds: log odds that what varies in it is a task, nats; NaN if it was not judged.
        unframed: how little of a frame it has, 0 to 1.
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
        levels: `(LEVELS,) float64`, with that of requests; updated in place.
    """
    unframed = float(r["unframed"])
    stated = 0.5 + 0.5 * min(unframed / _SHORT, 1.0)
    level = weights[0] + weights[1] * max(float(r["tasks"]), 0.0) * stated
    level += weights[2] * unframed * unframed
    seen = 1.0 - _SHARE_DECAY ** float(r["requests"])
    level -= weights[4] * r["follow_ups"] / max(seen, 1e-6)
    if level > 0.0:
        different = hyperloglog.estimate_one(r["distinct"][_PROMPTS])
        repeats = 1.0 - different / max(float(r["sketch_prompts"]), 1.0)
        level -= weights[3] * max(repeats - hyperloglog.ERROR, 0.0)
        users = hyperloglog.estimate_one(r["distinct"][_END_USERS])
        level -= weights[5] * min(users / MANY_USERS, 1.0)
    full = min(float(r["task_prompts"]) / FULL_PROMPTS, 1.0)
    fast = (levels[_LAST_HOUR] - _SLOW) / (_FAST - _SLOW)
    levels[HARVEST] = max(level, 0.0) * full * (0.5 + 0.5 * min(max(fast, 0.0), 1.0))

"""Content levels: what a key asks for, from the sketches in its record.

Three levels are computed: similarity to distillation prompt lists, a breadth that only sweeps have,
and the number of prompts per template.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.prompts.projection import CONTENT, LISTS, SCALE
from monitor.records.profile import (
    BREADTH,
    DISTINCT,
    HALF_LIVES,
    LIKENESS,
    LISTS_HALF_LIFE,
    TEMPLATES,
)
from monitor.sketches import hyperloglog, kernel_mean

# The sum of scores of a narrow key whose template slightly resembles a list grows with each prompt.
# So similarity counts only as far as the mean prompt resembles the list: not at all below the first
# value, in full above the second.
RAMPS = {
    "code": (6.0, 12.0),
    "reasoning": (4.0, 8.0),
    "cot": (8.0, 14.0),
    "grader": (12.0, 20.0),
    "tools": (16.0, 26.0),
}
_RAMP_START = tuple(RAMPS.get(name, (0.0, 0.0))[0] for name in LISTS)
_RAMP_END = tuple(RAMPS.get(name, (0.0, 0.0))[1] for name in LISTS)
# Pupils and their tutors send exam questions, too, but they follow up: similarity to exams counts
# only as far as requests are unattended.
_IS_EXAM = tuple(name == "reasoning" for name in LISTS)
# Sweeps consist of what applications send all day. Similarity to sweeps counts only as far as the
# key is broader than an application: in full below BROADER (self-similarity in content), not at all
# above NARROW.
_IS_SWEEP = tuple(name == "sweep" for name in LISTS)
BROADER, NARROW = 5.0, 8.5
# Self-similarity of a sweep over many tasks, between that of ordinary keys (0) and of applications;
# the level of breadth falls to 0 at half and at twice this value.
SWEEP = 3.8
FULL_BREADTH_PROMPTS = 32  # from this number of prompts on, breadth counts in full
MAX_BREADTH = 8.0
# People are sometimes as broad as a sweep by chance, but they follow up. So both signs of a sweep
# count half for attended keys, and in full from this many nats on (`behaviour.py`).
UNATTENDED = 4.0
MIN_TEMPLATE_PROMPTS = 32  # needed to count prompts per template
FULL_TEMPLATES = 32  # more templates than any application has; from there they count in full

_DECAY = kernel_mean.decay(HALF_LIVES[0])
_LISTS_DECAY = kernel_mean.decay(LISTS_HALF_LIFE)
_PROMPTS, _TEMPLATES = DISTINCT.index("prompts"), DISTINCT.index("templates")


@jit
def update_levels(r: Any, pooled: bool, levels: Any) -> None:
    """Compute the levels of similarity, breadth and templates.

    Args:
        r: RECORD.
        pooled: whether its prompts are of several keys that are used at the same time: those of
            a customer's applications and employees together are as broad as a sweep.
        levels: `(LEVELS,) float64`, updated in place.
    """
    similarity = _self_similarity(r)
    if pooled:
        similarity = 2.0 * NARROW
    broadness = min(max((NARROW - similarity) / (NARROW - BROADER), 0.0), 1.0)
    unattended = 0.5 + 0.5 * min(r["unattended"] / UNATTENDED, 1.0)
    prompts = r["sketch_prompts"]
    _update_likeness(r, levels, broadness * unattended, 2.0 * unattended - 1.0)

    octaves_off = abs(np.log2(max(similarity, 0.01) / SWEEP))
    full = min(prompts / FULL_BREADTH_PROMPTS, 1.0)
    levels[BREADTH] = MAX_BREADTH * max(1.0 - octaves_off, 0.0) * full * unattended

    if prompts >= MIN_TEMPLATE_PROMPTS:
        different = hyperloglog.estimate_one(r["distinct"][_PROMPTS])
        templates = max(hyperloglog.estimate_one(r["distinct"][_TEMPLATES]), 1.0)
        per_template = max(np.log2(different / templates), 0.0)
        full = min(np.log2(templates) / np.log2(FULL_TEMPLATES), 1.0)
        levels[TEMPLATES] = broadness * per_template * full


@jit
def _self_similarity(r: Any) -> float:
    """Self-similarity of a record's content, of the first half-life."""
    prompts = r["sketch_prompts"]
    weight = (1.0 - _DECAY**prompts) / (1.0 - _DECAY)
    squares = (1.0 - _DECAY ** (2 * prompts)) / (1.0 - _DECAY * _DECAY)
    length = 0.0
    for i in range(CONTENT):
        part = float(r["content"][0, i]) * (weight / (SCALE * kernel_mean.STEPS))
        length += part * part
    return float((length - CONTENT * squares) / max(weight * weight - squares, 1.0))


@jit
def _update_likeness(r: Any, levels: Any, sweep_share: float, exam_share: float) -> None:
    """Write the levels of LIKENESS; the shares in [0, 1] are how far sweeps and exams count."""
    prompts = r["sketch_prompts"]
    deviation = np.sqrt((1.0 - _LISTS_DECAY ** (2 * prompts)) / (1.0 - _LISTS_DECAY * _LISTS_DECAY))
    weight = (1.0 - _LISTS_DECAY**prompts) / (1.0 - _LISTS_DECAY)
    for i in range(len(_IS_SWEEP)):
        score = float(max(r["lists"][i, 0], r["lists"][i, 1], np.float32(0.0)))
        if score == 0.0:
            levels[LIKENESS[i]] = 0.0
            continue
        if _IS_SWEEP[i]:
            share = sweep_share
        else:
            ramp = _RAMP_END[i] - _RAMP_START[i]
            share = min(max((score / weight - _RAMP_START[i]) / ramp, 0.0), 1.0)
            if _IS_EXAM[i]:
                share *= exam_share
        levels[LIKENESS[i]] = np.log2(1.0 + score / deviation) * share

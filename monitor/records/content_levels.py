"""Asked: the levels of what a key asks for, from the sketches in its record.

How like work lists its prompts are, whether they are as broad as only a sweep is, and how many
slots it has filled to a template.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.prompts.projection import CONTENT, LISTS, SCALE
from monitor.records.profile import BROAD, DISTINCT, LIKENESS, TEMPLATES
from monitor.sketches import hyperloglog, kernel_mean

# A narrow key whose template sounds a little like a list gets ever surer to, with each prompt, and
# no more like it. So likeness counts in so far as the mean prompt is like a list: none of it below
# the first value, all above the second.
_LIKE = {"code": (4.0, 10.0), "reasoning": (1.0, 3.0), "cot": (20.0, 40.0), "grader": (10.0, 25.0)}
_FROM = tuple(_LIKE.get(name, (0.0, 0.0))[0] for name in LISTS)
_FULLY = tuple(_LIKE.get(name, (0.0, 0.0))[1] for name in LISTS)
# Sweeps are made of what applications send all day. Likeness to them counts in so far as the key
# is broader than an application: all of it below the first value of its self-similarity in
# content, none above the second.
_BY_BREADTH = tuple(name == "sweep" for name in LISTS)
BROADER, NARROW = 5.0, 8.5
# The self-similarity of a sweep over many tasks, between that of the public (0) and that of an
# application; the level of breadth falls to 0 at half and at twice of it.
SWEEP, SURE = 3.8, 32  # and prompts after which it counts in full
MOST_BROAD = 8.0
# A person is now and then as broad as a sweep by chance, but asks back. So both signs of a sweep
# count half unless the requests come unattended (`behaviour.py`); nats from which on they do.
UNATTENDED = 4.0
SWEPT = 32  # prompts of which it can be said how many templates they share
UNLIKE = 32  # templates that no application has, and from which on they count in full

_DECAY, _LISTED = (
    kernel_mean.decay(kernel_mean.HALF_LIVES[0]),
    kernel_mean.decay(kernel_mean.LISTED),
)
_LIKENESS = LIKENESS.start
_PROMPTS, _TEMPLATES = DISTINCT.index("prompts"), DISTINCT.index("templates")


@jit
def levels(r: Any, now: Any) -> None:
    """Write the levels of likeness, of breadth and of swept slots of a record into
    `(LEVELS,) float64`."""
    prompts = r["sketched"]
    each = _DECAY
    weight = (1.0 - each**prompts) / (1.0 - each)
    squares = (1.0 - each ** (2 * prompts)) / (1.0 - each * each)
    length = 0.0
    for i in range(CONTENT):
        part = float(r["content"][0, i]) * (weight / (SCALE * kernel_mean.STEPS))
        length += part * part
    alike = (length - CONTENT * squares) / max(weight * weight - squares, 1.0)
    alone = 0.5 + 0.5 * min(r["unattended"] / UNATTENDED, 1.0)
    counts = min(max((NARROW - alike) / (NARROW - BROADER), 0.0), 1.0)

    scale = np.sqrt((1.0 - _LISTED ** (2 * prompts)) / (1.0 - _LISTED * _LISTED))
    every = (1.0 - _LISTED**prompts) / (1.0 - _LISTED)
    for i in range(len(_BY_BREADTH)):
        score = float(max(r["lists"][i, 0], r["lists"][i, 1], np.float32(0.0)))
        if _BY_BREADTH[i]:
            share = counts * alone
        else:
            share = min(max((score / every - _FROM[i]) / (_FULLY[i] - _FROM[i]), 0.0), 1.0)
        now[_LIKENESS + i] = np.log2(1.0 + score / scale) * share
    off = abs(np.log2(max(alike, 0.01) / SWEEP))
    now[BROAD] = MOST_BROAD * max(1.0 - off, 0.0) * min(prompts / SURE, 1.0) * alone
    if prompts >= SWEPT:
        templates = max(hyperloglog.roughly(r["distinct"][_TEMPLATES]), 1.0)
        slots = max(np.log2(hyperloglog.roughly(r["distinct"][_PROMPTS]) / templates), 0.0)
        now[TEMPLATES] = counts * slots * min(np.log2(templates) / np.log2(UNLIKE), 1.0)

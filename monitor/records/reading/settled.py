"""Settled keys: applications with one narrow work for days. Fewer of their prompts are read.

A key is settled if it is PAST_DAYS old, had PAST_HOURS active hours and PROMPTS prompts, names no
end users, has no alert above info, and the last CLEAN prompts that were read were ordinary for it.
Then a prompt is read with the probability XM_READ_SHARE, decided by a keyed hash of its new text.
So the client cannot know which ones are read, and the statistics of prompts remain unbiased, those
of repeats, too: all repeats of a text are read, or none.

The first sign of something else ends it, and prompts are read in full until CLEAN of them in a row
are ordinary again. Some signs need no prompt: a new model, network, client or system prompt, an
end user, an hour of the day without earlier requests, and a higher rate than usual. The others are
seen in a prompt that is read: it resembles a list of distillation prompts, asks for reasoning or
grades, or is unlike the key's work. Work is narrow if the prompts are as similar to each other as
those of an application. Then what is taken from elsewhere is unlike it at once: of extraction
prompts, 60% to 95% are less than LIKE as similar to the mean prompt as its own prompts are, but
fewer than 1% of most applications' own.

Everything that needs no prompt is counted exactly: requests, tokens, hours, origins, models, and
what varies in prompts (`harvest/`).

Below, `r` is one RECORD, updated in place, and `e` is the index of a request in `Requests` and
`Features`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import mix
from monitor.kernels.jit import jit
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import CONTENT, LISTS, SCALE, SHARES
from monitor.records.admission import READ
from monitor.records.content_levels import NARROW, RAMPS
from monitor.records.origins import is_usual
from monitor.records.profile import DAY, DISTINCT, HOUR, OWN, PAST_DAYS, PAST_HOURS, USERS
from monitor.requests.marks import HAS_PROMPT, INTENT
from monitor.sketches import habits, hyperloglog, kernel_mean

PROMPTS = 2000  # in the sketches of a settled key
CLEAN = 128  # ordinary prompts in a row, of those that are read
LIKE = 0.25  # similarity to the mean prompt, relative to that of the key's prompts on average
_HIGHER = 1.0  # least rise of volume over the key's usual hourly peak, octaves
_DEVIATIONS = 2.0  # or as many standard deviations of these peaks, if that is more

_INTENTS = INTENT * ((1 << len(INTENTS)) - 1)
_OLDER = 1  # index in `content` of the longer half-life
_SYSTEMS = DISTINCT.index("systems")
_SYSTEM = _SYSTEMS - DISTINCT.index("addresses")  # column in `Requests.metadata`
_COLUMNS = tuple(
    LISTS.index(name) * len(SHARES) + share for name in RAMPS for share in range(len(SHARES))
)
_RESEMBLES = tuple(start for start, _ in RAMPS.values() for _ in range(len(SHARES)))


@jit
def choose(
    records: Any,
    rows: Any,
    admitted: Any,
    marks: Any,
    parts: Any,
    judged: Any,
    seed: Any,
    share: float,
    chosen: Any,
    extracted: Any,
) -> int:
    """Draw which of n prompts are read whatever the key is, and which must be extracted.

    Args:
        records: `(capacity,) RECORD`, the table, before the requests.
        rows: `(n,) int64`, the record of each request.
        admitted, marks, judged: as `admission.py` returns them.
        parts: the requests' `Parts`.
        seed: uint64, secret.
        share: of the prompts of settled keys that are read.
        chosen: `(n,) bool`, receives whether each prompt is read even if its key is settled.
        extracted: `(n,) bool`, receives whether its key is not settled now, or it is chosen.

    Returns:
        Number of prompts that are not extracted.
    """
    left = 0
    for e in range(len(rows)):
        chosen[e] = extracted[e] = True
        if admitted[e] != READ or not marks[e] & HAS_PROMPT:
            continue
        text = seed
        for p in range(parts.ranges[e, 0], parts.ranges[e, 1]):
            if judged[p]:
                text = mix(text ^ parts.hashes[p])
        chosen[e] = float(mix(text) >> np.uint64(11)) * 2.0**-53 < share
        extracted[e] = chosen[e] or not is_settled(records[rows[e]])
        left += not extracted[e]
    return left


@jit
def is_settled(r: Any) -> bool:
    """Whether few of a key's prompts need to be read."""
    if r["clean"] < CLEAN or r["sketch_prompts"] < PROMPTS or r["flagged"]:
        return False
    for i in range(USERS):
        if r["user_names"][i]:
            return False
    age = r["last_seen"] - r["first_seen"]
    return bool(age >= PAST_DAYS * DAY and r["own_hours"] >= PAST_HOURS)


@jit
def note_request(r: Any, e: int, t: float, user: int, requests: Any) -> None:
    """End the settled state of a key if a request shows something new, before it is counted.

    Args:
        t: event time, epoch seconds.
        user: uint32, hash of the end user, 0 without one.
    """
    model, system = requests.models[e], requests.metadata[e, _SYSTEM]
    new = user != 0 or r["rhythm"][int(t // HOUR) % habits.HOURS] == 0
    if model != 0:
        known = False
        for i in range(habits.MODELS):
            known |= r["model_names"][i] == model
        new |= not known
    new |= not is_usual(r["networks"], requests.origins[e, 0])
    new |= not is_usual(r["clients"], requests.origins[e, 1])
    if system != 0:
        new |= not hyperloglog.may_have(r["distinct"][_SYSTEMS], mix(system))
    if new or _is_higher(r):
        r["clean"] = 0


@jit
def _is_higher(r: Any) -> bool:
    """Whether requests or tokens in any window exceed the key's usual hourly peaks."""
    for i in range(OWN):
        deviation = np.sqrt(r["own_variance"][i])
        if r["level"][i] > r["own_mean"][i] + max(_HIGHER, _DEVIATIONS * deviation):
            return True
    return False


@jit
def note_prompt(r: Any, e: int, mark: int, features: Any) -> None:
    """Count a prompt that was read, or start the count again if it is not ordinary for the key.

    Args:
        mark: bits of `requests/marks.py`.
    """
    if r["sketch_prompts"] < PROMPTS - CLEAN:
        return
    ordinary = mark & _INTENTS == 0 and _is_like_earlier(r, features.content[e])
    for i in range(len(_COLUMNS)):
        ordinary &= features.lists[e, _COLUMNS[i]] < _RESEMBLES[i]
    r["clean"] = min(r["clean"] + 1, CLEAN) if ordinary else 0


@jit
def _is_like_earlier(r: Any, content: Any) -> bool:
    """Whether the key's work is narrow, and a prompt is like it.

    Args:
        content: `(CONTENT,) int8`, the prompt's features.
    """
    mean = r["content"][_OLDER]
    dot, length = 0.0, 0.0
    for i in range(CONTENT):
        part = float(mean[i]) / (SCALE * kernel_mean.STEPS)
        dot += part * float(content[i]) / SCALE
        length += part * part
    return bool(length >= NARROW and dot >= LIKE * length)

"""The kernel that carries a batch of requests into the records of their keys.

One pass in stream order. A record after it depends on the key's own requests and their order
alone, never on where batches begin or end: the same stream gives the same bytes live, in replay
and after a crash. For the same reason detectors do not look once a batch. They look when a key
has made enough further requests to tell something new, and see the record as it was then: the
kernel copies it aside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import mix
from monitor.kernels.jit import jit
from monitor.prompts.extractor import Features
from monitor.records import behaviour, content_levels
from monitor.records.admission import READ, REPEATED, admit, bits
from monitor.records.baseline import BINS, PER_LEVEL
from monitor.records.baseline_mean import GROUPS, TAUGHT, Sums
from monitor.records.profile import (
    AUTOMATION,
    DISTINCT,
    ELICITATION,
    FARTHEST,
    HOUR,
    LEVELS,
    LONG,
    MIDDLE,
    MOST_IN_PANE,
    OWN,
    PIVOT,
    RECORD,
    SHORT,
)
from monitor.requests.marks import FOLLOW_UP, HAS_PROMPT, INTENT
from monitor.sketches import good_turing, habits, hyperloglog, kernel_mean, minhash

FIRST_LOOK = 8  # requests of a key before anything is said of it
LOOK_EVERY = 4  # requests between two looks, at the least
LOOK_SHARE = 16  # and a sixteenth of the last hour's, so that a fast key costs no more
# Requests until a key's fingerprint is sent again: a share of all, but not fewer nor more than
TOLD_SHARE, TOLD_LEAST, TOLD_MOST = 8, 8, 64

# The sequential test of elicitation: share of matching prompts of an ordinary key at the most,
# and the share under which a campaign could hide and still make sense.
ORDINARY_SHARE, ELICITING_SHARE = 0.05, 0.35
MATCH = float(np.log(ELICITING_SHARE / ORDINARY_SHARE))
MISS = float(np.log((1 - ELICITING_SHARE) / (1 - ORDINARY_SHARE)))
CAP = 40.0  # nats: what a key has shown beyond this would only take longer to forget

OWN_HOURS = 168.0  # active hours after which older ones fade

SHORT_WIDTH, SHORT_PANES = SHORT
MINUTE_PANES = 60 // SHORT_WIDTH
MIDDLE_WIDTH, MIDDLE_PANES = MIDDLE
LONG_WIDTH, LONG_PANES = LONG


_SENT = DISTINCT.index("addresses")  # the first kind that is counted as it was sent
_FADING = 0.5 ** (1.0 / habits.LATELY)
_LISTED = kernel_mean.decay(kernel_mean.LISTED)

_ELICITATION = ELICITATION.start
_DECAYS = tuple(kernel_mean.decay(half_life) for half_life in kernel_mean.HALF_LIVES)


class Requests(NamedTuple):
    """What the kernels want of n requests: `(n,)` each, but for `sent`.

    Attributes:
        ts: float64, epoch seconds.
        tokens: float64, of input and output.
        ids: uint32, hashes of the request ids, 0 without one.
        marks: uint8, bits HAS_PROMPT and INTENT, and those of `conduct`.
        models: uint32, hashes of the models' names, 0 without one.
        sent: `(n, 4) uint64`, hashes of the address, end user, user agent and system prompt, 0
            without one.
    """

    ts: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.float64]
    ids: npt.NDArray[np.uint32]
    marks: npt.NDArray[np.uint8]
    models: npt.NDArray[np.uint32]
    sent: npt.NDArray[np.uint64]


class Today(NamedTuple):
    """What a partition's public learns and knows on one day.

    Attributes:
        day: of the partition's watermark, in days since the epoch.
        peaks: `(LEVELS, BINS) float64`, keys by their peak of the day, updated in place.
        ceiling: `(LEVELS,) float64`, levels that hardly any ordinary key passes.
        model: the tag of the content model.
        vectors, prompts: `Sums` of the day, updated in place.
    """

    day: int
    peaks: npt.NDArray[np.float64]
    ceiling: npt.NDArray[np.float64]
    model: int
    vectors: npt.NDArray[np.float64]
    prompts: npt.NDArray[np.float64]


@jit
def _turn(head: int, pane: int, requests: Any, tokens: Any) -> int:
    """Clear the panes between `head` and `pane`; the newer of the two is the new head."""
    if pane <= head:
        return head
    panes = len(requests)
    for p in range(max(head + 1, pane - panes + 1), pane + 1):
        requests[p % panes] = 0
        tokens[p % panes] = 0
    return pane


@jit
def _bin(level: float) -> int:
    return min(int(level * PER_LEVEL), BINS - 1)


@jit
def _close_hour(own_hours: float, mean: Any, variance: Any, peak: Any, ceiling: Any) -> float:
    """Fold an hour's peaks into what is usual for the key; a peak counts up to `ceiling` only,
    or a key could make itself a past in which nothing is unusual."""
    weight = min(own_hours + 1.0, OWN_HOURS)
    for i in range(OWN):
        x = min(peak[i], ceiling[i])
        delta = x - mean[i]
        mean[i] += delta / weight
        variance[i] += (delta * (x - mean[i]) - variance[i]) / weight
        peak[i] = 0.0
    return weight


@jit
def _sketch(r: Any, e: int, features: Any, today: Any) -> None:
    """Take prompt e into the sketches of a record, and into the public's."""
    if r["model"] != today.model:
        r["model"] = today.model
        r["sketched"] = 0
        r["lists"][:] = 0
        r["novelty"][:] = 0
    before = r["sketched"]
    r["sketched"] = before + 1
    seed = mix(features.prompt[e] ^ np.uint64(before))
    for i in range(len(_DECAYS)):
        rate = kernel_mean.rate(before + 1, _DECAYS[i])
        kernel_mean.fold(r["meaning"][i], features.meaning[e], rate, seed + np.uint64(2 * i))
        kernel_mean.fold(r["content"][i], features.content[e], rate, seed + np.uint64(4 + i))
    rate = kernel_mean.rate(before + 1, _DECAYS[0])
    kernel_mean.fold(r["words"], features.words[e], rate, seed + np.uint64(1))
    lists = r["lists"]
    for i in range(lists.shape[0]):
        for j in range(lists.shape[1]):
            told = features.lists[e, i * lists.shape[1] + j]
            lists[i, j] = np.float32(lists[i, j] * _LISTED + told)

    cell = mix(np.uint64(features.cell[e]) + np.uint64(0x9E3779B97F4A7C15))
    hyperloglog.note(r["distinct"][0], mix(features.prompt[e]))
    hyperloglog.note(r["distinct"][1], cell)
    hyperloglog.note(r["distinct"][2], mix(features.template[e]))
    good_turing.note(r["novelty"], before, cell)
    minhash.note(r["templates"], features.template[e])

    if r["taught"] < TAUGHT and not r["accused"]:
        r["taught"] += 1
        group = r["group"]
        vectors = today.vectors[group]
        width = features.meaning.shape[1]
        for i in range(width):
            vectors[i] += features.meaning[e, i]
        for i in range(features.words.shape[1]):
            vectors[width + i] += features.words[e, i]
        today.prompts[group, 0] += 1.0
        today.prompts[group, 1] += 1.0


@jit
def update(
    records: Any,
    rows: Any,
    found: Any,
    requests: Any,
    features: Any,
    today: Any,
    start: int,
    end: int,
    looks: Any,
    look_at: Any,
) -> int:
    """Observe the requests `start` to `end` of n, in stream order.

    Args:
        records: the table, `(capacity,) RECORD`, updated in place.
        rows: `(n,) int64`, which record each request belongs to.
        found: `(n,) uint8`, what `admit` found each to be.
        requests: the `Requests`.
        features: the `Features` of their prompts, of those that are to be read.
        today: the partition's `Today`.
        looks: `(end - start,) RECORD`, takes the records that detectors should look at, as they
            were.
        look_at: `(end - start,) int64`, takes the request that brought each look about.

    Returns:
        how many looks there are.
    """
    n_looks = 0
    now = np.empty(LEVELS, np.float64)
    for e in range(start, end):
        if found[e] == REPEATED:
            continue
        r = records[rows[e]]
        t = requests.ts[e]
        tokens = requests.tokens[e]
        mark = requests.marks[e]

        if r["requests"] == 0:
            r["first_seen"] = t
            r["day"] = -1
            r["hour"] = int(t // HOUR)
            r["group"] = mix(bits(t)) % np.uint64(GROUPS)
        r["requests"] += 1
        r["tokens"] += tokens
        behaviour.note(r, t, r["last_seen"], mark)
        r["last_seen"] = max(r["last_seen"], t)
        fresh = today.day > r["day"]
        if fresh:
            r["day"] = today.day
            r["taught"] = 0

        # Panes. A late request counts where its pane is still there.
        short = int(t // SHORT_WIDTH)
        middle = int(t // MIDDLE_WIDTH)
        long = int(t // LONG_WIDTH)
        short_requests, short_tokens = r["short_requests"], r["short_tokens"]
        middle_requests, middle_tokens = r["middle_requests"], r["middle_tokens"]
        long_requests, long_tokens = r["long_requests"], r["long_tokens"]
        r["short_head"] = _turn(r["short_head"], short, short_requests, short_tokens)
        r["middle_head"] = _turn(r["middle_head"], middle, middle_requests, middle_tokens)
        r["long_head"] = _turn(r["long_head"], long, long_requests, long_tokens)
        if short > r["short_head"] - SHORT_PANES:
            slot = short % SHORT_PANES
            short_requests[slot] = min(short_requests[slot] + 1, MOST_IN_PANE)
            short_tokens[slot] += tokens
        if middle > r["middle_head"] - MIDDLE_PANES:
            middle_requests[middle % MIDDLE_PANES] += 1
            middle_tokens[middle % MIDDLE_PANES] += tokens
        if long > r["long_head"] - LONG_PANES:
            long_requests[long % LONG_PANES] += 1
            long_tokens[long % LONG_PANES] += tokens

        # Levels of requests and tokens over the four scales.
        now[:] = 0.0
        for p in range(SHORT_PANES):
            slot = (r["short_head"] - p) % SHORT_PANES
            if p < MINUTE_PANES:
                now[0] += short_requests[slot]
                now[4] += short_tokens[slot]
            now[1] += short_requests[slot]
            now[5] += short_tokens[slot]
        for p in range(MIDDLE_PANES):
            now[2] += middle_requests[p]
            now[6] += middle_tokens[p]
        for p in range(LONG_PANES):
            now[3] += long_requests[p]
            now[7] += long_tokens[p]
        last_hour = now[2]
        for i in range(8):
            now[i] = np.log2(1.0 + now[i])

        # The sequential tests of elicitation: Page's cumulative sum of log-likelihood ratios.
        read = mark & HAS_PROMPT and found[e] == READ
        for i in range(_ELICITATION, LEVELS):
            now[i] = r["level"][i]
        for i in range(2):
            if read:
                if mark & (INTENT << i):
                    r["matches"][i] += 1
                    step = MATCH
                else:
                    step = MISS
                level = now[_ELICITATION + i] + step / 2
                now[_ELICITATION + i] = min(max(level, 0.0), CAP / 2)
        if read:
            r["prompts"] += 1
            if features.words[e].any():
                _sketch(r, e, features, today)
                content_levels.levels(r, now)

        # How it was asked.
        for i in range(requests.sent.shape[1]):
            if requests.sent[e, i] != 0:
                hyperloglog.note(r["distinct"][_SENT + i], mix(requests.sent[e, i]))
        model = requests.models[e]
        new = habits.note_model(r["model_names"], r["model_counts"], model)
        behaviour.arrive(r, t, model, new)
        now[PIVOT] = behaviour.pivot(r, t)
        now[AUTOMATION] = behaviour.automation(r, t)
        habits.note_hour(r["rhythm"], int(t // HOUR) % habits.HOURS)
        r["followups"] *= _FADING
        if mark & FOLLOW_UP:
            r["followups"] += 1.0 - _FADING

        # Peaks: of the hour for the key's own past, of the day for the public.
        hour = int(t // HOUR)
        if hour > r["hour"]:
            r["own_hours"] = _close_hour(
                r["own_hours"], r["own_mean"], r["own_variance"], r["hour_peak"], today.ceiling
            )
            r["hour"] = hour
        for i in range(LEVELS):
            level = min(now[i], FARTHEST)
            r["level"][i] = level
            if i < OWN:
                r["hour_peak"][i] = max(r["hour_peak"][i], level)
            if fresh:
                r["day_peak"][i] = level
                today.peaks[i, _bin(level)] += 1.0
            elif level > r["day_peak"][i]:
                today.peaks[i, _bin(r["day_peak"][i])] -= 1.0
                today.peaks[i, _bin(level)] += 1.0
                r["day_peak"][i] = level

        since = r["requests"] - r["looked"]
        if r["requests"] >= FIRST_LOOK and since >= max(LOOK_EVERY, last_hour / LOOK_SHARE):
            r["looked"] = r["requests"]
            if np.uint16(r["requests"] - r["told"]) >= max(
                TOLD_LEAST, min(r["requests"] / TOLD_SHARE, TOLD_MOST), last_hour / LOOK_SHARE
            ):
                r["told"] = np.uint16(r["requests"])
            looks[n_looks] = records[rows[e]]
            look_at[n_looks] = e
            n_looks += 1
    return n_looks


def warm(features: Features) -> None:
    """Have the kernels compiled, or loaded if they were before, ahead of the first batch.

    Args:
        features: of no prompts.
    """
    records, rows = np.zeros(0, RECORD), np.zeros(0, np.int64)
    found = np.zeros(0, np.uint8)
    requests = none()
    day = Today(0, np.zeros((LEVELS, BINS)), np.zeros(LEVELS), 0, *Sums.none())
    admit(records, rows, requests.ts, requests.ids, found)
    update(records, rows, found, requests, features, day, 0, 0, records, rows)


def none() -> Requests:
    """No requests."""
    nothing = np.zeros(0)
    return Requests(
        nothing,
        nothing,
        nothing.astype(np.uint32),
        nothing.astype(np.uint8),
        nothing.astype(np.uint32),
        np.zeros((0, 4), np.uint64),
    )

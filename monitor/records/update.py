"""The kernel that adds a batch of requests to records.

A request counts in the record of its key, and it may count in those of its account and of its end
user. One pass in stream order. A record depends on its own requests and their order alone, never on
where batches begin or end: the same stream gives the same bytes live, in replay and after a crash.
For the same reason detectors do not run once per batch. An evaluation is due when there are
enough further requests to show something new. It sees the record as it was then, so the kernel
copies the record aside.

Below, `r` is one RECORD, updated in place; `t` is event time in epoch seconds; `e` is the index of
a request; `requests`, `features`, `today` are `Requests`, `Features` (`(n, …)` each) and `Today`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import mix
from monitor.kernels.jit import jit
from monitor.kernels.prefetch import prefetch
from monitor.prompts.cleaning.judged_text import judged_texts
from monitor.prompts.extractor import Features
from monitor.prompts.projection import SCALE
from monitor.prompts.style import STYLE
from monitor.records import baseline, behaviour, content_levels, end_users, origins, volume
from monitor.records.admission import JOINED, READ, UNREAD, admit, time_bits
from monitor.records.baseline_mean import GROUPS, PROMPTS_PER_DAY, Sums
from monitor.records.harvest import level as harvest
from monitor.records.harvest.task_model import TRAITS
from monitor.records.inputs import (
    ACCOUNT,
    ACCOUNT_KEYS,
    END_USER,
    KEY,
    Entries,
    Requests,
    Today,
)
from monitor.records.profile import (
    AUTOMATION,
    BINS,
    DISTINCT,
    ELICITATION,
    HALF_LIVES,
    HOUR,
    LEVELS,
    LISTS_HALF_LIFE,
    OWN,
    PIVOT,
    RECORD,
    TAKEOVER,
)
from monitor.records.reading import settled
from monitor.requests.marks import FOLLOW_UP, HAS_PROMPT, INTENT, TINY_TURN, UNEXPLAINED
from monitor.requests.parts import Parts
from monitor.requests.turns import USER, Part
from monitor.sketches import good_turing, habits, hyperloglog, kernel_mean

# Requests before the first evaluation, and between two: at least EVALUATE_MIN, and this share of
# the last hour's requests, so that fast keys cost no more.
FIRST_EVALUATION, EVALUATE_MIN, EVALUATE_SHARE = 8, 4, 1 / 16
# Requests between two fingerprints: a share of all requests of the key, within these bounds.
PUBLISH_SHARE, PUBLISH_MIN, PUBLISH_MAX = 1 / 8, 8, 64

# The sequential test of elicitation: the largest share of matching prompts of an ordinary key, and
# the smallest share that is still useful to a distiller.
_ORDINARY_MATCHES, _ELICITING_MATCHES = 0.05, 0.35
MATCH = float(np.log(_ELICITING_MATCHES / _ORDINARY_MATCHES))
MISS = float(np.log((1 - _ELICITING_MATCHES) / (1 - _ORDINARY_MATCHES)))
MAX_NATS = 40.0  # nats; more would only take longer to decay

_AHEAD = 4  # entries after which a record is needed that is fetched into the cache

OWN_HOURS = 168.0  # active hours after which older ones fade

_ELICITATION, _INTENTS = ELICITATION.start, ELICITATION.stop - ELICITATION.start
_PROMPTS, _CELLS, _TEMPLATES = (DISTINCT.index(kind) for kind in ("prompts", "cells", "templates"))
_METADATA = DISTINCT.index("addresses")  # the first kind of DISTINCT that is request metadata
_WORD_LENGTH, _DIGITS = STYLE.index("word length"), STYLE.index("digits")
_SHARE_DECAY = 0.5 ** (1.0 / habits.HALF_LIFE)
_LISTS_DECAY = kernel_mean.decay(LISTS_HALF_LIFE)
_DECAYS = tuple(kernel_mean.decay(half_life) for half_life in HALF_LIVES)


@jit
def update(
    records: Any,
    entries: Any,
    requests: Any,
    features: Any,
    today: Any,
    start: int,
    end: int,
    evaluations: Any,
    evaluated_at: Any,
) -> tuple[int, int]:
    """Process the entries `start` to `end`, in stream order.

    A key that is settled may not be any more after some of its requests. If a prompt must be read
    then whose features are unknown, the kernel stops before its entry.

    Args:
        records: `(capacity,) RECORD`, the table; updated in place.
        entries: the `Entries`; none is of a repeated request.
        requests: the `Requests`.
        features: the `Features` of the n prompts; those of READ and JOINED ones are used.
        today: the partition's `Today`.
        evaluations: `(end - start,) RECORD`, receives copies of the records due for evaluation.
        evaluated_at: `(end - start,) int64`, receives the entry after which each is due.

    Returns:
        Number of evaluations due, and the entry before which it stopped, `end` if before none.
    """
    count = 0
    levels = np.empty(LEVELS, np.float64)
    for i in range(start, end):
        if i + _AHEAD < end:
            prefetch(records, entries.rows[i + _AHEAD])
        e, role = entries.events[i], entries.roles[i]
        r = records[entries.rows[i]]
        skipped = False
        if role == KEY and r["clean"] > 0:
            settled.note_request(r, e, requests.ts[e], entries.names[e], requests)
            skipped = entries.admitted[e] == READ and not requests.chosen[e]
            skipped = skipped and settled.is_settled(r)
        if role == KEY and not skipped and not requests.extracted[e]:
            return count, i
        if skipped:
            entries.admitted[e] = UNREAD
        if role == ACCOUNT and not end_users.feeds(r, records[entries.keys[e]]):
            continue
        if role == ACCOUNT and entries.suspects[e]:
            end_users.add_suspect(r, records[entries.keys[e]])
        voted = role == KEY and baseline.has_vote(r, today.trusted)
        if role == KEY:
            end_users.count(r, entries.names[e], entries.suspects[e])
        t, tokens, mark = requests.ts[e], requests.tokens[e], requests.marks[e]
        if r["requests"] == 0:
            _start_record(r, t)
        counted = entries.admitted[e] != JOINED
        r["requests"] += counted
        r["tokens"] += tokens
        if counted:
            behaviour.update_tests(r, t, r["last_seen"], mark)
        r["last_seen"] = max(r["last_seen"], t)
        first_today = today.day > r["day"]
        if first_today:
            r["day"] = today.day
            r["baseline_prompts"] = 0

        for j in range(_ELICITATION, LEVELS):
            levels[j] = r["level"][j]
        volume.add_to_panes(r, t, requests.sent[e], counted, tokens)
        last_hour = volume.update_levels(r, levels)
        read = mark & HAS_PROMPT and entries.admitted[e] != UNREAD
        if read and role == KEY and entries.users[e] >= 0:
            read = end_users.has_vote(r, records[entries.users[e]])
        elif read and role == END_USER:
            read = end_users.add_prompt(r, features.prompt[e])
        if read:
            r["prompts"] += 1
            r["tiny_turns"] = _share(r["tiny_turns"], mark & TINY_TURN)
            r["unexplained"] = _share(r["unexplained"], mark & UNEXPLAINED)
            r["unreadable"] = _share(r["unreadable"], features.unreadable[e])
            _intent_levels(r, mark, levels)
            if _has_words(features.style[e]):
                _add_to_sketches(r, e, features, today)
                if role == KEY:
                    _add_to_baseline_mean(r, e, features, today)
                    harvest.add(r, requests.tasks[e], requests.unframed[e])
                content_levels.update_levels(r, end_users.is_pooled(r, role), levels)
                harvest.update_level(r, today.traits, levels)
                levels[TAKEOVER] = origins.work_change(r)
                settled.note_prompt(r, e, mark, features)
        elif skipped:
            harvest.add(r, requests.tasks[e], requests.unframed[e])
            harvest.update_level(r, today.traits, levels)
        if role == KEY:
            origins.update_origins(r, t, requests.origins[e, 0], requests.origins[e, 1])
        _add_metadata(r, e, requests)
        if counted:
            _behaviour_levels(r, t, requests.models[e], mark, levels)

        if t // HOUR > r["hour"]:
            _end_own_hour(r, t, today.ceiling)
        if role == KEY:
            baseline.update_peaks(r, levels, first_today, voted, today)
        else:
            baseline.set_levels(r, levels)
        if role == ACCOUNT and r["user_counts"][ACCOUNT_KEYS] < end_users.MIN_ACCOUNT_KEYS:
            continue
        if _is_evaluation_due(r, last_hour):
            evaluations[count] = records[entries.rows[i]]
            account = entries.accounts[e]
            if role == KEY and account >= 0 and end_users.is_represented(r, records[account]):
                evaluations[count]["published"] = np.uint16(r["requests"] + 1)  # not due
            evaluated_at[count] = i
            count += 1
    return count, end


@jit
def _start_record(r: Any, t: float) -> None:
    """Initialise the record of a key whose first request is at `t`."""
    r["first_seen"] = t
    r["day"] = -1
    r["hour"] = int(t // HOUR)
    r["baseline_group"] = mix(time_bits(t)) % np.uint64(GROUPS)


@jit
def _intent_levels(r: Any, mark: int, levels: Any) -> None:
    """Update the sequential tests of elicitation with one prompt.

    Page's cumulative sum of log-likelihood ratios, one per intent.

    Args:
        levels: `(LEVELS,) float64`, updated in place.
    """
    for i in range(_INTENTS):
        if mark & (INTENT << i):
            r["matches"][i] += 1
            step = MATCH
        else:
            step = MISS
        levels[_ELICITATION + i] = min(max(levels[_ELICITATION + i] + step / 2, 0.0), MAX_NATS / 2)


@jit
def _has_words(style: Any) -> bool:
    """Whether a prompt has letters or digits, from its `(len(STYLE),) float32` style features."""
    return bool(style[_WORD_LENGTH] > 0.0 or style[_DIGITS] > 0.0)


@jit
def _add_to_sketches(r: Any, e: int, features: Any, today: Any) -> None:
    """Add prompt `e` of the `Features` to the sketches of one RECORD, with the `Today`."""
    if r["content_model"] != today.content_model:  # scores of two models do not add up
        r["content_model"] = today.content_model
        r["sketch_prompts"] = 0
        r["lists"][:] = 0
        r["novelty"][:] = 0
    before = r["sketch_prompts"]
    r["sketch_prompts"] = before + 1
    seed = mix(features.prompt[e] ^ np.uint64(before))
    energy = kernel_mean.squared_length(features.content[e]) / (SCALE * SCALE)
    for i in range(len(_DECAYS)):
        weight = kernel_mean.newest_weight(before + 1, _DECAYS[i])
        if i == 0:
            kernel_mean.add(r["meaning"], features.meaning[e], weight, seed)
        kernel_mean.add(r["content"][i], features.content[e], weight, seed + np.uint64(4 + i))
        r["energy"][i] += np.float32((energy - r["energy"][i]) * weight)
    lists = r["lists"]
    for i in range(lists.shape[0]):
        for j in range(lists.shape[1]):
            score = features.lists[e, i * lists.shape[1] + j]
            lists[i, j] = np.float32(lists[i, j] * _LISTS_DECAY + score)

    cell = mix(np.uint64(features.cell[e]) + np.uint64(0x9E3779B97F4A7C15))
    hyperloglog.add(r["distinct"][_PROMPTS], mix(features.prompt[e]))
    hyperloglog.add(r["distinct"][_CELLS], cell)
    hyperloglog.add(r["distinct"][_TEMPLATES], mix(features.template[e]))
    good_turing.add(r["novelty"], before, cell)


@jit
def _add_to_baseline_mean(r: Any, e: int, features: Any, today: Any) -> None:
    """Add prompt `e` of the `Features` to the baseline mean of the `Today`, unless the key of this
    RECORD is new or flagged, or has added enough today."""
    if r["flagged"] or not baseline.has_vote(r, today.trusted):
        return
    if r["baseline_prompts"] < PROMPTS_PER_DAY:
        r["baseline_prompts"] += 1
        group = r["baseline_group"]
        vectors = today.vectors[group]
        for i in range(features.meaning.shape[1]):
            vectors[i] += features.meaning[e, i]
        today.prompts[group] += 1.0


@jit
def _add_metadata(r: Any, e: int, requests: Any) -> None:
    """Count the distinct addresses, end users, user agents and system prompts."""
    for i in range(requests.metadata.shape[1]):
        if requests.metadata[e, i] != 0:
            hyperloglog.add(r["distinct"][_METADATA + i], mix(requests.metadata[e, i]))


@jit
def _behaviour_levels(r: Any, t: float, model: int, mark: int, levels: Any) -> None:
    """Update models, hours and follow-ups, and compute the levels of pivot and automation.

    Args:
        model: uint32, hash of the model's name, 0 without one.
        mark: bits of `requests/marks.py`.
        levels: `(LEVELS,) float64`, updated in place.
    """
    new = habits.add_name(r["model_names"], r["model_counts"], model, habits.DECAY)
    behaviour.track_new_model(r, t, model, new)
    levels[PIVOT] = behaviour.pivot(r, t)
    levels[AUTOMATION] = behaviour.automation(r, t)
    habits.add_hour(r["rhythm"], int(t // HOUR) % habits.HOURS)
    r["follow_ups"] = _share(r["follow_ups"], mark & FOLLOW_UP)


@jit
def _share(share: Any, bit: int) -> Any:
    """A recent share of requests or prompts, after one more that has a mark, `bit`, or not."""
    share = np.float32(share * _SHARE_DECAY)
    return np.float32(share + (1.0 - _SHARE_DECAY)) if bit else share


@jit
def _end_own_hour(r: Any, t: float, ceiling: Any) -> None:
    """Add the peaks of the hour that ended to the key's usual levels.

    A peak counts only up to `ceiling`, `(LEVELS,) float64`. Otherwise a key could create a past in
    which nothing is unusual.
    """
    mean, variance, peak = r["own_mean"], r["own_variance"], r["hour_peak"]
    weight = min(r["own_hours"] + 1.0, OWN_HOURS)
    for i in range(OWN):
        x = min(peak[i], ceiling[i])
        delta = x - mean[i]
        mean[i] += delta / weight
        variance[i] += (delta * (x - mean[i]) - variance[i]) / weight
        peak[i] = 0.0
    r["own_hours"] = weight
    r["hour"] = int(t // HOUR)


@jit
def _is_evaluation_due(r: Any, last_hour: float) -> bool:
    """Whether detectors should evaluate the record; marks it as evaluated and as published.

    Args:
        last_hour: requests in the last hour.
    """
    since = r["requests"] - r["evaluated"]
    share = last_hour * EVALUATE_SHARE
    if r["requests"] < FIRST_EVALUATION or since < max(EVALUATE_MIN, share):
        return False
    r["evaluated"] = r["requests"]
    unpublished = np.uint16(r["requests"] - r["published"])
    if unpublished >= max(PUBLISH_MIN, min(r["requests"] * PUBLISH_SHARE, PUBLISH_MAX), share):
        r["published"] = np.uint16(r["requests"])
    return True


def warm(features: Features) -> None:
    """Compile the kernels, or load them from the cache, before the first batch.

    Args:
        features: of no prompts.
    """
    records, rows = np.zeros(0, RECORD), np.zeros(0, np.int64)
    admitted, requests = np.zeros(0, np.uint8), _no_requests()
    parts, judged = Parts.of([[Part(USER, "Compile"), Part(USER, "it.")]]), np.ones(2, np.bool_)
    judged_texts(parts.data, parts.places, parts.hashes, parts.ranges, judged)
    users, flags = rows.astype(np.uint32), rows.astype(bool)
    entries = Entries(rows, rows, admitted, rows, rows, rows, users, flags, admitted)
    levels, traits = np.zeros(LEVELS), np.zeros(1 + len(TRAITS))
    day = Today(0, np.zeros((LEVELS, BINS)), levels, 0, traits, *Sums.empty())
    admit(
        *(records, rows, requests.ts, np.zeros((0, 2)), requests.ids),
        *(parts, requests.marks, requests.tokens, admitted, judged),
    )
    settled.choose(
        *(records, rows, admitted, requests.marks, parts, judged),
        *(np.uint64(0), 0.5, requests.chosen, requests.extracted),
    )
    end_users.select(records, rows, admitted, users, flags, flags)
    update(records, entries, requests, features, day, 0, 0, records, rows)


def _no_requests() -> Requests:
    nothing = np.zeros(0)
    return Requests(
        *(nothing, nothing, nothing),
        nothing.astype(np.uint32),
        nothing.astype(np.uint16),
        nothing.astype(np.uint32),
        np.zeros((0, 2), np.uint32),
        np.zeros((0, 4), np.uint64),
        *(nothing.astype(np.float32), nothing.astype(np.float32)),
        *(nothing.astype(bool), nothing.astype(bool)),
    )

"""Behaviour: how a key's requests arrive, whatever they ask for.

Three signs tell an unattended program from a person and from an application that serves people.
First, no request continues a conversation, and each asks for as much output as it can get: a
cumulative sum of log-likelihood ratios over both (E. S. Page, Biometrika 41, 1954). Second, the
gaps between requests are all alike, as from a timer: another cumulative sum. Third, the hours are
equally busy, day and night: the variance of their counts beyond that of a Poisson process.

A pivot is a move to a model that is new to the key. Its level is the log-likelihood ratio of the
requests to that model against the rate that the key had before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.records.profile import HOUR
from monitor.requests.marks import BOUNDED, FIRST_TURN, FOLLOW_UP, LARGE
from monitor.sketches.habits import HALF_LIFE
from monitor.sketches.kernel_mean import decay

_MAX_NATS = 12.0  # nats, of each sequential test

# Shares of requests, of ordinary keys and of unattended ones.
_FOLLOW_UPS, _FOLLOW_UPS_UNATTENDED = 0.4, 0.02
_LARGE, _LARGE_UNATTENDED = 0.2, 0.4
# Shares of gaps within a tenth of the usual one, of ordinary keys and of timers.
_REGULAR, _REGULAR_TIMER = 0.1, 0.6
_TENTH = 0.1  # log seconds
_GAP_WEIGHT = 1.0 / 16.0  # of the newest gap in the usual one
_MIN_GAP = 0.05  # seconds; shorter gaps are network delay and batching

_MIN_HOURS, _MIN_RATE = 4, 3.0  # whole hours and requests an hour needed to measure evenness
_UNEVEN = 0.25  # squared coefficient of variation of a day with a quiet night

_MIN_PAST = 20  # requests to known models before a pivot can be seen
_MIN_COUNT = (1.0 - decay(HALF_LIFE) ** _MIN_PAST) / (1.0 - decay(HALF_LIFE))  # these, decayed
_PIVOT_HOURS = 24.0  # hours for which a pivot counts


@jit
def update_tests(r: Any, t: float, last_seen: float, mark: int) -> None:
    """Update the sequential tests with one request.

    Args:
        r: RECORD, updated in place; `requests` includes this request.
        t: event time, epoch seconds.
        last_seen: latest event time before this request.
        mark: bits of `requests/marks.py`.
    """
    step = 0.0
    if mark & FOLLOW_UP:
        step += np.log(_FOLLOW_UPS_UNATTENDED / _FOLLOW_UPS)
    elif mark & FIRST_TURN:
        step += np.log((1 - _FOLLOW_UPS_UNATTENDED) / (1 - _FOLLOW_UPS))
    if mark & LARGE:
        step += np.log(_LARGE_UNATTENDED / _LARGE)
    elif mark & BOUNDED:
        step += np.log((1 - _LARGE_UNATTENDED) / (1 - _LARGE))
    r["unattended"] = min(max(r["unattended"] + step, 0.0), _MAX_NATS)
    if r["requests"] > 1 and t >= last_seen:
        gap = np.log(max(t - last_seen, _MIN_GAP))
        if r["requests"] == 2:
            r["gap"] = gap
        elif abs(gap - r["gap"]) < _TENTH:
            r["regular"] = min(r["regular"] + np.log(_REGULAR_TIMER / _REGULAR), _MAX_NATS)
        else:
            step = np.log((1 - _REGULAR_TIMER) / (1 - _REGULAR))
            r["regular"] = max(r["regular"] + step, 0.0)
        r["gap"] += (gap - r["gap"]) * _GAP_WEIGHT


@jit
def automation(r: Any, t: float) -> float:
    """Level of automation: half the nats of both tests, plus a quarter per even hour.

    Args:
        r: RECORD.
        t: event time, epoch seconds.
    """
    hours = r["long_requests"]
    head = int(r["long_head"])
    n = min(int(t // HOUR) - int(r["first_seen"] // HOUR), len(hours)) - 1
    total, squares = 0.0, 0.0
    for p in range(1, n + 1):
        count = float(hours[(head - p) % len(hours)])
        total += count
        squares += count * count
    even = 0.0
    if n >= _MIN_HOURS and total >= _MIN_RATE * n:
        mean = total / n
        variance = (squares - total * mean) / (n - 1)
        even = 0.25 * n * max(1.0 - max(variance - mean, 0.0) / (mean * mean * _UNEVEN), 0.0)
    return float(0.5 * (r["unattended"] + r["regular"]) + even)


@jit
def track_new_model(r: Any, t: float, model: int, new: bool) -> None:
    """Count a request for or against the key's last move to a new model.

    Args:
        r: RECORD, updated in place.
        t: event time, epoch seconds.
        model: uint32, hash of the model's name, 0 if the request names none.
        new: whether the key has not used the model recently; already in `model_counts`.
    """
    if model == 0:
        return
    if new and r["model_counts"].sum() > _MIN_COUNT:
        total = 0.0
        for p in range(len(r["long_requests"])):
            total += r["long_requests"][p]
        hours = max(min((t - r["first_seen"]) / HOUR, _PIVOT_HOURS), 1.0)
        r["new_model"], r["new_model_since"] = model, np.uint32(t)
        r["new_model_requests"], r["other_model_requests"] = 0, 0
        r["rate_before"] = np.float32(total / hours)
    if model == r["new_model"]:
        r["new_model_requests"] += 1
    elif r["new_model"]:
        r["other_model_requests"] += 1


@jit
def pivot(r: Any, t: float) -> float:
    """Level of the last move: half its log-likelihood ratio in nats, times the share moved.

    Args:
        r: RECORD.
        t: event time, epoch seconds.
    """
    if r["new_model"] == 0:
        return 0.0
    hours = max((t - r["new_model_since"]) / HOUR, 1.0)
    if hours > _PIVOT_HOURS:
        return 0.0
    expected, seen = max(r["rate_before"] * hours, 0.5), float(r["new_model_requests"])
    if seen <= expected:
        return 0.0
    share = seen / (seen + r["other_model_requests"])
    return float(0.5 * (seen * np.log(seen / expected) - (seen - expected)) * share)

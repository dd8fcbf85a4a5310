"""Conduct: how a key's requests come, whatever they ask for.

Three things tell a program that nobody attends from a person and from what serves persons. No
request continues a conversation, and each asks for as much as it can get: a cumulative sum of
log-likelihood ratios (E. S. Page, Biometrika 41, 1954) over both. The gaps between requests are
all alike, as a timer makes them: another one. And the hours are as busy as each other, day and
night: the variance of their counts beyond what chance makes of a constant rate.

A move is the first request to a model that is new to the key. What it is worth is the
log-likelihood ratio of as many requests to it since, against the rate that the key had before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.requests.marks import ALONE, BOUNDED, FOLLOW_UP, LARGE

CAP = 12.0  # nats

# Shares of requests, of ordinary keys and of unattended ones.
_FOLLOWS, _FOLLOWS_STILL = 0.4, 0.02
_LARGE, _LARGER = 0.2, 0.4
_AT_ONCE, _ON_TIME = 0.1, 0.6  # of gaps within a tenth of the usual one
_TENTH = 0.1  # log seconds
_USUAL = 1.0 / 16.0  # weight of the newest gap in the usual one
_SHORTEST = 0.05  # seconds: gaps below are network and batching

_FULL_HOURS, _PER_HOUR = 4, 3.0  # least that tells a rhythm
_UNEVEN = 0.25  # squared coefficient of variation of a day with a night

_BASE, _DAY = 20, 24.0  # requests that make a past, and hours that a move is news
_HOUR = 3600.0


@jit
def note(r: Any, t: float, before: float, mark: int) -> None:
    """Take a request into the sequential tests.

    Args:
        r: the record, of which `requests` counts it already.
        t: event time.
        before: that of the key's latest request before.
    """
    step = 0.0
    if mark & FOLLOW_UP:
        step += np.log(_FOLLOWS_STILL / _FOLLOWS)
    elif mark & ALONE:
        step += np.log((1 - _FOLLOWS_STILL) / (1 - _FOLLOWS))
    if mark & LARGE:
        step += np.log(_LARGER / _LARGE)
    elif mark & BOUNDED:
        step += np.log((1 - _LARGER) / (1 - _LARGE))
    r["unattended"] = min(max(r["unattended"] + step, 0.0), CAP)
    if r["requests"] > 1 and t >= before:
        gap = np.log(max(t - before, _SHORTEST))
        if r["requests"] == 2:
            r["gap"] = gap
        elif abs(gap - r["gap"]) < _TENTH:
            r["regular"] = min(r["regular"] + np.log(_ON_TIME / _AT_ONCE), CAP)
        else:
            r["regular"] = max(r["regular"] + np.log((1 - _ON_TIME) / (1 - _AT_ONCE)), 0.0)
        r["gap"] += (gap - r["gap"]) * _USUAL


@jit
def automation(r: Any, t: float) -> float:
    """The level of automation: half the nats of both tests, and a quarter for each even hour."""
    hours = r["long_requests"]
    head = int(r["long_head"])
    n = min(int(t // _HOUR) - int(r["first_seen"] // _HOUR), len(hours)) - 1
    total, squares = 0.0, 0.0
    for p in range(1, n + 1):
        count = float(hours[(head - p) % len(hours)])
        total += count
        squares += count * count
    even = 0.0
    if n >= _FULL_HOURS and total >= _PER_HOUR * n:
        mean = total / n
        variance = (squares - total * mean) / (n - 1)
        even = 0.25 * n * max(1.0 - max(variance - mean, 0.0) / (mean * mean * _UNEVEN), 0.0)
    return float(0.5 * (r["unattended"] + r["regular"]) + even)


@jit
def arrive(r: Any, t: float, model: int, new: bool) -> None:
    """Take a request to a model into the key's last move.

    Args:
        model: 32 bits of its hash, 0 where it is not known.
        new: whether the key has used it lately.
    """
    if model == 0:
        return
    if new and r["requests"] > _BASE:
        total = 0.0
        for p in range(len(r["long_requests"])):
            total += r["long_requests"][p]
        known = max(min((t - r["first_seen"]) / _HOUR, _DAY), 1.0)
        r["arrival"], r["arrived"], r["arrivals"], r["strays"] = model, np.uint32(t), 0, 0
        r["before"] = np.float32(total / known)
    if model == r["arrival"]:
        r["arrivals"] += 1
    elif r["arrival"]:
        r["strays"] += 1


@jit
def pivot(r: Any, t: float) -> float:
    """The level of the key's last move: half its log-likelihood ratio in nats, by its share."""
    if r["arrival"] == 0:
        return 0.0
    hours = max((t - r["arrived"]) / _HOUR, 1.0)
    if hours > _DAY:
        return 0.0
    expected, seen = max(r["before"] * hours, 0.5), float(r["arrivals"])
    if seen <= expected:
        return 0.0
    share = seen / (seen + r["strays"])
    return float(0.5 * (seen * np.log(seen / expected) - (seen - expected)) * share)

"""End users of a key: which of them are judged by themselves, and how much each moves the key.

An application sends the requests of many end users under one key. One of them must not get the
whole application blocked, and must not hide among the others. So a key's record counts its main end
users (J. Misra and D. Gries, Science of Computer Programming 2, 1982). A suspicious prompt, which
asks for the reasoning trace or for grades, counts as much as WEIGHT others. An end user is judged
by itself, with a record of its own, from its first suspicious prompt, or once it is one of several
heavy end users. From then on it has one vote: its further prompts do not count in the key's
statistics of prompts while it makes up less than 1 in MINORITY of the key's requests of a day.

The last count is that of suspicious prompts of everybody else: of requests that name no end user,
and of end users that found no room.

An account has a record, too, of the first requests of each of its keys. It shows a customer who
replaces its keys. Keys that follow one another do one work. Keys that are used at the same time may
be a company's applications and employees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit
from monitor.prompts.extractor import Features
from monitor.prompts.lexicon import INTENT_LISTS, INTENTS
from monitor.prompts.projection import LISTS, SHARES
from monitor.records.admission import REPEATED
from monitor.records.content_levels import RAMPS
from monitor.records.inputs import (
    ACCOUNT,
    ACCOUNT_KEYS,
    FEW_SUSPECTS,
    KEY,
    NEWER_KEYS,
    SHORT_LIVED,
    SUSPECTS,
)
from monitor.records.profile import PARTS, REQUESTS, SCALES, USERS
from monitor.requests.marks import INTENT

WEIGHT = 16  # of a suspicious prompt
HEAVY = 64  # weight from which one of several end users is judged by itself
MINORITY = 8  # an end user with less than 1 in this many of the key's requests has one vote
_FEW_SHARE, _FEW_WEIGHT = 0.8, 8  # share of the weight that makes it of three, and its minimum
_OTHERS = USERS - 1  # index of the count of everybody else
_OWN = 0x8000  # bit of a count: the end user has a record
_COUNT = 0x7FFF
_HALVE = 2048  # weight at which all counts are halved: the recent past counts more
# An account is fed by the first requests of each key, and by fewer while it has one key: a key with
# many requests is judged by itself.
ACCOUNT_REQUESTS, FIRST_KEY_REQUESTS = 32, 8
_FEWER = 1.25  # mean requests of the account's other keys, relative to those of this one
MIN_ACCOUNT_KEYS = 2  # of an account that is evaluated
_NEWER_SCALE, _NEWER_WEIGHT = 65_535.0, 1.0 / 16.0  # of NEWER_KEYS, and of a request in it
_POOLED = 0.25  # mean share of newer keys, from which keys do not follow one another
_DAY_LEVEL = REQUESTS.start + SCALES.index("24h")
_SPREAD = 8 * WEIGHT  # least count of everybody else
_LIKE = [
    (LISTS.index(kind) * len(SHARES) + share, RAMPS[kind][0])
    for kind in INTENT_LISTS
    for share in range(len(SHARES))
]


def suspicious(marks: npt.NDArray[np.uint16], features: Features) -> npt.NDArray[np.bool_]:
    """Which of n prompts ask for reasoning or grades, by the lexicon or by similarity, `(n,)`."""
    found = marks & np.uint16((1 << len(INTENTS)) - 1) * np.uint16(INTENT) != 0
    for column, least in _LIKE:
        found |= features.lists[:, column] >= least
    return np.asarray(found)


@jit
def select(records: Any, rows: Any, admitted: Any, users: Any, suspects: Any, judged: Any) -> None:
    """Decide which of n requests also count in their end user's record.

    Args:
        records: `(capacity,) RECORD`, the table. The counts of end users are updated; the caller
            puts them back, because the same requests are counted again with everything else.
        rows: `(n,) int64`, the key's record of each request.
        admitted: `(n,) uint8`, as `admit` returns it.
        users: `(n,) uint32`, hashes of the end users, 0 without one.
        suspects: `(n,) bool`, whether each prompt is suspicious.
        judged: `(n,) bool`, the result.
    """
    for e in range(len(rows)):
        judged[e] = admitted[e] != REPEATED and count(records[rows[e]], users[e], suspects[e])


@jit
def count(r: Any, user: int, suspect: bool) -> bool:
    """Count a request in its key's RECORD; return whether its end user is judged by itself.

    Args:
        user: uint32, hash of the end user, 0 without one.
        suspect: whether the prompt is suspicious.
    """
    names, counts = r["user_names"], r["user_counts"]
    place = -1
    if user != 0:
        place = _add(names, counts, user, WEIGHT if suspect else 1, suspect)
    elif suspect and _names_any(names):
        counts[_OTHERS] += WEIGHT
    if place >= 0 and not counts[place] & _OWN:
        heavy = counts[place] >= HEAVY
        if (suspect and (heavy or not _is_spread(counts))) or (heavy and _several(counts, place)):
            counts[place] |= _OWN
    judged = place >= 0 and counts[place] & _OWN != 0
    if user != 0 or suspect:
        _halve(counts)
    return judged


@jit
def _names_any(names: Any) -> bool:
    """Whether a key has named an end user. While it has not, there is nobody else to count, and
    the count would depend on which prompts were read."""
    found = False
    for i in range(_OTHERS):
        found |= names[i] != 0
    return bool(found)


@jit
def _add(names: Any, counts: Any, name: int, weight: int, suspect: bool) -> int:
    """Add a weight to an end user's count; return its place, -1 if it found no room.

    Args:
        names, counts: of a RECORD, updated in place.
    """
    least = 0
    for i in range(_OTHERS):
        if names[i] == name:
            counts[i] += weight
            return i
        if counts[i] & _COUNT < counts[least] & _COUNT:
            least = i
    lost = min(int(counts[least] & _COUNT), weight)
    if lost:
        for i in range(_OTHERS):
            counts[i] -= lost
        if suspect:
            counts[_OTHERS] += lost
    if weight == lost:
        return -1
    names[least], counts[least] = name, weight - lost
    return least


@jit
def _halve(counts: Any) -> None:
    """Halve `(USERS,) uint16` counts if one is large."""
    large = False
    for i in range(USERS):
        large |= counts[i] & _COUNT >= _HALVE
    if large:
        for i in range(USERS):
            counts[i] = (counts[i] & _OWN) | ((counts[i] & _COUNT) >> 1)


@jit
def _several(counts: Any, place: int) -> bool:
    """Whether another end user than the one at `place` has a count."""
    several = False
    for i in range(_OTHERS):
        several |= i != place and counts[i] & _COUNT != 0
    return several


@jit
def _is_spread(counts: Any) -> bool:
    """Whether most suspicious prompts are of ever new end users, who get no records then."""
    total = 0
    for i in range(USERS):
        total += int(counts[i] & _COUNT)
    return bool(counts[_OTHERS] >= _SPREAD and 2 * int(counts[_OTHERS]) > total)


@jit
def _is_few(counts: Any) -> bool:
    """Whether few end users have nearly all the weight of `(USERS,) uint16` counts, and are judged
    by themselves."""
    first, second, third, total, own = 0, 0, 0, 0, False
    for i in range(USERS):
        count = int(counts[i] & _COUNT)
        total += count
        own |= counts[i] & _OWN != 0
        if i == _OTHERS:
            continue
        if count > first:
            first, second, third = count, first, second
        elif count > second:
            second, third = count, second
        elif count > third:
            third = count
    top = first + second + third
    return bool(own and top >= _FEW_WEIGHT and top >= _FEW_SHARE * total)


@jit
def add_suspect(account: Any, key: Any) -> None:
    """Count a suspicious prompt in an account's RECORD; `key` is that of its key, before it."""
    counts = account["user_counts"]
    if counts[SUSPECTS] < _COUNT:
        counts[SUSPECTS] += 1
        counts[FEW_SUSPECTS] += _is_few(key["user_counts"])


@jit
def from_few(records: Any, roles: Any) -> Any:
    """Whether the evidence against keys and accounts comes from few end users of a key.

    Of a key: from at most three of its end users, who are judged by themselves.

    Args:
        records: `(n,) RECORD`.
        roles: `(n,) uint8`, whose they are, see `inputs.py`.

    Returns:
        `(n,) bool`.
    """
    few = np.zeros(len(records), np.bool_)
    for i in range(len(records)):
        counts = records[i]["user_counts"]
        if roles[i] == ACCOUNT:
            few[i] = 2 * int(counts[FEW_SUSPECTS]) > counts[SUSPECTS]
        else:
            few[i] = roles[i] == KEY and _is_few(counts)
    return few


@jit
def feeds(r: Any, key: Any) -> bool:
    """Whether a request of a key counts in its account's RECORD. Counts the key if it is new.

    Args:
        r, key: RECORD of the account and of the key, before the request; updated in place.
    """
    counts, before = r["user_counts"], key["requests"]
    if before == 0 and counts[ACCOUNT_KEYS] < np.iinfo(np.uint16).max:
        counts[ACCOUNT_KEYS] += 1
        key["account_place"] = counts[ACCOUNT_KEYS]
    keys = float(counts[ACCOUNT_KEYS])
    if keys < MIN_ACCOUNT_KEYS:
        return bool(before < FIRST_KEY_REQUESTS)
    newer = min((keys - key["account_place"]) / (keys - 1.0), 1.0) * _NEWER_SCALE
    counts[NEWER_KEYS] = int(counts[NEWER_KEYS] + (newer - counts[NEWER_KEYS]) * _NEWER_WEIGHT)
    return bool(before < ACCOUNT_REQUESTS)


@jit
def is_pooled(r: Any, role: int) -> bool:
    """Whether a RECORD holds requests of several keys that are used at the same time."""
    return role == ACCOUNT and r["user_counts"][NEWER_KEYS] > _POOLED * _NEWER_SCALE


@jit
def is_represented(r: Any, account: Any) -> bool:
    """Whether a key's account is compared with other keys instead of the key.

    It is if the account changes its keys: they are short-lived, and this one has fewer requests
    than the others had. Keys that an account uses at the same time have about as many.

    Args:
        r, account: RECORD of the key and of its account.
    """
    keys, requests = account["user_counts"][ACCOUNT_KEYS], float(account["requests"])
    if keys < MIN_ACCOUNT_KEYS or requests > SHORT_LIVED * keys:
        return False
    return bool(requests - r["requests"] >= _FEWER * r["requests"] * (keys - 1))


@jit
def add_prompt(r: Any, prompt: Any) -> bool:
    """Remember a prompt of an end user; return whether it is none of the last PARTS different ones.

    People repeat themselves, above all in an application with fixed questions. One odd question
    does not become evidence by repetition.

    Args:
        r: the end user's RECORD. Its `parts` hold prompts.
        prompt: uint64, hash of the prompt.
    """
    short = np.uint16(prompt >> np.uint64(48)) | np.uint16(1)
    for i in range(PARTS):
        if r["parts"][i] == short:
            return False
    hand = r["part_hand"]
    r["parts"][hand] = short
    r["part_hand"] = (hand + 1) % PARTS
    return True


@jit
def has_vote(key: Any, user: Any) -> bool:
    """Whether a prompt of an end user counts in the statistics of its key's prompts.

    Args:
        key: the key's RECORD, before the request.
        user: the end user's RECORD, after it.
    """
    if user["requests"] <= 1:
        return True
    of_user, of_key = 2.0 ** user["level"][_DAY_LEVEL], 2.0 ** key["level"][_DAY_LEVEL]
    return bool((of_user - 1.0) * MINORITY >= of_key - 1.0)

"""What the kernel that updates records reads: requests, their records, and the day."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KEY, ACCOUNT, END_USER = 0, 1, 2  # whose record an entry updates
SHORT_LIVED = 20  # mean requests of an account's keys up to which the account stands for them
# In `user_counts` of an account's record: the number of its keys, of suspicious prompts, and of
# those that came while few end users sent most of their key's; and the share of its keys that are
# newer than the keys of its recent requests, in 65,535ths.
ACCOUNT_KEYS, SUSPECTS, FEW_SUSPECTS, NEWER_KEYS = 0, 1, 2, 3


class Requests(NamedTuple):
    """Columns of n requests, `(n,)` each except `origins` and `metadata`.

    Attributes:
        ts: float64, when it counts, epoch seconds.
        sent: float64, its own time, earlier than `ts` if it is late. Volume counts at this time: a
            delayed delivery of old requests is not a burst.
        tokens: float64, that are new to the model.
        ids: uint32, hashes of the request ids, 0 without one.
        marks: uint16, bits of `requests/marks.py`.
        models: uint32, hashes of the models' names, 0 without one.
        origins: `(n, 2) uint32`, hashes of network and client, 0 if unknown.
        metadata: `(n, 4) uint64`, hashes of address, end user, user agent and system prompt, 0
            without one.
        tasks: float32, log odds that what varies in the prompt is a task, nats; NaN where it is not
            judged, see `harvest/`.
        unframed: float32, how little of a frame the prompt has, 0 to 1, see `harvest/`.
        chosen: bool, whether the prompt is read even if its key is settled, see `reading/`.
        extracted: bool, whether its features are known.
    """

    ts: npt.NDArray[np.float64]
    sent: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.float64]
    ids: npt.NDArray[np.uint32]
    marks: npt.NDArray[np.uint16]
    models: npt.NDArray[np.uint32]
    origins: npt.NDArray[np.uint32]
    metadata: npt.NDArray[np.uint64]
    tasks: npt.NDArray[np.float32]
    unframed: npt.NDArray[np.float32]
    chosen: npt.NDArray[np.bool_]
    extracted: npt.NDArray[np.bool_]


class Entries(NamedTuple):
    """m updates of records by n requests, in stream order; of one request, its key's is the last.

    Attributes:
        rows: `(m,) int64`, the record that is updated.
        events: `(m,) int64`, index of the request.
        roles: `(m,) uint8`, KEY, ACCOUNT or END_USER.
        keys: `(n,) int64`, the key's record of each request.
        accounts: `(n,) int64`, the account's record of a request that may count in it, else -1.
        users: `(n,) int64`, the end user's record of each request, -1 without one.
        names: `(n,) uint32`, hashes of the end users, 0 without one.
        suspects: `(n,) bool`, whether each prompt is suspicious, see `end_users.py`.
        admitted: `(n,) uint8`, as `admit` returns it; UNREAD, too, for prompts of settled keys.
    """

    rows: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    roles: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.int64]
    accounts: npt.NDArray[np.int64]
    users: npt.NDArray[np.int64]
    names: npt.NDArray[np.uint32]
    suspects: npt.NDArray[np.bool_]
    admitted: npt.NDArray[np.uint8]


class Today(NamedTuple):
    """What a partition's baseline learns and knows on one day.

    Attributes:
        day: of the partition's watermark, days since the epoch.
        peaks: `(LEVELS, BINS) float64`, keys by their peak of the day, updated in place.
        ceiling: `(LEVELS,) float64`, levels that hardly any ordinary key exceeds.
        content_model: tag of the content model.
        traits: `(1 + len(TRAITS),) float64`, weights of the harvest level, see `harvest/`.
        vectors, prompts: the day's `Sums`, updated in place.
        trusted: whether new keys count, too.
    """

    day: int
    peaks: npt.NDArray[np.float64]
    ceiling: npt.NDArray[np.float64]
    content_model: int
    traits: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64]
    prompts: npt.NDArray[np.float64]
    trusted: bool = False

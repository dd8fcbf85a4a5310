"""The profile of a key: everything that is remembered about it, in one fixed-size record.

A record holds rings of panes for requests and tokens, the test statistics that detectors read
(as levels, see below), their peaks of the day and of the hour, what is usual for the key itself,
the last request ids, and the alerts that are open. It is a row of a NumPy array in the worker
and the same bytes in Redis; there is no other codec.

A level is a statistic on the scale on which its tail falls exponentially: log2(1 + n) for counts,
half the log-likelihood ratio in nats for sequential tests. One histogram of levels then
describes how far ordinary keys get, whatever the statistic (see `public.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.errors import StoreError

VERSION = 1
FARTHEST = 30.0  # no level goes beyond

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400


class Ring(NamedTuple):
    """Panes of `width` seconds, `panes` of them, the newest at index `pane number % panes`."""

    width: int
    panes: int


SHORT, MIDDLE, LONG = Ring(10, 30), Ring(300, 12), Ring(3600, 24)

SCALES = ("1m", "5m", "1h", "24h")  # the windows over which requests and tokens are counted
REQUESTS = slice(0, 4)  # levels of requests over SCALES
TOKENS = slice(4, 8)  # levels of tokens over SCALES
ELICITATION = slice(8, 10)  # levels of the sequential tests over INTENTS
INTENTS = ("reasoning", "grading")
LEVELS = 10
KINDS = ("burst", "elicitation", "coverage", "automation", "pivot", "templates")
SLOTS = 8  # alerts that a record has room for, one a kind
IDS = 16

RECORD = np.dtype(
    [
        ("version", "<u2"),
        ("severity", "u1", SLOTS),  # of the open alert of each kind, 0 while none is open
        ("reserved", "u1", 6),
        ("first_seen", "<f8"),
        ("last_seen", "<f8"),
        ("opened", "<f8", SLOTS),  # when the alert of each kind was opened
        ("upheld", "<f8", SLOTS),  # when it was last found to hold
        ("decided", "<f8"),  # when the decision on the key was last made
        ("requests", "<u8"),
        ("tokens", "<f8"),
        ("prompts", "<u8"),
        ("matches", "<u8", len(INTENTS)),  # prompts that matched each intent
        ("looked", "<u8"),  # `requests` when detectors last looked
        ("ids", "<u8", IDS),
        ("short_head", "<i8"),
        ("middle_head", "<i8"),
        ("long_head", "<i8"),
        ("short_requests", "<u4", SHORT.panes),
        ("middle_requests", "<u4", MIDDLE.panes),
        ("long_requests", "<u4", LONG.panes),
        ("short_tokens", "<f4", SHORT.panes),
        ("middle_tokens", "<f4", MIDDLE.panes),
        ("long_tokens", "<f4", LONG.panes),
        ("day", "<i4"),
        ("hour", "<i4"),
        ("level", "<f4", LEVELS),  # now
        ("day_peak", "<f4", LEVELS),
        ("hour_peak", "<f4", LEVELS),
        ("own_hours", "<f4"),  # active hours that the two below summarise
        ("own_mean", "<f4", LEVELS),  # of the peaks of the key's own hours
        ("own_variance", "<f4", LEVELS),
        ("spare", "u1", 4),  # to a multiple of eight
    ]
)
assert RECORD.itemsize <= 2048

Records = npt.NDArray[np.void]


class Profile:
    """A view of n records that detectors read; every property is an array over the keys."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Profile({len(self)} keys)"

    def __getitem__(self, field: str) -> npt.NDArray[Any]:
        return self.records[field]

    @property
    def level(self) -> npt.NDArray[np.float64]:
        """Levels now, `(n, LEVELS) float64`."""
        return self.records["level"].astype(np.float64)

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """Requests over SCALES, then tokens over SCALES, `(n, 8) float64`."""
        return np.exp2(self.level[:, :8]) - 1.0


def blank() -> np.void:
    """The record of a key that has never been seen."""
    record: np.void = np.zeros(1, RECORD)[0]
    record["version"] = VERSION
    return record


def read(data: bytes) -> np.void:
    """The record that some bytes are, brought to this version.

    Raises:
        StoreError: if they are no record that this version knows.
    """
    if len(data) == RECORD.itemsize and int.from_bytes(data[:2], "little") == VERSION:
        record: np.void = np.frombuffer(data, RECORD)[0]
        return record
    raise StoreError(
        f"A record in the store ({len(data)} bytes) is of no version that this one knows: "
        "run all workers with the same version, the newest that has written to this store."
    )

"""Batches of messages, and the outcome of observing one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.kernels.buffers import Messages
from monitor.requests.columns import Columns
from monitor.requests.reasons import Rejection

Integers = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """Consecutive messages of one partition, oldest first.

    Attributes:
        partition: its name, "<topic>:<number>".
        offsets: `(n,) int64`, rising; gaps are allowed.
        values: n, `None` for a message without a value; fastest as `Messages`.
        arrivals: `(n,) float64`, when each message arrived in Kafka, epoch seconds, 0 or less
            where that is not recorded; `None` if it never is, as in a file.
    """

    partition: str
    offsets: Sequence[int] | Integers
    values: Sequence[bytes | None]
    arrivals: npt.NDArray[np.float64] | None = None

    def after(self, offset: int) -> Batch:
        """The messages at this offset and later ones."""
        skip = int(np.searchsorted(np.asarray(self.offsets, np.int64), offset))
        arrivals = None if self.arrivals is None else self.arrivals[skip:]
        return Batch(self.partition, self.offsets[skip:], self.values[skip:], arrivals)

    def arrived(self, default: float) -> npt.NDArray[np.float64]:
        """When each message arrived, `(n,) float64`; `default` where that is not recorded."""
        if self.arrivals is None:
            return np.full(len(self.offsets), default)
        return np.where(self.arrivals > 0, self.arrivals, default)


class Rejected(NamedTuple):
    """A message, or an element of one, that cannot be used."""

    offset: int
    rejection: Rejection


class KeyFingerprint(NamedTuple):
    """A key's fingerprint, input of the linker."""

    key: str
    value: bytes


@dataclass(slots=True)
class Outcome:
    """The results of observing a batch.

    Attributes:
        events: requests (or fingerprints) observed, repeated ones included.
        repeated: requests skipped as second messages or records of the same call.
        late: requests counted at the watermark, because they came too long after their `ts`.
        refused: requests that were refused, by status; they are not in `events`.
        unreadable: requests by field that they had, but that could not be read.
        times: `(n,) float64`, of all requests that were read, in stream order, epoch seconds.
        ignored: records that are no request of their own, by reason.
        without_prompt: requests without any text.
        fingerprinted: by fingerprint, the index of its request among those that were counted.
    """

    events: int = 0
    repeated: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    times: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)
    ignored: Counter[str] = field(default_factory=Counter)
    without_prompt: int = 0
    alerts: list[Alert] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    fingerprints: list[KeyFingerprint] = field(default_factory=list)
    fingerprinted: list[int] = field(default_factory=list, compare=False)


class Observed(NamedTuple):
    """The n requests of a batch that were counted, and what followed from them.

    Attributes:
        columns: the requests.
        messages: all of the batch; `columns.sources` are indices in it.
        out: the outcome so far, with alerts, decisions and fingerprints.
    """

    columns: Columns
    messages: Messages
    out: Outcome

"""Batches of messages, and what comes of them: what the engine and the linker have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.requests.decoder import Rejection

Integers = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """Consecutive messages of one partition, oldest first."""

    partition: str  # "<topic>:<partition>"
    offsets: Sequence[int] | Integers
    values: Sequence[bytes | None]  # fastest as `Messages`


class Rejected(NamedTuple):
    """A message, or a part of one, that could not be used."""

    offset: int
    rejection: Rejection


class KeyFingerprint(NamedTuple):
    """A key's fingerprint, for whoever looks for campaigns."""

    key: str
    value: bytes


@dataclass(slots=True)
class Outcome:
    """What came of a batch."""

    events: int = 0
    repeated: int = 0
    alerts: list[Alert] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    fingerprints: list[KeyFingerprint] = field(default_factory=list)

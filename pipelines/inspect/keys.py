"""The keys whose records are in Redis: the first of them in some order, and all in sum.

Records pass by a page at a time, each page one array; only the first keys are kept, so that a
million of them take no more memory than their names. What a record says is as of its key's last
request: `hour` are the requests in the hour before it. A detector as the order means how
improbable ordinary use makes the key, by the reference alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import SEVERITIES, Action, Severity
from monitor.config import Settings
from monitor.detectors import JUDGES, Detector
from monitor.errors import ConfigError
from monitor.records.baseline import Baseline, load_reference
from monitor.records.migrations import read
from monitor.records.profile import KINDS, RECORD, SCALES, Profile, Records
from monitor.store import inventory
from monitor.store.connection import Primary

Order = Callable[[Profile], npt.NDArray[Any]]  # the higher, the nearer to the top
_MILLION = 1_000_000
_WIDTH = 140  # of a table that goes into a file or a pipe
_HOUR = SCALES.index("1h")  # among the requests of `Profile.counts`


class Key(msgspec.Struct, frozen=True):
    """A line of the table. Times are event time, epoch seconds."""

    key: str
    requests: int
    tokens: int
    hour: int
    last_seen: float
    alerts: dict[str, Severity]  # by kind, those that are open
    decision: Action


class Memory(msgspec.Struct, frozen=True):
    """Bytes."""

    record: int  # as it is in the worker
    record_in_redis: int  # with its name and its expiry, the mean of a sample
    used: int  # by all of Redis
    used_per_key: int
    million_keys: int


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is printed."""

    keys: int
    requests: int
    tokens: int
    alerted: dict[Severity, int]  # keys by the severest of their open alerts
    top: list[Key]
    memory: Memory | None = None


@dataclass(slots=True)
class _Sum:
    """What has passed by.

    Attributes:
        names: of the first keys in the order, first one first; `records` are theirs.
    """

    keys: int = 0
    requests: int = 0
    tokens: float = 0.0
    alerted: Counter[int] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    records: Records = field(default_factory=lambda: np.empty(0, RECORD))

    def add(self, names: list[str], records: Records, order: Order, top: int) -> None:
        self.keys += len(names)
        self.requests += int(records["requests"].sum())
        self.tokens += float(records["tokens"].sum())
        self.alerted.update(records["severity"].max(axis=1).tolist())
        names, records = self.names + names, np.concatenate([self.records, records])
        ranks = np.lexsort([records["requests"], order(Profile(records))])[::-1][:top]
        self.names, self.records = [names[i] for i in ranks.tolist()], records[ranks]


def survey(
    pages: Iterable[list[tuple[str, bytes]]], order: Order, top: int, decision: Callable[[str], Any]
) -> Report:
    """The sums over some pages of records, and the first of their keys in an order."""
    seen = _Sum()
    for page in pages:
        data = b"".join(read(record).tobytes() for _, record in page)
        seen.add([key for key, _ in page], np.frombuffer(data, RECORD), order, top)
    hours = Profile(seen.records).counts[:, _HOUR]
    return Report(
        seen.keys,
        seen.requests,
        round(seen.tokens),
        {name: seen.alerted[i] for i, name in enumerate(SEVERITIES, 1) if seen.alerted[i]},
        [
            Key(
                name,
                int(record["requests"]),
                round(float(record["tokens"])),
                round(float(hour)),
                float(record["last_seen"]),
                _open_alerts(record),
                found.action if (found := decision(name)) else "observe",
            )
            for name, record, hour in zip(seen.names, seen.records, hours, strict=True)
        ],
    )


def order(by: str, settings: Settings) -> Order:
    orders: dict[str, Order] = {
        "requests": lambda keys: keys["requests"],
        "tokens": lambda keys: keys["tokens"],
        "hour": lambda keys: keys.counts[:, _HOUR],
        "last-seen": lambda keys: keys["last_seen"],
    }
    detectors: dict[str, Detector] = {detector.name: detector for detector in JUDGES}
    if by in detectors:
        baseline = Baseline(load_reference(settings.reference))
        return lambda keys: -detectors[by](keys, baseline).p
    if by not in orders:
        raise ConfigError(f"Keys have no order {by}: choose {', '.join([*orders, *detectors])}.")
    return orders[by]


def _open_alerts(record: Any) -> dict[str, Severity]:
    found = zip(KINDS, record["severity"].tolist(), strict=False)
    return {kind: SEVERITIES[severity - 1] for kind, severity in found if severity}


def measure_memory(server: Primary, keys: int) -> Memory:
    found = inventory.memory(server)
    return Memory(
        RECORD.itemsize,
        round(found.record),
        found.used,
        round(found.used / max(keys, 1)),
        round(found.of(_MILLION)),
    )

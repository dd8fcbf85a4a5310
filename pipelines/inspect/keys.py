"""List the keys whose records are in Redis: the first by some ranking, and totals over all.

Accounts and end users are listed among the keys. The totals are of keys alone.

Records are read one page at a time, each as one array, and only the first keys are kept, so memory
does not grow with their number. A record shows its key as of the last request: `hour`
counts the requests in the hour before it. A ranking by a detector evaluates it against the shipped
or configured reference alone, without what workers have learned. The most remarkable keys are those
with the severest open alert, and among equals the ones with the smallest probability of any
detector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import SEVERITIES, Action, Severity
from monitor.config import Settings
from monitor.detectors import ALERT_KINDS, ALL_DETECTORS, Detector
from monitor.errors import ConfigError
from monitor.identity import is_other_subject
from monitor.records.baseline import Baseline, load_reference
from monitor.records.migrations import read
from monitor.records.profile import RECORD, SCALES, Profile, Records
from monitor.store import inventory
from monitor.store.connection import Primary
from pipelines.inspect.decisions import Applied, Held

REMARKABLE = "remarkable"
_MILLION = 1_000_000
_HOUR = SCALES.index("1h")  # column of `Profile.counts`


class KeyRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A listed key. Times are event time, epoch seconds."""

    key: str
    requests: int
    tokens: int
    hour: int  # requests in the hour before the last one
    last_seen: float
    alerts: dict[str, Severity]  # severity of each open alert, by kind
    decision: Action
    probability: float | None = None  # by the detector that ranks the list
    applies: Action = "observe"  # what gateways enforce
    why: Held = ""  # what holds the decision back


class MemoryUse(msgspec.Struct, frozen=True):
    """Memory in bytes."""

    record: int  # the record in a worker
    record_in_redis: int  # the record with its name and expiry, mean of a sample
    used: int  # all of Redis
    used_per_key: int
    million_keys: int


class KeyList(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first keys by a ranking, and totals over all keys."""

    keys: int
    requests: int
    tokens: int
    alerted: dict[Severity, int]  # keys by the highest severity of their open alerts
    top: list[KeyRow]
    memory: MemoryUse | None = None


class Ranking(NamedTuple):
    """A way to sort keys.

    Attributes:
        score: of n keys, `(n,)`; the highest come first.
        probability: of n keys, `(n,)`, that an ordinary key is like this; `None`: not shown.
    """

    score: Callable[[Profile], npt.NDArray[Any]]
    probability: Callable[[Profile], npt.NDArray[Any]] | None = None


@dataclass(slots=True)
class _Totals:
    """Totals over the pages so far.

    Attributes:
        names: of the first keys by the ranking, in order.
        records: of the same keys, `(n,)`.
    """

    keys: int = 0
    requests: int = 0
    tokens: float = 0.0
    alerted: Counter[int] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    records: Records = field(default_factory=lambda: np.empty(0, RECORD))

    def add(self, names: list[str], records: Records, ranking: Ranking, top: int) -> None:
        keys = records[[not is_other_subject(name) for name in names]]
        self.keys += len(keys)
        self.requests += int(keys["requests"].sum())
        self.tokens += float(keys["tokens"].sum())
        self.alerted.update(keys["severity"].max(axis=1).tolist())
        names, records = self.names + names, np.concatenate([self.records, records])
        order = np.lexsort([records["requests"], ranking.score(Profile(records))])[::-1][:top]
        self.names, self.records = [names[i] for i in order.tolist()], records[order]


def list_keys(
    pages: Iterable[list[tuple[str, bytes]]],
    ranking: Ranking,
    top: int,
    applied: Callable[[str], Applied | None],
) -> KeyList:
    """Read pages of records.

    Args:
        pages: lists of (pseudonym, record bytes).
        top: number of keys to list.
        applied: returns what applies to a key.
    """
    totals = _Totals()
    for page in pages:
        data = b"".join(read(record).tobytes() for _, record in page)
        totals.add([key for key, _ in page], np.frombuffer(data, RECORD), ranking, top)
    profile = Profile(totals.records)
    hours = profile.counts[:, _HOUR]
    likely = ranking.probability(profile).tolist() if ranking.probability else len(hours) * [None]
    return KeyList(
        keys=totals.keys,
        requests=totals.requests,
        tokens=round(totals.tokens),
        alerted={
            name: totals.alerted[i] for i, name in enumerate(SEVERITIES, 1) if totals.alerted[i]
        },
        top=[
            _row(name, record, float(hour), probability, applied)
            for name, record, hour, probability in zip(
                totals.names, totals.records, hours, likely, strict=True
            )
        ],
    )


def _row(
    name: str,
    record: Any,
    hour: float,
    probability: float | None,
    applied: Callable[[str], Applied | None],
) -> KeyRow:
    found = applied(name)
    return KeyRow(
        key=name,
        requests=int(record["requests"]),
        tokens=round(float(record["tokens"])),
        hour=round(hour),
        last_seen=float(record["last_seen"]),
        alerts=_open_alerts(record),
        decision=found.decided if found else "observe",
        probability=probability,
        applies=found.action if found else "observe",
        why=found.why if found else "",
    )


def ranking_by(name: str, settings: Settings) -> Ranking:
    """The ranking with a name: REMARKABLE, a count, or a detector.

    Raises:
        ConfigError: if there is none.
    """
    counts: dict[str, Callable[[Profile], npt.NDArray[Any]]] = {
        "requests": lambda keys: keys["requests"],
        "tokens": lambda keys: keys["tokens"],
        "hour": lambda keys: keys.counts[:, _HOUR],
        "last-seen": lambda keys: keys["last_seen"],
    }
    detectors: dict[str, Detector] = {detector.name: detector for detector in ALL_DETECTORS}
    if name in detectors:
        baseline = Baseline(load_reference(settings.reference))
        return Ranking(
            lambda keys: -detectors[name](keys, baseline).p,
            lambda keys: detectors[name](keys, baseline).p,
        )
    if name == REMARKABLE:
        return _remarkable(Baseline(load_reference(settings.reference)))
    if name not in counts:
        choices = ", ".join([REMARKABLE, *counts, *detectors])
        raise ConfigError(f'Cannot sort by "{name}". Choose one of {choices}.')
    return Ranking(counts[name])


def _remarkable(baseline: Baseline) -> Ranking:
    """First by severity of the open alerts, then by the smallest probability of any detector."""

    def probability(keys: Profile) -> npt.NDArray[Any]:
        if not len(keys.records):
            return np.ones(0)
        found = [detector(keys, baseline).p for detector in ALL_DETECTORS]
        return np.asarray(np.min(found, axis=0))

    def score(keys: Profile) -> npt.NDArray[Any]:
        severity = keys["severity"].max(axis=1).astype(float)
        surprise = -np.log10(np.maximum(probability(keys), 1e-300))
        return np.asarray(1_000.0 * severity + surprise)

    return Ranking(score, probability)


def _open_alerts(record: Any) -> dict[str, Severity]:
    found = zip(ALERT_KINDS, record["severity"].tolist(), strict=False)
    return {kind: SEVERITIES[severity - 1] for kind, severity in found if severity}


def measure_memory(server: Primary, keys: int) -> MemoryUse:
    """Measure the memory of Redis, with `keys` records in it."""
    found = inventory.memory(server)
    return MemoryUse(
        record=RECORD.itemsize,
        record_in_redis=round(found.record),
        used=found.used,
        used_per_key=round(found.used / max(keys, 1)),
        million_keys=round(found.estimate(_MILLION)),
    )

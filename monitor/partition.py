"""The state of one partition: its offset, its event time, and what belongs to no single key.

Every checkpoint writes it with the records. Event time is the partition's own. Every EPOCH of it
ends an epoch: calm alerts resolve, and with the last epoch of a day the day joins the baseline.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TypeVar

import msgspec

from monitor.alerting.alerts import Alert, Severity
from monitor.errors import StoreRefusedError
from monitor.records.baseline import Baseline, Reference
from monitor.records.stream_clock import SOURCES, Source, StreamClock

EPOCH = 300.0  # seconds

S = TypeVar("S", bound=msgspec.Struct)


class PartitionState(ABC):
    """What the partitions of all streams have in common. Subclasses add what they observe.

    Args:
        name: "<topic>:<number>".
        claim: the number of the claim under which this process writes it, see `Store.claim`.

    Attributes:
        offset: the first message that is not observed.
        clock: its event time.
        outbox: alerts that may not have been sent.
        dirty: whether any of it is not in the store.
    """

    def __init__(self, name: str, claim: int) -> None:
        self.name = name
        self.claim = claim
        self.offset = 0
        self.clock = StreamClock()
        self.outbox: list[Alert] = []
        self.dirty = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} at {self.offset})"

    @property
    def watermark(self) -> float:
        """The event time reached, epoch seconds; 0 before the first event."""
        return self.clock.watermark

    def _resume(self, offset: int, watermark: float, sources: list[Source]) -> None:
        """Continue where a stored state ends.

        Raises:
            StoreRefusedError: if no worker can have written it.
        """
        if offset < 0 or not math.isfinite(watermark) or len(sources) > SOURCES:
            raise StoreRefusedError(
                f"The state of {self.name} in the store is damaged (offset {offset}, watermark "
                f"{watermark:g}): restore it from a backup, or delete it, and the partition "
                "starts at the offset that Kafka has."
            )
        self.offset, self.clock = offset, StreamClock(watermark, sources)

    @abstractmethod
    def snapshot(self) -> bytes:
        """The state as bytes."""

    @abstractmethod
    def restore(self, data: bytes) -> None:
        """Replace the state by that of a snapshot.

        Raises:
            StoreRefusedError: if its version is unknown, or it is damaged.
        """


class _State(msgspec.Struct, array_like=True):
    version: int
    offset: int
    watermark: float
    baseline: bytes
    alerted: dict[str, list[tuple[str, Severity]]]
    outbox: list[Alert]
    sources: list[Source] = []  # none before version 3


class Partition(PartitionState):
    """A partition of requests: also its baseline, and the keys with open alerts.

    Attributes:
        baseline: what ordinary keys reach per day.
        alerted: kind and severity of the open alerts by key.
    """

    def __init__(self, name: str, claim: int, reference: Reference) -> None:
        super().__init__(name, claim)
        self.baseline = Baseline(reference)
        self.alerted: dict[str, list[tuple[str, Severity]]] = {}

    def set_open_alerts(self, key: str, open_alerts: list[tuple[str, Severity, str]]) -> None:
        """Replace the open alerts of a key: kind, severity and id of each."""
        self.alerted.pop(key, None)
        if open_alerts:
            self.alerted[key] = [(kind, severity) for kind, severity, _ in open_alerts]

    def snapshot(self) -> bytes:
        state = _State(
            version=3,
            offset=self.offset,
            watermark=self.watermark,
            baseline=self.baseline.snapshot(),
            alerted=self.alerted,
            outbox=self.outbox,
            sources=self.clock.sources,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        state = decode_state(data, _State, (1, 2, 3), self.name)
        self._resume(state.offset, state.watermark, state.sources)
        try:
            self.baseline.restore(state.baseline)
        except (msgspec.MsgspecError, ValueError, IndexError) as error:
            raise StoreRefusedError(
                f"The baseline in the state of {self.name} in the store is unreadable ({error}): "
                "run all workers with the newest release that has written to this store."
            ) from error
        self.alerted, self.outbox = state.alerted, state.outbox
        self.dirty = bool(self.outbox)


def decode_state(data: bytes, form: type[S], versions: tuple[int, ...], name: str) -> S:
    """Decode a partition's state, whose first field is its version.

    Raises:
        StoreRefusedError: if it is of another version than these.
    """
    try:
        version: object = msgspec.msgpack.decode(data, type=list)[0]
        if version in versions:
            return msgspec.msgpack.decode(data, type=form)
    except (msgspec.MsgspecError, IndexError):
        version = "(unreadable)"
    known = " or ".join(map(str, versions))
    raise StoreRefusedError(
        f"The state of {name} in the store has version {version}, not {known}: run all workers "
        "with the newest release that has written to this store."
    )

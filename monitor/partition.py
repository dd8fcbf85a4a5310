"""The state of a partition: how far it has been observed, and what belongs to no single key.

It is written with the records in every checkpoint. Event time is the partition's own: the
watermark is the latest timestamp seen, and every five minutes of it an epoch ends: calm alerts
resolve, and with the last one of a day that day becomes part of the public's past.
"""

from __future__ import annotations

import msgspec

from monitor.alerting.alerts import Alert, Severity
from monitor.records.baseline import Baseline, Reference

EPOCH = 300.0  # seconds
LATENESS = 600.0  # seconds behind the watermark that an event may be


class _State(msgspec.Struct, array_like=True):
    version: int
    offset: int
    watermark: float
    baseline: bytes
    alerted: dict[str, list[tuple[str, Severity]]]
    outbox: list[Alert]


class Partition:
    """One partition's offset, watermark and public, and the keys with open alerts.

    Attributes:
        claim: the number under which it is held, see `Store.claim`.
        offset: the first message that has not been observed.
        watermark: the latest event time seen, 0 before the first event.
        alerted: kind and severity of the open alerts by key.
        outbox: alerts that are not known to be sent.
        changed: whether any of it is news to the store.
    """

    def __init__(self, name: str, claim: int, reference: Reference) -> None:
        self.name = name
        self.claim = claim
        self.offset = 0
        self.watermark = 0.0
        self.baseline = Baseline(reference)
        self.alerted: dict[str, list[tuple[str, Severity]]] = {}
        self.outbox: list[Alert] = []
        self.changed = False

    def __repr__(self) -> str:
        return f"Partition({self.name} at {self.offset})"

    def note(self, key: str, open_alerts: list[tuple[str, Severity, str]]) -> None:
        """Keep account of the alerts that are open on a key."""
        self.alerted.pop(key, None)
        if open_alerts:
            self.alerted[key] = [(kind, severity) for kind, severity, _ in open_alerts]

    def dump(self) -> bytes:
        """The state as bytes."""
        state = _State(
            version=2,
            offset=self.offset,
            watermark=self.watermark,
            baseline=self.baseline.snapshot(),
            alerted=self.alerted,
            outbox=self.outbox,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        """Take up what `dump` gave."""
        state = msgspec.msgpack.decode(data, type=_State)
        self.offset = state.offset
        self.watermark = state.watermark
        self.baseline.restore(state.baseline)
        self.alerted = state.alerted
        self.outbox = state.outbox
        self.changed = bool(self.outbox)

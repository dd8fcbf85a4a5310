"""A store in the memory of this process, for replay and tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from monitor.alerting.decisions import ORIGINS, ActiveDecision
from monitor.store.base import Checkpoint, active, fenced


class MemoryStore:
    """A store that ends with the process.

    Args:
        clock: the time by which decisions expire, epoch seconds.

    Attributes:
        records: the bytes of all records, by their names.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.records: dict[str, bytes] = {}
        self._partitions: dict[str, bytes] = {}
        self._baselines: dict[str, bytes] = {}
        self._rows: dict[str, dict[str, bytes]] = {}
        self._claims: dict[str, int] = {}
        self._decisions: dict[tuple[str, str], ActiveDecision] = {}

    def __repr__(self) -> str:
        return f"MemoryStore({len(self.records)} records)"

    def names(self, partition: str, keys: Sequence[str]) -> Sequence[str]:
        return keys

    def load(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.records.get(name) for name in names]

    def claim(self, name: str) -> tuple[int, bytes | None]:
        self._claims[name] = self._claims.get(name, 0) + 1
        return self._claims[name], self._partitions.get(name)

    def commit(self, checkpoint: Checkpoint) -> None:
        for name, claim in checkpoint.claims.items():
            if self._claims[name] != claim:
                raise fenced(name)
        self.records.update(checkpoint.records)
        self._partitions.update(checkpoint.partitions)
        self._baselines.update(checkpoint.baselines)
        for name, changed in checkpoint.rows.items():
            rows = self._rows.setdefault(name, {})
            rows.update({key: row for key, row in changed.items() if row is not None})
            for key in changed.keys() - rows.keys() | {k for k, v in changed.items() if v is None}:
                rows.pop(key, None)
        for decision in active(checkpoint, self._clock()):
            self._decisions[decision.origin, decision.key] = decision

    def baselines(self) -> dict[str, bytes]:
        return dict(self._baselines)

    def rows(self, partition: str) -> dict[str, bytes]:
        return dict(self._rows.get(partition, {}))

    def in_force(self, keys: Sequence[str]) -> list[list[ActiveDecision]]:
        now = self._clock()
        found = ([self._decisions.get((origin, key)) for origin in ORIGINS] for key in keys)
        return [[each for each in decisions if each and now < each.until] for decisions in found]

    def ping(self) -> None:
        pass

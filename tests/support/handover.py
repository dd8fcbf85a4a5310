"""The state that a worker leaves in the store in mid-stream, for another version to go on with.

    git worktree add /tmp/old COMMIT
    PYTHONPATH=/tmp/old:. python -m tests.support.handover FILE

writes what the engine and linker of a commit leave after half of a stream. The tests go on from
such a file, written by the release before, with the present engine and linker.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from monitor.alerting.alerts import Alert
from monitor.batch import Batch, Outcome
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.simulation.scenario import Scenario, Simulation

PARTITION, LINKED = "requests:0", "fingerprints:0"
SCENARIO = Scenario(seed=16, hours=1.5, keys=16, attack_delay=600.0)
FILE = Path(__file__).parents[1] / "unit/store/handover.json.gz"
_TABLES = ("records", "_partitions", "_baselines")


class Half(NamedTuple):
    """What a version left after half of the stream.

    Attributes:
        store: with the records, partitions and rows.
        alerts: that it has sent.
        fingerprints: the last that it has sent.
        offset: of the first message that it did not observe.
    """

    store: MemoryStore
    alerts: list[Alert]
    fingerprints: list[bytes]
    offset: int


def stream() -> list[bytes]:
    """Simulated requests without ids: one that is observed twice counts twice."""
    events = ({**event, "id": None} for event in Simulation(SCENARIO).events())
    return [msgspec.json.encode(event) for event in events]


def observe(store: MemoryStore, values: Sequence[bytes], offset: int) -> Outcome:
    """Let an engine go on from the store; its state is in the store afterwards."""
    engine = Engine(Settings(), Identity(b"0123456789abcdef"), store)
    engine.assign(PARTITION)
    outcome = Outcome()
    for start in range(0, len(values), 1000):
        part = values[start : start + 1000]
        offsets = range(offset + start, offset + start + len(part))
        found = engine.observe(Batch(PARTITION, list(offsets), list(part)))
        outcome.alerts += found.alerts
        outcome.fingerprints += found.fingerprints
        outcome.events += found.events
        checkpoint = engine.snapshot()
        store.commit(checkpoint)
        engine.commit(checkpoint)
        engine.published(checkpoint)
    checkpoint = engine.snapshot()
    store.commit(checkpoint)
    engine.commit(checkpoint)
    return outcome


def link(store: MemoryStore, values: Sequence[bytes], offset: int) -> Outcome:
    """Let a linker go on from the store; its state is in the store afterwards."""
    linker = Linker(Settings(), store)
    linker.assign(LINKED)
    offsets = range(offset, offset + len(values))
    outcome = linker.observe(Batch(LINKED, list(offsets), list(values)))
    checkpoint = linker.snapshot()
    store.commit(checkpoint)
    linker.commit(checkpoint)
    return outcome


def save(half: Half, path: Path) -> None:
    def text(table: dict[str, bytes]) -> dict[str, str]:
        return {name: base64.b64encode(value).decode() for name, value in table.items()}

    saved: dict[str, Any] = {name: text(getattr(half.store, name)) for name in _TABLES}
    saved["_rows"] = {name: text(rows) for name, rows in half.store._rows.items()}
    saved["alerts"] = msgspec.to_builtins(half.alerts)
    saved["fingerprints"] = [base64.b64encode(each).decode() for each in half.fingerprints]
    saved["offset"] = half.offset
    path.write_bytes(gzip.compress(json.dumps(saved).encode(), mtime=0))


def load(path: Path = FILE) -> Half:
    saved = json.loads(gzip.decompress(path.read_bytes()))
    store = MemoryStore()

    def data(table: dict[str, str]) -> dict[str, bytes]:
        return {name: base64.b64decode(value) for name, value in table.items()}

    for name in _TABLES:
        setattr(store, name, data(saved[name]))
    store._rows = {name: data(rows) for name, rows in saved["_rows"].items()}
    fingerprints = [base64.b64decode(each) for each in saved["fingerprints"]]
    alerts = msgspec.convert(saved["alerts"], list[Alert])
    return Half(store, alerts, fingerprints, saved["offset"])


def main() -> int:
    values, store = stream(), MemoryStore()
    half = len(values) // 2
    outcome = observe(store, values[:half], 0)
    fingerprints = [each.value for each in outcome.fingerprints]
    link(store, fingerprints, 0)
    save(Half(store, outcome.alerts, fingerprints[-10:], half), Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

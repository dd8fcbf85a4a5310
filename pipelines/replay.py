"""Replay: recorded requests through the engine that the workers run, and a table of what it saw."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich.console import Console
from rich.table import Table

from monitor.alerts import SEVERITIES, Alert
from monitor.batch import Batch, Outcome, Said
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines import campaigns as linked
from pipelines import explained, graph, progress
from pipelines.explain import Biographer
from pipelines.files import LineFile

PARTITION, FINGERPRINTS = "replay:0", "fingerprints:0"
_TOP = 15


@dataclass(slots=True)
class Account:
    """What a replay came to.

    Attributes:
        worst: by subject, the alert of its highest severity.
    """

    events: int = 0
    repeated: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    worst: dict[str, Alert] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count what came of a batch."""
        self.events += outcome.events
        self.repeated += outcome.repeated
        self.rejected.update(rejected.rejection.reason for rejected in outcome.rejected)
        for alert in outcome.alerts:
            if alert.state == "resolved":
                continue
            self.alerts[alert.kind, alert.severity] += 1
            before = self.worst.get(alert.subject.id)
            if before is None or _rank(alert) >= _rank(before):
                self.worst[alert.subject.id] = alert


def run(
    files: list[str],
    settings: Settings,
    *,
    alerts: Path | None,
    plain_keys: bool = False,
    explain: str | None = None,
    campaigns: bool = False,
    graphs: Path | None = None,
) -> Account:
    """Replay files in their order, write the alerts, and print what was seen.

    Args:
        explain: a key to explain at the end.
        campaigns: whether to list the campaigns at the end.
        graphs: a folder into which each of them is drawn.
    """
    if graphs is not None:
        graph.require()
    store = MemoryStore()
    biographer = None if explain is None else Biographer(explain)
    identity = from_settings(settings, plain=plain_keys)
    engine = Engine(settings, identity, store, witness=biographer)
    account, begun = Account(), time.perf_counter()
    linker = Linker(settings, store)
    with progress.of_file("Replaying") as report, _writing(alerts) as out:
        for name in files:
            with LineFile(name) as file:
                for outcome in drive(engine, store, file, linker):
                    account.add(outcome)
                    if biographer is not None:
                        biographer.hear(outcome)
                    if out is not None:
                        out.writelines(msgspec.json.encode(a) + b"\n" for a in outcome.alerts)
                    report(account, file)
    account.seconds = time.perf_counter() - begun
    show(account, Console())
    shards = list(linker.partitions.values())
    if campaigns:
        linked.print_table(linked.survey(shards, over=True))
    if graphs is not None:
        graph.write_all(shards, graphs)
    if biographer is not None:
        explained.show(biographer.tell(engine, store, settings))
    return account


def drive(
    engine: Engine, store: MemoryStore, file: LineFile, linker: Linker | None = None
) -> Iterator[Outcome]:
    """Carry the lines of a file through an engine, as the next messages of its one partition, and
    what it tells of keys through a linker."""
    partition = engine.partitions.get(PARTITION) or engine.assign(PARTITION)
    for lines in file.batches():
        values = [line for line in lines if line and not line.isspace()]
        offsets = range(partition.offset, partition.offset + len(values))
        outcome = engine.observe(Batch(PARTITION, offsets, values))
        if linker is not None and outcome.fingerprints:
            linked = link(linker, outcome.fingerprints)
            outcome.alerts += linked.alerts
            outcome.decisions += linked.decisions
        yield outcome
        if engine.crowded:
            store.commit(engine.checkpoint())
            engine.saved()


def link(linker: Linker, said: Sequence[Said]) -> Outcome:
    """Carry fingerprints through a linker, as the next messages of its one partition."""
    shard = linker.partitions.get(FINGERPRINTS) or linker.assign(FINGERPRINTS)
    offsets = range(shard.offset, shard.offset + len(said))
    return linker.observe(Batch(FINGERPRINTS, offsets, [each.value for each in said]))


def show(account: Account, console: Console) -> None:
    """Print an account as tables."""
    rate = account.events / account.seconds if account.seconds else 0.0
    console.print(
        f"{account.events:,} requests in {account.seconds:.1f} s ({rate:,.0f}/s), "
        f"{account.repeated:,} repeated, {account.rejected.total():,} rejected."
    )
    for reason, count in account.rejected.most_common():
        console.print(f"  rejected as {reason}: {count:,}")
    if not account.worst:
        console.print("No alerts.")
        return
    kinds = Table("alerts", *SEVERITIES)
    for kind in sorted({kind for kind, _ in account.alerts}):
        kinds.add_row(kind, *(f"{account.alerts[kind, severity]:,}" for severity in SEVERITIES))
    console.print(kinds)
    worst = sorted(account.worst.values(), key=lambda a: (-_rank(a), a.detected_at))
    subjects = Table("severity", "decision", "what", title=f"{len(worst):,} subjects")
    for alert in worst[:_TOP]:
        subjects.add_row(alert.severity, alert.decision, alert.summary)
    console.print(subjects)
    if len(worst) > _TOP:
        console.print(f"… and {len(worst) - _TOP:,} more: `--alerts FILE` writes all of them.")


def _rank(alert: Alert) -> int:
    return SEVERITIES.index(alert.severity)


@contextmanager
def _writing(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("wb")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): name another file with --alerts."
        ) from error
    with file:
        yield file

"""Replay labelled traffic, and log when each key is flagged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.detectors.base import Evaluation
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.records.baseline import Baseline
from monitor.records.migrations import read
from monitor.records.profile import DAY, HOUR, RECORD, Records
from monitor.requests.decoder import Decoder
from pipelines.traffic.files import Progress, no_progress
from pipelines.traffic.labels import Label
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import PARTITION, Replayed, replay_recording

ANY = "any"  # kind of alert
OVERTURNED = "overturned"  # class of keys that a person has found to be no attackers

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class ReplayLog:
    """Collects evaluations and alerts during a replay.

    Attributes:
        smallest: by key, the smallest probability of each detector, `(detectors,)`.
        flagged: by kind of alert and key, the requests until the key was flagged.
        campaigns: by id, the members in the campaign's last alert.
    """

    smallest: dict[str, Floats] = field(default_factory=dict)
    flagged: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    campaigns: dict[str, set[str]] = field(default_factory=dict)
    _requests: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # by evaluation

    def __call__(self, evaluation: Evaluation) -> None:
        p = np.stack([finding.p for finding in evaluation.findings], axis=1)
        requests = evaluation.profile["requests"].tolist()
        rows = zip(evaluation.keys, evaluation.ts.tolist(), p, requests, strict=True)
        for key, ts, row, count in compress(rows, evaluation.of_keys):
            before = self.smallest.get(key)
            self.smallest[key] = row if before is None else np.minimum(before, row)
            self._requests.setdefault(key, []).append((ts, count))

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        """Add the alerts of one batch, after its evaluations."""
        for alert in alerts:
            if alert.state == "resolved" or alert.severity == "info":
                continue
            if alert.subject.type in ("account", "end_user"):  # not among the labelled keys
                continue
            keys = [alert.subject.id]
            if alert.subject.type == "campaign":
                keys = alert.subject.members
                self.campaigns[alert.subject.id] = set(keys)
            for key in keys:
                for kind in (alert.kind, ANY):
                    if key not in self.flagged[kind]:
                        self.flagged[kind][key] = self._requests_until(key, alert.detected_at)
        for counts in self._requests.values():
            del counts[:-1]  # campaign alerts come between evaluations and need the last one

    def _requests_until(self, key: str, at: float) -> int:
        """The requests of a key at its last evaluation up to `at`, in seconds since the epoch."""
        counts = self._requests.get(key, [])
        return next((count for ts, count in reversed(counts) if ts <= at), 0)


class LabelledReplay(NamedTuple):
    """The state after a replay of labelled traffic.

    Attributes:
        keys: the labelled API keys seen.
        labels: their labels.
        records: their final records, `(n,) RECORD`.
        baseline: the final baseline.
        requests: number of requests.
        unlabelled: number of keys without a label.
    """

    keys: list[str]
    labels: list[Label]
    records: Records
    log: ReplayLog
    baseline: Baseline
    requests: int
    unlabelled: int

    @property
    def hours(self) -> float:
        seen = self.records["last_seen"].max() - self.records["first_seen"].min()
        return float(seen) / HOUR

    @property
    def days(self) -> float:
        return max(self.hours * HOUR / DAY, 1.0)


def replay_labelled(
    file: str,
    labels: Mapping[str, Label],
    settings: Settings,
    *,
    ordinary_keys: Container[str] = frozenset(),
    progress: Progress = no_progress,
) -> LabelledReplay:
    """Replay a file through an engine and a linker, with API keys as pseudonyms.

    Args:
        ordinary_keys: without a label, these are ordinary keys of the class OVERTURNED.

    Raises:
        InputError: the file cannot be read, or no key in it has a label.
    """
    identity = from_settings(settings, plain=True)

    def run(recording: Recording) -> tuple[ReplayLog, Replayed]:
        log = ReplayLog()
        replayed = replay_recording(
            recording,
            settings,
            identity,
            on_evaluation=log,
            on_outcome=lambda outcome: log.add_alerts(outcome.alerts),
        )
        return log, replayed

    log, replayed = Recording([file], Decoder.of(settings), progress=progress).run(run)
    if replayed.damage is not None:
        raise replayed.damage
    store, engine, summary = replayed.store, replayed.engine, replayed.summary
    if not summary.read:
        raise InputError(summary.rejected.why_nothing([file]))
    store.commit(engine.snapshot())
    cleared = (key for key in store.records if key not in labels and key in ordinary_keys)
    labels = {**labels, **dict.fromkeys(cleared, Label(OVERTURNED))}
    found = zip(labels, store.load(list(labels)), strict=True)
    records = {key: read(data) for key, data in found if data is not None}
    if not records:
        raise InputError(
            f"No key in {file} has a label. Name the labels file of this traffic with --labels."
        )
    return LabelledReplay(
        list(records),
        [labels[key] for key in records],
        np.array(list(records.values()), RECORD),
        log,
        engine.partitions[PARTITION].baseline,
        summary.events,
        len(store.records) - len(records),
    )

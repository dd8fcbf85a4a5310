"""Record during a replay what explains one key."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.detectors.base import Evaluation
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.records.baseline import Baseline
from monitor.records.migrations import read
from monitor.store.base import name_in
from monitor.store.memory import MemoryStore
from pipelines.inspect.key import Explanation, explain_record, ordinary_records


class KeyTrace:
    """Records one key during a replay, with each detector's most improbable evaluation of it.

    Attributes:
        alerts: all alerts about the key.
        evaluations: by detector, the time, record and baseline of its most improbable evaluation.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.alerts: list[Alert] = []
        self.evaluations: dict[str, tuple[float, np.void, Baseline]] = {}
        self._smallest = {detector.name: 1.0 for detector in ALL_DETECTORS}
        self._decision: Decision | None = None
        self._baseline: Baseline | None = None

    def __call__(self, evaluation: Evaluation) -> None:
        """Record an evaluation, as the engine's `on_evaluation`."""
        for i in (i for i, key in enumerate(evaluation.keys) if key == self.key):
            for detector, finding in zip(ALL_DETECTORS, evaluation.findings, strict=True):
                p, before = float(finding.p[i]), self._smallest[detector.name]
                if p < before or before == 1.0:
                    self._smallest[detector.name] = p
                    record = evaluation.profile.records[i].copy()
                    seen = float(evaluation.ts[i]), record, self._copy_of_day(evaluation.baseline)
                    self.evaluations[detector.name] = seen

    def _copy_of_day(self, baseline: Baseline) -> Baseline:
        """A copy of the baseline in use, which changes once a day."""
        if self._baseline is None or self._baseline.day != baseline.day:
            self._baseline = copy.deepcopy(baseline)
        return self._baseline

    def record(self, outcome: Outcome) -> None:
        """Record the alerts and decisions of one batch."""
        self.alerts += [alert for alert in outcome.alerts if alert.subject.id == self.key]
        for decision in outcome.decisions:
            if decision.key == self.key:
                self._decision = decision

    def explain(self, engine: Engine, store: MemoryStore, settings: Settings) -> Explanation:
        """Explain the key after the replay.

        Raises:
            InputError: if the replay had no request of the key.
        """
        store.commit(engine.snapshot())
        (partition,) = engine.partitions.values()
        names = (self.key, name_in(partition.name, self.key))  # the second is an account's
        data = next((store.records[name] for name in names if name in store.records), None)
        if data is None:
            raise InputError(
                f"No request in these files is from {self.key}. Name the key as alerts do, under "
                "the same XM_IDENTITY_SECRET, or as in the files with --plain-keys."
            )
        return explain_record(
            self.key,
            read(data),
            partition.baseline,
            settings,
            partition="this replay",
            others=ordinary_records(self._others(store)),
            decision=self._decision,
            now=partition.watermark,
            shadow=settings.decisions.shadow,
            alerts=self.alerts,
            replay=True,
            evaluations=self.evaluations,
        )

    def _others(self, store: MemoryStore) -> Iterator[np.void]:
        return (read(data) for key, data in store.records.items() if key != self.key)

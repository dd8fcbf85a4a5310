"""Explaining one key: as its record in Redis stands, or as a replay saw it at its most remarkable.

Nothing is claimed or written, so it disturbs no worker.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice

import numpy as np

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.detectors import JUDGES
from monitor.detectors.base import Evaluation
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.partition import Partition
from monitor.records.baseline import Baseline, load_reference
from monitor.records.migrations import read
from monitor.store import inventory
from monitor.store.memory import MemoryStore
from monitor.store.redis import RedisStore
from pipelines.inspect.key import Explanation, explain, ordinary

_PAGES = 10  # of records, among which there are enough other keys


def live(store: RedisStore, key: str, settings: Settings) -> Explanation | None:
    """Explain a key whose record is in Redis; `None` if it is not."""
    found = _find(store, key, settings)
    if found is None:
        return None
    record, partition = found
    pages = islice(inventory.pages(store.server), _PAGES)
    others = (read(data) for page in pages for name, data in page if name != key)
    return explain(
        key,
        record,
        partition.baseline,
        settings,
        whose=partition.name,
        others=ordinary(others),
        decision=store.decision(key),
        shadow=store.shadow(),
    )


def _find(store: RedisStore, key: str, settings: Settings) -> tuple[np.void, Partition] | None:
    """A key's record, and its partition: where it has open alerts, or else any that may be it.

    Without the API key nobody knows its partition. Each has a public of its own, but all are fair
    samples of one.
    """
    found = None
    reference = load_reference(settings.reference)
    for name in sorted(store.baselines()):
        (data,), state = store.load(store.names(name, [key])), store.state(name)
        if data is None or state is None:
            continue
        partition = Partition(name, 0, reference)
        partition.restore(state)
        if found is None or key in partition.alerted:
            found = read(data), partition
    return found


class KeyTrace:
    """Keeps, of one key in a replay, what each detector saw when it found it most improbable.

    Attributes:
        alerts: all that was said of the key.
        looks: by detector, when it was and what it saw.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.alerts: list[Alert] = []
        self.looks: dict[str, tuple[float, np.void, Baseline]] = {}
        self._smallest = {detector.name: 1.0 for detector in JUDGES}
        self._decision: Decision | None = None
        self._public: Baseline | None = None

    def __call__(self, looks: Evaluation) -> None:
        for i in (i for i, key in enumerate(looks.keys) if key == self.key):
            for detector, finding in zip(JUDGES, looks.findings, strict=True):
                p, before = float(finding.p[i]), self._smallest[detector.name]
                if p < before or before == 1.0:
                    self._smallest[detector.name] = p
                    record = looks.profile.records[i].copy()
                    seen = float(looks.ts[i]), record, self._of_the_day(looks.baseline)
                    self.looks[detector.name] = seen

    def _of_the_day(self, baseline: Baseline) -> Baseline:
        """What judges today: it changes when a day is over."""
        if self._public is None or self._public.day != baseline.day:
            self._public = copy.deepcopy(baseline)
        return self._public

    def hear(self, outcome: Outcome) -> None:
        """Take what came of the looks."""
        self.alerts += [alert for alert in outcome.alerts if alert.subject.id == self.key]
        for decision in outcome.decisions:
            if decision.key == self.key:
                self._decision = decision

    def tell(self, engine: Engine, store: MemoryStore, settings: Settings) -> Explanation:
        """Explain the key, once the replay is over.

        Raises:
            InputError: if it was not in it.
        """
        store.commit(engine.checkpoint())
        if self.key not in store.records:
            raise InputError(
                f"{self.key} is in none of these requests: name a key as the alerts do, which "
                "takes the same XM_IDENTITY_SECRET, or as it is in the files with --plain-keys."
            )
        (partition,) = engine.partitions.values()
        decision = self._decision
        if decision and decision.until <= partition.watermark:
            decision = None
        return explain(
            self.key,
            read(store.records[self.key]),
            partition.baseline,
            settings,
            whose="this replay",
            others=ordinary(self._others(store)),
            decision=decision,
            shadow=settings.decisions.shadow,
            alerts=self.alerts,
            looks=self.looks,
        )

    def _others(self, store: MemoryStore) -> Iterator[np.void]:
        return (read(data) for key, data in store.records.items() if key != self.key)

"""Load the data that explains one key: from Redis, or recorded during a replay.

Reading from Redis makes no claim and writes nothing, so workers are not affected.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.detectors.base import Evaluation
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import ACCOUNT_PREFIX
from monitor.partition import Partition
from monitor.records.baseline import Baseline, load_reference
from monitor.records.migrations import read
from monitor.store import inventory
from monitor.store.alert_book import AlertBook
from monitor.store.base import name_in
from monitor.store.control import ControlStore
from monitor.store.memory import MemoryStore
from pipelines.inspect.campaigns import link_partitions
from pipelines.inspect.decisions import enforced, enforcement
from pipelines.inspect.key import Explanation, Membership, explain_record, ordinary_records

if TYPE_CHECKING:
    from monitor.store.redis import RedisStore

_MOST_ALERTS = 50_000  # of the alert book, that are looked through
_PAGES = 10  # of records: enough to find other keys for comparison


def explain_stored(store: RedisStore, key: str, settings: Settings) -> Explanation | None:
    """Explain a key whose record is in Redis; `None` without a record."""
    found = find_record(store, key, settings)
    if found is None:
        return None
    record, partition = found
    pages = islice(inventory.pages(store.server), _PAGES)
    others = (read(data) for page in pages for name, data in page if name != key)
    control, setting, now = ControlStore(settings.redis_url).read(), store.shadow(), time.time()
    applies, why = enforced(store.in_force([key])[0], control, setting, now)
    return explain_record(
        key,
        record,
        partition.baseline,
        settings,
        partition=partition.name,
        others=ordinary_records(others),
        decision=applies.decision,
        now=now,
        shadow=enforcement(control, setting, now).shadow,
        applies=applies.action,
        why=why,
        campaigns=_campaigns(store, key, settings),
        alerts=_alerts(settings, key),
    )


def find_record(
    store: RedisStore, key: str, settings: Settings
) -> tuple[np.void, Partition] | None:
    """A key's record and its partition: the one with its open alerts, or else any candidate.

    The partition follows from the API key, not from its pseudonym. Any partition's baseline will
    do: each has its own, learned from a fair sample of the same traffic.
    """
    found = None
    reference = load_reference(settings.reference)
    for name in sorted(store.baselines()):
        own = key.startswith(ACCOUNT_PREFIX)  # each partition has its own record of an account
        names = [name_in(name, key)] if own else store.names(name, [key])
        (data,), state = store.load(names), store.state(name)
        if data is None or state is None:
            continue
        partition = Partition(name, 0, reference)
        partition.restore(state)
        if found is None or key in partition.alerted:
            found = read(data), partition
    return found


def _campaigns(store: RedisStore, key: str, settings: Settings) -> list[Membership]:
    """The open campaigns with this member. Reads the linker's state, not its rows."""
    return [
        Membership(campaign.id, campaign.severity, campaign.opened, len(campaign.named))
        for partition in link_partitions(store, settings)
        for campaign in partition.rounds.campaigns
        if campaign.opened and key in campaign.named
    ]


def _alerts(settings: Settings, key: str) -> list[Alert]:
    """The alerts on a key that are open or ended in the last days, in the order of time."""
    entries = islice(AlertBook(settings.redis_url).entries(), _MOST_ALERTS)
    found = [entry.alert for entry in entries if entry.alert.subject.id == key]
    return sorted(found, key=lambda alert: alert.detected_at)


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

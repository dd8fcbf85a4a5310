"""Gauges of reviews, which every worker that delivers sets to the same numbers."""

from __future__ import annotations

import time

from monitor.alerting.enforcement import CAMPAIGN
from monitor.config import Settings
from monitor.detectors import ALERT_KINDS
from monitor.evidence.ring import Ring
from monitor.evidence.store import CaseStore
from monitor.metrics import Metrics
from monitor.store.control import ControlStore
from pipelines.cases.review.appeals import waiting, withdrawn_lately

_TIMEOUT = 2.0  # seconds to wait for an answer of Redis


class ReviewGauges:
    """Reads Redis and sets the gauges.

    Args:
        settings: of the worker.
        metrics: has the gauges.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._answer_days = settings.cases.answer_days
        self._cases = CaseStore(settings.redis_url, Ring([]), timeout=_TIMEOUT)
        self._control = ControlStore(settings.redis_url, _TIMEOUT)
        self._metrics = metrics

    def update(self) -> None:
        """Set the gauges.

        Raises:
            StoreError: if Redis does not answer.
        """
        now = time.time()
        withdrawn = withdrawn_lately(self._control.read(), now)
        for kind in {*ALERT_KINDS, CAMPAIGN, *withdrawn}:
            self._metrics.withdrawn.labels(kind).set(withdrawn[kind])
        appeals = waiting(self._cases.rows(), self._answer_days)
        self._metrics.appeals.set(len(appeals))
        self._metrics.overdue_appeals.set(sum(each.is_overdue(now) for each in appeals))

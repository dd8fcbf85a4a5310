"""Gauges that show where a stream stands: lag, watermark and open alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from monitor.alerting.alerts import Severity
from monitor.metrics import Metrics
from monitor.operator import StreamOperator


class Progress(NamedTuple):
    """The values of the gauges, copied in the operator's thread.

    Attributes:
        open_alerts: by kind and severity.
        partitions: offset and watermark of each partition by its name.
        unsaved: changed records that the store does not have, of those in memory at most.
        drift: from the reference by statistic, a population stability index.
    """

    open_alerts: Counter[tuple[str, Severity]]
    partitions: dict[str, tuple[int, float]]
    unsaved: float
    drift: Mapping[str, float]

    @classmethod
    def of(cls, operator: StreamOperator) -> Progress:
        """Call it in the operator's thread."""
        partitions = operator.partitions.items()
        return cls(
            operator.open_alerts(),
            {name: (p.offset, p.watermark) for name, p in partitions},
            operator.unsaved_share,
            operator.drift,
        )


class Gauges:
    """Sets the gauges of one input topic."""

    def __init__(self, metrics: Metrics, topic: str) -> None:
        self._metrics = metrics
        self._topic = topic
        self._numbers: set[int] = set()  # partitions with gauges
        self._kinds: set[tuple[str, Severity]] = set()  # that have had open alerts

    def set(self, progress: Progress, lags: dict[int, int]) -> None:
        """Set the gauges of the assigned partitions.

        Args:
            progress: of the operator.
            lags: messages that are not observed, by number of an assigned partition.
        """
        self._metrics.unsaved.labels(self._topic).set(progress.unsaved)
        alerts = progress.open_alerts
        for kind, severity in self._kinds | alerts.keys():
            self._metrics.open_alerts.labels(kind, severity).set(alerts[kind, severity])
        self._kinds |= alerts.keys()
        for number, lag in lags.items():
            _, watermark = progress.partitions[f"{self._topic}:{number}"]
            self._numbers.add(number)
            self._metrics.lag.labels(self._topic, number).set(lag)
            if watermark:  # 0 before the first event, which would read as half a century ago
                self._metrics.watermark.labels(self._topic, number).set(watermark)

    def clear(self) -> None:
        """Remove the gauges of all partitions: another worker shows them from now on."""
        for number in self._numbers:
            self._metrics.lag.remove(self._topic, number)
            with suppress(KeyError):  # no event came
                self._metrics.watermark.remove(self._topic, number)
        self._numbers.clear()

"""Gauges that are computed from state: drift, flagged subjects and campaigns.

They are computed every few seconds, not with each batch. They read what is in memory and change
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from monitor.alerting.alerts import SEVERITIES, WARNING, Severity
from monitor.campaigns.campaign import Campaign
from monitor.config import Settings
from monitor.detectors import Combined
from monitor.metrics import Metrics
from monitor.metrics.drift import Drift
from monitor.metrics.subjects import SubjectSeries, SubjectState
from monitor.partition import Partition
from monitor.records.baseline import Reference
from monitor.records.profile import BINS, LEVELS, Profile, Records, copies
from monitor.records.volume import last_hour
from monitor.store.table import Table
from monitor.subjects import Subjects

_NATS = "_nats"  # end of the names of evidence


class EngineGauges:
    """Sets the gauges of one engine.

    Args:
        settings: has the thresholds, and the number of subjects with series.
        reference: of the baselines.
        combined: all detectors.
        subjects: of the engine.
        table: of the engine.
        metrics: are set.
    """

    def __init__(
        self,
        settings: Settings,
        reference: Reference,
        combined: Combined,
        subjects: Subjects,
        table: Table,
        metrics: Metrics,
    ) -> None:
        self._limit = settings.subject_series
        self._combined, self._subjects, self._table = combined, subjects, table
        self._drift = Drift(reference.peaks)
        self._metrics = metrics
        for severity in SEVERITIES:
            share = getattr(settings.detection, severity)
            metrics.thresholds.labels(severity).set(share)

    def update(self, partitions: Mapping[str, Partition]) -> dict[str, float]:
        """Set all gauges.

        Returns:
            drift from the reference by statistic, of past days or, before the first, of today.
        """
        past, today = np.zeros((LEVELS, BINS)), np.zeros((LEVELS, BINS))
        for partition in partitions.values():
            past += partition.baseline.past
            today += partition.baseline.today
        of_past = self._metrics.set_drift(self._drift, "past", past)
        of_today = self._metrics.set_drift(self._drift, "today", today)
        series = self._metrics.subjects
        chosen = series.choose(flagged(partitions.values()), self._limit) if self._limit else []
        states = (self._states(each, chosen) for each in partitions.values())
        series.replace([state for part in states for state in part])
        return of_past if past.any() else of_today

    def _states(self, partition: Partition, chosen: Sequence[str]) -> Iterator[SubjectState]:
        ids = [id for id in chosen if id in partition.alerted]
        rows = self._subjects.in_memory(partition, ids)
        found = np.flatnonzero(rows >= 0).tolist()
        if found:
            records = copies(self._table.records, rows[found])
            yield from states_of(partition, [ids[i] for i in found], records, self._combined)


def open_alerts(partitions: Iterable[Partition]) -> Counter[tuple[str, Severity]]:
    """The number of open alerts by kind and severity."""
    return Counter(
        each
        for partition in partitions
        for open_alerts in partition.alerted.values()
        for each in open_alerts
    )


def severity_of(open_alerts: Iterable[tuple[str, Severity]]) -> int:
    """The severest of some open alerts: its position in SEVERITIES, from 1; 0 without any."""
    return max((SEVERITIES.index(severity) + 1 for _, severity in open_alerts), default=0)


def flagged(partitions: Iterable[Partition]) -> dict[str, int]:
    """The severity of all subjects with an open warning or critical alert."""
    return {
        id: severity
        for partition in partitions
        for id, open_alerts in partition.alerted.items()
        if (severity := severity_of(open_alerts)) >= WARNING
    }


def states_of(
    partition: Partition, ids: Sequence[str], records: Records, combined: Combined
) -> Iterator[SubjectState]:
    """The states of some subjects of a partition.

    Args:
        ids: n subjects with open alerts.
        records: copies of theirs, `(n,) RECORD`.
        combined: all detectors.
    """
    findings, _ = combined.evaluate(Profile(records), partition.baseline)
    names = [*(part.name for part in combined.parts), combined.name]
    nats = -np.log([finding.p for finding in findings])
    requests, tokens = last_hour(records, partition.watermark)
    for i, id in enumerate(ids):
        yield SubjectState(
            id,
            partition.subject(id).type,
            severity_of(partition.alerted[id]),
            float(requests[i]),
            float(tokens[i]),
            1,
            dict(zip(names, nats[:, i].tolist(), strict=True)),
        )


def show_campaigns(series: SubjectSeries, groups: Iterable[Sequence[Campaign]], limit: int) -> None:
    """Show the open campaigns of some partitions, at most `limit` of them."""
    campaigns = {
        each.id: each
        for group in groups
        for each in group
        if each.opened and not each.ended and each.severity != "info"
    }
    severities = {id: severity_of([("", each.severity)]) for id, each in campaigns.items()}
    chosen = series.choose(severities, limit) if limit else []
    series.replace([_state_of_campaign(campaigns[id]) for id in chosen])


def _state_of_campaign(campaign: Campaign) -> SubjectState:
    nats = {
        name.removesuffix(_NATS): value
        for name, value in campaign.evidence.items()
        if name.endswith(_NATS)
    }
    return SubjectState(
        campaign.id,
        "campaign",
        severity_of([("", campaign.severity)]),
        campaign.evidence.get("requests", 0.0),
        campaign.evidence.get("tokens", 0.0),
        len(campaign.named),
        nats,
    )

"""Subjects: series of a few subjects with open alerts, for the dashboard of an investigation.

A label per key would need as many series as there are keys, and a client can make keys. So only
subjects with an open warning or critical alert have series: at most XM_SUBJECT_SERIES per process
at a time, and at most NEW_PER_HOUR times as many new ones per hour, whatever the number of keys and
of attackers. The severest come first. A subject that is shown stays until its alerts resolve or
severer ones need its place. All others are in `xm keys` and `xm explain`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

NEW_PER_HOUR = 4  # times the limit: a bound on the series of a day
_HOUR = 3600.0


class SubjectState(NamedTuple):
    """What the series of a subject show.

    Attributes:
        type: as in alerts.
        severity: of its severest open alert, 2 for warning, 3 for critical.
        requests: of the last hour; of a campaign, of all members so far.
        tokens: as requests.
        members: of a campaign; else 1.
        evidence: nats by detector, or of a campaign by kind of evidence.
    """

    id: str
    type: str
    severity: int
    requests: float
    tokens: float
    members: int
    evidence: Mapping[str, float]


class SubjectSeries(Collector):
    """The series of the subjects that are shown.

    Args:
        registry: that collects them.
        clock: seconds; for the limit of new subjects.
    """

    def __init__(
        self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._shown: list[str] = []
        self._states: Sequence[SubjectState] = ()
        self._begun: deque[float] = deque()  # when subjects of the last hour were first shown
        registry.register(self)

    def choose(self, severities: Mapping[str, int], limit: int) -> list[str]:
        """The subjects to show now.

        Args:
            severities: of all subjects with an open warning or critical alert.
            limit: number of subjects, each of which has about a dozen series.
        """
        now = self._clock()
        while self._begun and now - self._begun[0] >= _HOUR:
            self._begun.popleft()
        before = [id for id in self._shown if id in severities]
        ranked = sorted(before, key=lambda id: -severities[id])[:limit]
        least = severities[ranked[-1]] if len(ranked) >= limit and ranked else 0
        known, spare = set(ranked), NEW_PER_HOUR * limit - len(self._begun)
        new = [id for id, found in severities.items() if found > least and id not in known]
        new = sorted(new, key=lambda id: -severities[id])[: min(max(spare, 0), limit)]
        chosen = sorted([*ranked, *new], key=lambda id: -severities[id])[:limit]
        self._begun.extend([now] * len(set(chosen) - known))
        self._shown = chosen
        return chosen

    def replace(self, states: Sequence[SubjectState]) -> None:
        """Show these states of chosen subjects, and no others."""
        self._states = states

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples."""
        yield from _families(()).values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families with the samples of the subjects that are shown."""
        yield from _families(self._states).values()


def _families(states: Sequence[SubjectState]) -> dict[str, GaugeMetricFamily]:
    families = {
        name: GaugeMetricFamily(f"xm_subject_{name}", text, labels=("subject", *labels))
        for name, text, labels in (
            ("severity", "Severest open alert: 2 is a warning, 3 is critical.", ("type",)),
            ("requests", "Requests of the last hour; of a campaign, of its members so far.", ()),
            ("tokens", "Tokens of the last hour; of a campaign, of its members so far.", ()),
            ("members", "Keys of a campaign; 1 for others.", ()),
            ("evidence_nats", "Evidence by detector, or by kind for a campaign.", ("source",)),
        )
    }
    for state in states:
        families["severity"].add_metric([state.id, state.type], state.severity)
        families["requests"].add_metric([state.id], state.requests)
        families["tokens"].add_metric([state.id], state.tokens)
        families["members"].add_metric([state.id], state.members)
        for source, nats in state.evidence.items():
            families["evidence_nats"].add_metric([state.id, source], nats)
    return families

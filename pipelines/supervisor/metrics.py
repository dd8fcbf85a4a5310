"""One metrics page for several processes.

Counters, histograms and most gauges are sums over the processes. Metrics of a process itself, such
as its memory, get a label `process`. `_COMBINED` has the gauges of which no sum is meaningful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_OWN = ("process_", "python_")
_COMBINED: dict[str, Callable[[float, float], float]] = {
    "xm_checkpoint_timestamp_seconds": min,  # the process that is behind
    "xm_public_squared_error": max,
    "xm_unsaved_ratio": max,
    "xm_build_info": max,
    "xm_unknown_variables": max,
    "xm_drift_psi": max,
    "xm_alert_threshold_ratio": max,
    "xm_subject_severity": max,
    "xm_subject_members": max,
    "xm_subject_evidence_nats": max,
}


class _Pages(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def merged(pages: Mapping[str, str]) -> bytes:
    """The metrics of several processes, from their pages by name of the process."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for process, page in pages.items():
        for family in text_string_to_metric_families(page):
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known = values.setdefault(family.name, {})
            own = {"process": process} if family.name.startswith(_OWN) else {}
            for sample in family.samples:
                at = sample.name, tuple({**sample.labels, **own}.items())
                known[at] = (
                    _combine(family.name)(known[at], sample.value) if at in known else sample.value
                )
    for name, family in families.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    registry = CollectorRegistry()
    registry.register(_Pages(families.values()))
    return generate_latest(registry)


def _combine(name: str) -> Callable[[float, float], float]:
    """How two values of a metric are combined."""
    return _COMBINED.get(name, _sum)


def _sum(a: float, b: float) -> float:
    return a + b

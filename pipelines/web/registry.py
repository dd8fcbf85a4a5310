"""A registry with the metrics of the process, as Prometheus clients have them."""

from __future__ import annotations

import platform
from importlib import metadata

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)


def process_registry() -> CollectorRegistry:
    """A new registry that has memory, CPU and garbage collection of this process, and its version.

    From now on counters and histograms of the process have no `_created` series: they would be a
    third of all series, and no query uses them.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    build = Info("xm_build", "Version of extraction-monitor, and of Python.", registry=registry)
    version = metadata.version("extraction-monitor")
    build.info({"version": version, "python": platform.python_version()})
    return registry

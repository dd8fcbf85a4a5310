"""Metrics of a gateway's process: what was decided there, and what became of its events."""

from __future__ import annotations

from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class ClientMetrics:
    """Registered in one registry.

    Args:
        registry: which the gateway's metrics page serves.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "xm_gateway_decisions",
            "Requests by what was done: an action, refused_rate, no_key, unreadable_key, unknown.",
            ["decision"],
            registry=registry,
        )
        self.events = Counter(
            "xm_gateway_events",
            "Request events by outcome: sent, dropped (queue full), refused (by Kafka, too large).",
            ["outcome"],
            registry=registry,
        )
        self.live = Gauge(
            "xm_gateway_feed_live",
            "1 while the copy of decisions follows the monitor's feed.",
            registry=registry,
        )


@cache
def shared_metrics() -> ClientMetrics:
    """The metrics in prometheus_client's default registry, which most applications serve."""
    return ClientMetrics(REGISTRY)

"""Prometheus metrics of `xm forward`. No label carries a key."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from monitor.requests.reasons import IGNORED, REASONS

SOURCES = ("file", "object", "otlp", "upload")


class ForwardMetrics:
    """All metrics of a forwarder.

    Args:
        registry: default: a private one.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry() if registry is None else registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        self.requests = counter("xm_forward_requests", "Requests read, by source.", "source")
        self.unreadable = counter(
            "xm_forward_unreadable", "Elements sent that the worker rejects, by reason.", "reason"
        )
        self.ignored = counter(
            "xm_forward_ignored", "Records not sent because they are no requests.", "reason"
        )
        self.answers = counter(
            "xm_forward_answers", "Answers to OTLP exports and uploads.", "path", "status"
        )
        self.sent = counter("xm_forward_sent_messages", "Messages that Kafka has acknowledged.")
        self.refused = counter(
            "xm_forward_refused_messages", "Messages larger than the topic accepts, given up."
        )
        self.spool_messages = gauge("xm_forward_spool_messages", "Messages that wait for Kafka.")
        self.spool_bytes = gauge("xm_forward_spool_bytes", "Bytes that wait for Kafka.")
        self.spool_limit = gauge("xm_forward_spool_limit_bytes", "Bytes that the spool may hold.")
        self.unread = gauge("xm_forward_unread_bytes", "Bytes of log files not read yet.")
        for source in SOURCES:
            self.requests.labels(source)
        for reason in REASONS:
            self.unreadable.labels(reason)
        for why in IGNORED:
            self.ignored.labels(why)

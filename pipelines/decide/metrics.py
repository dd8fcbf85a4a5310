"""Metrics of the decision service. A worker registers them with its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from monitor.alerting.alerts import ACTIONS

LABELS = (*ACTIONS, "unknown", "no_key", "unreadable_key")
HOLDS = ("kill", "allowed", "withdrawn", "shadow", "capped")  # why decisions are held back
SWITCHES = ("kill", "shadow", "caps_lifted")
REFUSALS = ("token", "right", "rate")


class LookupMetrics:
    """All metrics of look-ups, registered in one registry.

    Args:
        registry: default: a private one.

    Attributes:
        registry: what a metrics page serves.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry() if registry is None else registry
        self.lookups = Counter(
            "xm_decision_lookups",
            "Decisions that gateways looked up.",
            ["action"],
            registry=registry,
        )
        self.refused = Counter(
            "xm_refused_calls",
            "Calls of the decision service that were not permitted.",
            ["reason"],
            registry=registry,
        )
        self.switches = Gauge(
            "xm_switch",
            "Whether kill switch or shadow mode is on, or the caps are lifted, for all.",
            ["switch"],
            registry=registry,
        )
        self.enforcing = Gauge(
            "xm_enforcing",
            "1 while decisions are enforced, 0 in shadow mode or under the kill switch.",
            registry=registry,
        )
        self.enforced = Gauge(
            "xm_enforced_decisions",
            "Subjects on which a decision is enforced, by action.",
            ["action"],
            registry=registry,
        )
        self.held_back = Gauge(
            "xm_held_back_decisions",
            "Subjects on which less is enforced than was decided, by reason.",
            ["why"],
            registry=registry,
        )
        for label in LABELS:
            self.lookups.labels(label)
        for reason in REFUSALS:
            self.refused.labels(reason)
        for switch in SWITCHES:
            self.switches.labels(switch)
        for action in ACTIONS[1:]:
            self.enforced.labels(action)
        for why in HOLDS:
            self.held_back.labels(why)
        self.copy_age = Gauge(
            "xm_decision_copy_age_seconds",
            "Seconds since Redis confirmed the copy of the decisions.",
            registry=registry,
        )
        self.subjects = Gauge(
            "xm_decision_subjects", "Subjects with a decision in the copy.", registry=registry
        )
        self.feeds = Gauge("xm_decision_feeds", "Clients of the change feed.", registry=registry)

"""The metric families of a process that observes requests or delivers alerts."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from monitor.alerting.alerts import ACTIONS, SEVERITIES, State
from monitor.batch import Outcome
from monitor.detectors import ALL_DETECTORS
from monitor.metrics.drift import PERIODS, STATISTICS, Counts, Drift, Period
from monitor.metrics.subjects import SubjectSeries
from monitor.requests import status
from monitor.requests.parsing.fields import PARSERS
from monitor.requests.reasons import IGNORED, REASONS

_MESSAGES = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000)
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ALERT_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60)
_PARTITION = ("topic", "partition")


class Metrics:
    """All metrics, registered in one registry.

    Args:
        registry: default: a private one, for a library user who serves no metrics.

    Attributes:
        registry: what a metrics page serves.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry() if registry is None else registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def seconds(name: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(name, text, registry=registry, buckets=buckets)

        # Requests
        self.events = counter("xm_events", "Requests observed.")
        self.repeated = counter("xm_repeated_events", "Requests skipped as repeated messages.")
        self.unkeyed = counter(
            "xm_unkeyed_messages", "Messages without a Kafka key, by topic.", "topic"
        )
        self.reused_ids = counter("xm_reused_ids", "Requests whose id another request had.")
        self.late = counter(
            "xm_late_requests", "Requests that came too late and count at the watermark."
        )
        self.refused = counter(
            "xm_refused_requests",
            "Requests answered with 401, 403, 429 or 5xx; they are not evaluated.",
            "status",
        )
        self.unreadable = counter(
            "xm_unreadable_fields",
            "Requests read without a field that is unreadable.",
            "field",
        )
        self.ignored = counter(
            "xm_ignored_records",
            "Records that are no request of their own, by reason.",
            "reason",
        )
        self.without_prompt = counter(
            "xm_requests_without_prompt", "Requests without any text. Does the log record prompts?"
        )
        self.unread = counter(
            "xm_unread_prompts", "Prompts counted but not read: of fast keys, and of settled ones."
        )
        self.responses = counter(
            "xm_sketched_responses",
            "Responses of which a sketch was made, of flagged keys and others.",
        )
        self.rejections = counter("xm_rejections", "Requests rejected, by reason.", "reason")
        self.batch_size = Histogram(
            "xm_batch_size", "Kafka messages per batch.", registry=registry, buckets=_MESSAGES
        )
        self.observe_seconds = seconds("xm_observe_seconds", "Time to observe a batch, seconds.")
        self.lag = gauge("xm_lag", "Kafka messages after the last observed one.", *_PARTITION)
        self.watermark = gauge(
            "xm_watermark_timestamp_seconds", "Event time reached, epoch seconds.", *_PARTITION
        )
        self.live_keys = gauge("xm_live_keys", "Key records in this worker's memory.")
        self.baseline_keys = gauge(
            "xm_public_keys", "Keys in the baseline mean, each counted once per day."
        )
        self.baseline_error = gauge(
            "xm_public_squared_error", "Expected squared error of the baseline mean."
        )

        self.unknown_variables = gauge(
            "xm_unknown_variables", "XM_* variables of the environment that are not settings."
        )
        self.drift = gauge(
            "xm_drift_psi",
            "Population stability index of the keys' daily peaks against the reference.",
            "statistic",
            "period",
        )
        self.drift_keys = gauge(
            "xm_drift_keys", "Keys behind the index, each counted once per day.", "period"
        )

        # Alerts and decisions
        self.thresholds = gauge(
            "xm_alert_threshold_ratio",
            "Share of ordinary keys per day and detector that may reach a severity.",
            "severity",
        )
        self.subjects = SubjectSeries(registry)
        self.findings = counter("xm_findings", "Evaluations that flagged a key.", "detector")
        self.alerts = counter("xm_alerts", "Alert messages.", "kind", "severity", "state")
        self.open_alerts = gauge("xm_open_alerts", "Open alerts.", "kind", "severity")
        self.alert_seconds = seconds(
            "xm_event_to_alert_seconds",
            "Time from a request's arrival in Kafka to its alert in Kafka, seconds.",
            _ALERT_SECONDS,
        )
        self.decisions = counter("xm_decisions", "Decisions made.", "action")
        self.capped = counter("xm_capped_decisions", "Decisions held back by the caps of an hour.")
        self.deliveries = counter(
            "xm_deliveries", "Alerts sent to a receiver.", "receiver", "outcome"
        )
        self.undelivered = gauge(
            "xm_undelivered_alerts", "Alerts waiting for a receiver.", "receiver"
        )
        self.receiver_up = gauge(
            "xm_receiver_up", "Whether a receiver accepts alerts, 1 or 0.", "receiver"
        )

        # Reviews
        self.withdrawn = gauge(
            "xm_withdrawn_alerts",
            "Alerts of the last 30 days that people withdrew as no attack.",
            "kind",
        )
        self.appeals = gauge("xm_appeals_waiting", "Appeals without a ruling.")
        self.overdue_appeals = gauge("xm_appeals_overdue", "Of these, those that are overdue.")

        # Campaigns
        self.fingerprints = counter("xm_fingerprints", "Key fingerprints observed.")
        self.linked_keys = gauge("xm_linked_keys", "Keys in the campaign population.")
        self.held_fingerprints = gauge(
            "xm_held_fingerprints", "Key fingerprints that wait for a round of the linker."
        )
        self.late_fingerprints = counter(
            "xm_late_fingerprints", "Key fingerprints that came after their round of the linker."
        )
        self.link_seconds = seconds("xm_link_seconds", "Time of a linking round, seconds.")

        # Cases
        self.cases_open = gauge("xm_cases_open", "Open cases.")
        self.case_bytes = gauge("xm_case_bytes", "Bytes of all cases in Redis.")
        self.case_entries = counter("xm_case_entries", "Entries written to cases.", "kind")
        self.case_limits = counter(
            "xm_case_limits", "Times that the monitor wrote nothing because of a limit.", "limit"
        )
        self.case_restored = counter(
            "xm_case_restored_entries", "Entries that Redis had lost, from Kafka."
        )
        self.case_uncopied = gauge("xm_case_uncopied_entries", "Entries that Kafka lacks.")

        # Sharing
        self.shared_hashes = counter(
            "xm_shared_hashes", "Identifiers that were hashed for partners."
        )
        self.unshared = counter(
            "xm_unshared_requests", "Requests that had no room to be hashed for partners."
        )

        # Checkpoints
        self.checkpoint_seconds = seconds(
            "xm_checkpoint_seconds", "Time to write a checkpoint, seconds."
        )
        self.checkpoint_records = counter(
            "xm_checkpoint_records", "Key records written by checkpoints."
        )
        self.early_checkpoints = counter(
            "xm_early_checkpoints", "Checkpoints of alerts and decisions without records."
        )
        self.unsaved = gauge(
            "xm_unsaved_ratio", "Changed records that Redis does not have yet, of XM_ROWS.", "topic"
        )
        self.checkpoint_failures = counter(
            "xm_checkpoint_failures", "Failed store calls of checkpoints and batches."
        )
        self.state_losses = counter(
            "xm_state_losses", "Partitions whose state Redis had lost altogether.", "topic"
        )
        self.checkpoint_timestamp = gauge(
            "xm_checkpoint_timestamp_seconds",
            "Time of the last checkpoint, epoch seconds, by input topic.",
            "topic",
        )
        self._show_zeros()

    def count(self, outcome: Outcome) -> None:
        """Add what one batch gave, its events apart: those of the linker are no requests."""
        self.without_prompt.inc(outcome.without_prompt)
        for by_label, numbers in (
            (self.refused, outcome.refused),
            (self.unreadable, outcome.unreadable),
            (self.ignored, outcome.ignored),
        ):
            for label, number in numbers.items():
                by_label.labels(label).inc(number)
        for rejected in outcome.rejected:
            self.rejections.labels(rejected.rejection.reason).inc()
        for alert in outcome.alerts:
            self.alerts.labels(alert.kind, alert.severity, alert.state).inc()
        for decision in outcome.decisions:
            self.decisions.labels(decision.action).inc()

    def set_drift(self, drift: Drift, period: Period, counts: Counts) -> dict[str, float]:
        """Set the drift of key-days by peak of the day, `(LEVELS, BINS) float64`; return it."""
        self.drift_keys.labels(period).set(float(counts[0].sum()))
        found = dict(zip(STATISTICS, drift(counts).tolist(), strict=True))
        for name, index in found.items():
            self.drift.labels(name, period).set(index)
        return found

    def _show_zeros(self) -> None:
        """Create every known label set at once, so that queries find zeros instead of nothing."""
        for reason in REASONS:
            self.rejections.labels(reason)
        for name in PARSERS.keys() - {"ts", "api_key"}:
            self.unreadable.labels(name)
        for why in IGNORED:
            self.ignored.labels(why)
        for label in status.LABELS:
            self.refused.labels(label)
        for limit in ("most_open", "most_entries", "memory_mb"):
            self.case_limits.labels(limit)
        for name in (detector.name for detector in ALL_DETECTORS):
            self.findings.labels(name)
        for name in (*(detector.name for detector in ALL_DETECTORS), "campaign"):
            for severity in SEVERITIES:
                self.open_alerts.labels(name, severity)
                for state in get_args(State):
                    self.alerts.labels(name, severity, state)
        for action in ACTIONS:
            self.decisions.labels(action)
        for period in PERIODS:
            self.drift_keys.labels(period)
            for name in STATISTICS:
                self.drift.labels(name, period)

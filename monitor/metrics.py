"""The Prometheus metrics, one place. No label carries a key: top-k lists live in the CLI."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from monitor.alerting.alerts import ACTIONS, SEVERITIES, State
from monitor.detectors import JUDGES
from monitor.requests.decoder import REASONS

_BATCH = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000)
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

events = Counter("xm_events", "Requests observed.")
rejections = Counter("xm_rejections", "Requests that could not be used.", ["reason"])
repeated = Counter("xm_repeated_events", "Requests skipped because their id was seen before.")
batch_size = Histogram("xm_batch_size", "Kafka messages in a batch.", buckets=_BATCH)
observe_seconds = Histogram("xm_observe_seconds", "Time to observe a batch.", buckets=_SECONDS)
lag = Gauge("xm_lag", "Messages between the checkpoint and the end.", ["topic", "partition"])
watermark = Gauge("xm_watermark_timestamp_seconds", "Event time reached.", ["topic", "partition"])
alert_seconds = Histogram(
    "xm_event_to_alert_seconds",
    "Time from a request's arrival in Kafka to the alert that it completes.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60),
)
findings = Counter("xm_findings", "Looks at which a detector found something.", ["detector"])
alerts = Counter("xm_alerts", "Alert messages by kind.", ["kind", "severity", "state"])
open_alerts = Gauge("xm_open_alerts", "Alerts that are open.", ["kind", "severity"])
decisions = Counter("xm_decisions", "Decisions made.", ["action"])
decision_lookups = Counter("xm_decision_lookups", "Decisions gateways asked for.", ["action"])
checkpoint_seconds = Histogram(
    "xm_checkpoint_seconds", "Time to write a checkpoint.", buckets=_SECONDS
)
checkpoint_records = Counter("xm_checkpoint_records", "Records written by checkpoints.")
checkpoint_failures = Counter("xm_checkpoint_failures", "Checkpoints that the store refused.")
checkpoint_timestamp = Gauge("xm_checkpoint_timestamp_seconds", "When the last one was written.")
public_key_days = Gauge("xm_public_key_days", "Days of a key behind the public mean.")
public_error = Gauge("xm_public_squared_error", "Expected squared error of the public's meaning.")
live_keys = Gauge("xm_live_keys", "Records in this worker's memory.")
fingerprints = Counter("xm_fingerprints", "Fingerprints of keys taken in to find campaigns.")
linked_keys = Gauge("xm_linked_keys", "Keys among which campaigns are looked for.")
link_seconds = Histogram("xm_link_seconds", "Time of a round of linking.", buckets=_SECONDS)
deliveries = Counter("xm_deliveries", "Alerts handed to a receiver.", ["receiver", "outcome"])
undelivered = Gauge("xm_undelivered_alerts", "Alerts that wait for a receiver.", ["receiver"])


def initialise() -> None:
    """Show every label set that is known from the start at zero, so that no query finds nothing."""
    for reason in REASONS:
        rejections.labels(reason)
    for name in (detector.name for detector in JUDGES):
        findings.labels(name)
    for name in (*(detector.name for detector in JUDGES), "campaign"):
        for severity in SEVERITIES:
            open_alerts.labels(name, severity)
            for state in get_args(State):
                alerts.labels(name, severity, state)
    for action in ACTIONS:
        decisions.labels(action)
        decision_lookups.labels(action)

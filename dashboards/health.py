"""Pipeline health: from Kafka through the detectors to receivers and gateways."""

from __future__ import annotations

from dashboards.panels import Figure, Graph, Heatmap, Panel
from dashboards.queries import (
    EVENTS,
    LAG,
    READ,
    REJECTED,
    by,
    latest,
    metric,
    or_zero,
    per_second,
    quantiles,
    share,
)

_WATERMARK = latest("xm_watermark_timestamp_seconds", "topic, partition")
# The age of what waits: 0 in a partition without lag, however long ago its last request was.
BEHIND = (
    f"max by (topic) (clamp_min(time() - {_WATERMARK}, 0) * on (topic, partition) "
    f"({latest('xm_lag', 'topic, partition')} > bool 0))"
)

ROWS: dict[str, list[Panel]] = {
    "At a glance": [
        Figure(
            "Processes up",
            "Processes that Prometheus can scrape.",
            "none",
            'sum(up{instance=~"$instance", job=~"extraction-monitor.*"})',
            size=(3, 4),
        ),
        Figure("Requests", "All workers together.", "reqps", EVENTS, size=(3, 4)),
        Figure(
            "Lag",
            "Kafka messages not yet processed.",
            "short",
            or_zero(LAG),
            alarm=10_000,
            size=(3, 4),
        ),
        Figure(
            "Behind",
            "Age of the newest processed request, in the partition that is furthest behind, while "
            "messages wait.",
            "s",
            or_zero(f"max({BEHIND})"),
            alarm=60,
            size=(3, 4),
        ),
        Figure(
            "Rejected",
            "Share of requests that cannot be read. They are not monitored.",
            "percentunit",
            share(REJECTED, READ),
            alarm=0.01,
            size=(3, 4),
        ),
        Figure(
            "Last checkpoint",
            "Age of the oldest last checkpoint of all topics.",
            "s",
            f"max(time() - {metric('xm_checkpoint_timestamp_seconds')})",
            alarm=60,
            size=(3, 4),
        ),
        Figure(
            "Unknown settings",
            "XM_* variables of the environment that are no settings, probably misspelt. `xm config "
            "check` names them.",
            "none",
            f"max({metric('xm_unknown_variables')})",
            alarm=1,
            size=(3, 4),
        ),
        Figure(
            "Versions",
            "Versions of extraction-monitor that run. More than one while an upgrade is going on.",
            "none",
            f"count(count by (version) ({metric('xm_build_info')}))",
            alarm=2,
            size=(3, 4),
        ),
    ],
    "Flow": [
        Graph(
            "Requests",
            "Requests observed by each worker.",
            "reqps",
            by("instance", per_second("xm_events_total", "instance")),
            stacked=True,
        ),
        Graph(
            "Lag",
            "Unprocessed messages. Stable is fine; growing means that workers cannot keep up.",
            "short",
            by("topic", f"sum by (topic) ({latest('xm_lag', 'topic, partition')})"),
        ),
        Graph(
            "Event time behind",
            "Age of the newest processed request while messages wait, in the partition that is "
            "furthest behind.",
            "s",
            {"{{topic}}": BEHIND, "all": or_zero(f"max({BEHIND})")},
        ),
        Graph(
            "Busy",
            "Share of time spent on processing requests. Near 100%, add a worker.",
            "percentunit",
            by("instance", per_second("xm_observe_seconds_sum", "instance")),
        ),
        Graph(
            "Batch duration",
            "Time to decode a batch and run the detectors, without Kafka and Redis.",
            "s",
            quantiles("xm_observe_seconds"),
        ),
        Heatmap(
            "Request to alert",
            "Alerts by the time from the arrival of their request in Kafka, over 1 h.",
            "s",
            per_second("xm_event_to_alert_seconds_bucket", "le", "1h"),
        ),
        Graph(
            "Batch size",
            "Kafka messages per batch. It grows with the load; larger batches cost less per "
            "message.",
            "short",
            quantiles("xm_batch_size"),
        ),
        Graph(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            {
                "{{instance}} {{process}}": "max by (instance, process) "
                f"({metric('process_resident_memory_bytes')})",
            },
        ),
        Graph(
            "CPU",
            "Cores used by each process.",
            "none",
            {
                "{{instance}} {{process}}": "sum by (instance, process) "
                f"(rate({metric('process_cpu_seconds_total')}[$__rate_interval]))",
            },
        ),
    ],
    "Store": [
        Graph(
            "Checkpoint duration",
            "Time to write a checkpoint to Redis. Alerts are published after it.",
            "s",
            quantiles("xm_checkpoint_seconds"),
        ),
        Graph(
            "Checkpoint failures",
            "Checkpoints that Redis refused. The worker stops reading until one succeeds.",
            "ops",
            by("instance", per_second("xm_checkpoint_failures_total", "instance")),
        ),
        Graph(
            "Age of the last checkpoint",
            "Seconds since the last checkpoint of each topic.",
            "s",
            by(
                "topic",
                f"max by (topic) (time() - {metric('xm_checkpoint_timestamp_seconds')})",
            ),
        ),
        Graph(
            "Records written",
            "Changed key records per second, written with the checkpoints.",
            "ops",
            by("instance", per_second("xm_checkpoint_records_total", "instance")),
        ),
        Graph(
            "Live keys",
            "Key records in memory, at most XM_ROWS per worker.",
            "short",
            by("instance", f"sum by (instance) ({metric('xm_live_keys')})"),
        ),
        Graph(
            "Unsaved records",
            "Changed records that Redis does not have yet, as a share of XM_ROWS. Above 50% the "
            "worker writes a checkpoint at once.",
            "percentunit",
            by("topic", f"max by (topic) ({metric('xm_unsaved_ratio')})"),
        ),
    ],
    "Input": [
        Graph(
            "Rejections",
            "Requests that cannot be read, by reason. Each is in the topic of rejected requests; "
            "`xm rejected list` counts them.",
            "reqps",
            by("reason", per_second("xm_rejections_total", "reason")),
            stacked=True,
        ),
        Graph(
            "Unreadable fields",
            "Requests read without a field that cannot be read. Adapt the mapping.",
            "reqps",
            by("field", per_second("xm_unreadable_fields_total", "field")),
        ),
        Graph(
            "Refused requests",
            "Requests answered with 401, 403, 429 or 5xx. They are not evaluated.",
            "reqps",
            by("status", per_second("xm_refused_requests_total", "status")),
            stacked=True,
        ),
        Graph(
            "Requests without a prompt",
            "Share of requests without any text. Near 100%, the log does not record prompts.",
            "percentunit",
            {"share": share(per_second("xm_requests_without_prompt_total"), EVENTS)},
        ),
        Graph(
            "Late, repeated, reused id, no message key",
            "Late requests count at a later time. Repeated ones are skipped. A client chooses ids "
            "that are reused. Messages without a key spread one API key over all workers.",
            "reqps",
            {
                "late": per_second("xm_late_requests_total"),
                "repeated": per_second("xm_repeated_events_total"),
                "reused id": per_second("xm_reused_ids_total"),
                "no message key": or_zero(per_second("xm_unkeyed_messages_total")),
            },
        ),
        Graph(
            "Prompts not read",
            "Prompts counted but not read, of fast keys and of settled ones, and records that are "
            "no requests of their own.",
            "reqps",
            {
                "not read": per_second("xm_unread_prompts_total"),
                "ignored": per_second("xm_ignored_records_total"),
            },
        ),
    ],
    "Receivers": [
        Graph(
            "Deliveries",
            "Alerts delivered, retried because the receiver is unavailable, or refused by it.",
            "ops",
            {"{{receiver}} {{outcome}}": per_second("xm_deliveries_total", "receiver, outcome")},
            size=(6, 7),
        ),
        Graph(
            "Undelivered alerts",
            "Alerts that wait, by receiver.",
            "none",
            by("receiver", f"sum by (receiver) ({metric('xm_undelivered_alerts')})"),
            alarm=1,
            size=(6, 7),
        ),
        Graph(
            "Receivers up",
            "1 while a receiver accepts alerts, 0 after three failures in a row.",
            "none",
            by("receiver", f"min by (receiver) ({metric('xm_receiver_up')})"),
            size=(6, 7),
        ),
        Graph(
            "Cases",
            "Open cases, and entries that Kafka does not have yet.",
            "none",
            {
                "open": f"max({metric('xm_cases_open')})",
                "not copied": f"max({metric('xm_case_uncopied_entries')})",
            },
            size=(6, 7),
        ),
    ],
    "Decisions for gateways": [
        Graph(
            "Look-ups",
            "Decisions that gateways looked up, by the action found; `unknown` if Redis was away.",
            "reqps",
            by("action", per_second("xm_decision_lookups_total", "action")),
            stacked=True,
        ),
        Graph(
            "Age of the copy",
            "Seconds since Redis confirmed the copy of the decisions in memory.",
            "s",
            by("instance", f"max by (instance) ({metric('xm_decision_copy_age_seconds')})"),
        ),
        Graph(
            "Copy and clients",
            "Subjects with a decision in the copy, and clients of the change feed.",
            "short",
            {
                "subjects": f"max({metric('xm_decision_subjects')})",
                "clients": f"sum({metric('xm_decision_feeds')})",
            },
        ),
    ],
}

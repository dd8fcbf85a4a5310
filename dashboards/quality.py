"""Detection quality: false alerts against their budget, findings, and drift from the reference."""

from __future__ import annotations

from dashboards.panels import Figure, Graph, Panel, Ranking
from dashboards.queries import by, latest, metric, or_zero, per_second, quantiles, share

KEYS_A_DAY = f"sum(max_over_time({metric('xm_drift_keys', period='today')}[1d]))"
DETECTORS = "count(count by (detector) (xm_findings_total))"
BUDGET = (
    f"{KEYS_A_DAY} * {DETECTORS} * max({metric('xm_alert_threshold_ratio', severity='warning')})"
)
WITHDRAWN = or_zero(f"sum({latest('xm_withdrawn_alerts', 'kind')})")
WITHDRAWN_A_DAY = f"({WITHDRAWN}) / 30"
_RAISED = metric(
    "xm_alerts_total", severity__not="info", state__not="resolved", kind__not="campaign"
)
RAISED_A_DAY = f"sum(increase({_RAISED}[1d]))"
PSI = latest("xm_drift_psi", "statistic", period="past")
PSI_TODAY = latest("xm_drift_psi", "statistic", period="today")
LARGE = 0.25  # population stability index

ROWS: dict[str, list[Panel]] = {
    "False alerts": [
        Figure(
            "Ordinary keys per day",
            "Keys that count in the baseline on a day, without flagged ones.",
            "short",
            KEYS_A_DAY,
        ),
        Figure(
            "Budget per day",
            "False warnings that the thresholds allow per day: ordinary keys, times detectors, "
            "times XM_DETECTION__WARNING.",
            "short",
            BUDGET,
        ),
        Figure(
            "Withdrawn per day",
            "Alerts that people withdrew as no attack, mean of 30 days.",
            "short",
            WITHDRAWN_A_DAY,
        ),
        Figure(
            "Budget used",
            "Withdrawn alerts as a share of the budget. Above 100%, calibrate.",
            "percentunit",
            share(WITHDRAWN_A_DAY, f"({BUDGET})"),
            alarm=1,
        ),
        Figure(
            "Largest drift",
            "Largest population stability index of all statistics, of past days. Above 0.25, "
            "calibrate.",
            "none",
            f"max({PSI})",
            alarm=LARGE,
        ),
        Figure(
            "Appeals overdue",
            "Appeals of customers that wait too long for an answer.",
            "none",
            f"max({metric('xm_appeals_overdue')})",
            alarm=1,
        ),
        Graph(
            "Alerts per day",
            "Alerts on keys that became a warning or critical in the 24 hours before, and the "
            "false warnings that the thresholds allow. Far more is an attack or drift.",
            "none",
            {"alerts": RAISED_A_DAY, "budget": BUDGET},
        ),
        Graph(
            "Withdrawn alerts",
            "Alerts of the last 30 days that people withdrew as no attack, by kind.",
            "none",
            {
                "{{kind}}": latest("xm_withdrawn_alerts", "kind"),
                "all": WITHDRAWN,
            },
        ),
        Graph(
            "Severity",
            "Alerts that opened or became severer within an hour, by severity.",
            "none",
            by(
                "severity",
                "sum by (severity) "
                f"(increase({metric('xm_alerts_total', state__not='resolved')}[1h]))",
            ),
            stacked=True,
        ),
    ],
    "Findings": [
        Graph(
            "Findings by detector",
            "Evaluations in which a detector flagged a key. A jump in all detectors points to a "
            "change in traffic, a jump in one detector to an attack.",
            "ops",
            by("detector", per_second("xm_findings_total", "detector")),
        ),
        Graph(
            "Open alerts by kind",
            "Keys and campaigns with an open alert, by kind and severity, if there are any.",
            "none",
            {
                "{{kind}} {{severity}}": "sum by (kind, severity) "
                f"({metric('xm_open_alerts')}) > 0",
                "all": f"sum({metric('xm_open_alerts')})",
            },
        ),
        Graph(
            "Request to alert",
            "Time from the arrival of a request in Kafka to the alert that it triggers, over 1 h.",
            "s",
            quantiles("xm_event_to_alert_seconds", "1h"),
        ),
    ],
    "Drift": [
        Ranking(
            "Statistics that drift",
            "Population stability index of past days, by statistic. 0.1 is small, 0.25 is large. "
            "It is 0 with fewer than 100 keys.",
            "none",
            f"topk(10, {PSI})",
            "{{statistic}}",
            LARGE,
        ),
        Graph(
            "Drift of past days",
            "How far the daily peaks of ordinary keys are from the reference, by statistic "
            "(population stability index). Past days fade with a half-life of 7 days.",
            "none",
            by("statistic", PSI),
            alarm=LARGE,
        ),
        Graph(
            "Drift of today",
            "The same for the day so far. Peaks grow during a day, so it is high in the morning.",
            "none",
            by("statistic", PSI_TODAY),
        ),
        Graph(
            "Keys behind the drift",
            "Ordinary keys, each counted once per day.",
            "short",
            by("period", f"sum by (period) ({metric('xm_drift_keys')})"),
        ),
        Graph(
            "Baseline",
            "Keys from which the mean of the prompts has been learned, each counted once per day.",
            "short",
            {"keys": f"max({metric('xm_public_keys')})"},
        ),
        Graph(
            "Error of the baseline",
            "Expected squared error of the mean of the prompts.",
            "none",
            {"error": f"max({metric('xm_public_squared_error')})"},
        ),
    ],
    "Campaigns": [
        Graph(
            "Open campaigns",
            "Open campaigns by severity. List them with `xm campaigns`.",
            "none",
            by("severity", f"sum by (severity) ({metric('xm_open_alerts', kind='campaign')})"),
            stacked=True,
            size=(6, 7),
        ),
        Graph(
            "Fingerprints and linked keys",
            "Keys that the linker compares, at most XM_CAMPAIGNS__KEYS, and fingerprints per "
            "minute. No fingerprints while requests arrive means that no worker links keys.",
            "short",
            {
                "linked keys": f"sum({metric('xm_linked_keys')})",
                "fingerprints per minute": f"60 * {per_second('xm_fingerprints_total')}",
            },
            size=(6, 7),
        ),
        Graph(
            "Fingerprints that wait",
            "Fingerprints that wait until all partitions have reached their time, and those per "
            "minute that came after their round. A round does not wait for idle partitions.",
            "short",
            {
                "waiting": f"sum({metric('xm_held_fingerprints')})",
                "late per minute": f"60 * {per_second('xm_late_fingerprints_total')}",
            },
            size=(6, 7),
        ),
        Graph(
            "Linking duration",
            "Time to search all keys for campaigns, over 1 h. A round runs every 10 minutes of "
            "event time, and fingerprints wait for it.",
            "s",
            quantiles("xm_link_seconds", "1h"),
            size=(6, 7),
        ),
    ],
}

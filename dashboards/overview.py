"""Overview: is extraction going on, who pays attention, and what was done about it."""

from __future__ import annotations

from dashboards.panels import Figure, Graph, Panel, Table
from dashboards.queries import (
    DECISIONS_FAILED,
    EVENTS,
    LAG,
    OPEN,
    READ,
    REJECTED,
    by,
    latest,
    metric,
    or_zero,
    per_second,
    share,
)

CAMPAIGN_KEYS = or_zero(f"sum({latest('xm_subject_members', 'subject', subject__like='c_.*')})")

ROWS: dict[str, list[Panel]] = {
    "Is extraction going on?": [
        Figure(
            "Critical alerts open",
            "Open critical alerts on keys, accounts and campaigns. A subject may have several.",
            "none",
            OPEN["critical"],
            alarm=1,
            links={"Investigate": "/d/xm-investigation"},
        ),
        Figure(
            "Warnings open",
            "Open warnings on keys, accounts and campaigns, to review. A subject may have more.",
            "none",
            OPEN["warning"],
            links={"Investigate": "/d/xm-investigation"},
        ),
        Figure(
            "Campaigns open",
            "Groups of coordinated keys with an open warning or critical alert. List them with "
            "`xm campaigns`.",
            "none",
            f"sum({metric('xm_open_alerts', kind='campaign', severity__not='info')})",
            alarm=1,
        ),
        Figure(
            "Keys in campaigns",
            "Keys listed as members of open campaigns.",
            "none",
            CAMPAIGN_KEYS,
        ),
        Figure(
            "Decisions",
            "Whether decisions are enforced. `xm decisions` and `xm audit` say who changed it.",
            "none",
            f"min({metric('xm_enforcing')})",
            words={"0": "not enforced", "1": "enforced"},
            good=1,
        ),
        Figure(
            "Blocked now",
            "Keys, accounts and end users that gateways refuse now.",
            "none",
            f"max({metric('xm_enforced_decisions', action='block')})",
        ),
        Table(
            "Flagged subjects",
            "Keys, accounts and campaigns with an open warning (2) or critical alert (3), the "
            "severest first, up to XM_SUBJECT_SERIES per process. `xm keys` lists all. Click on "
            "one to investigate it.",
            {
                "severity": f"max by (subject, type) ({metric('xm_subject_severity')})",
                "requests": f"sum by (subject) ({metric('xm_subject_requests')})",
            },
        ),
        Graph(
            "Open alerts",
            "Open warnings and critical alerts by kind. One subject may have several.",
            "none",
            by("kind", f"sum by (kind) ({metric('xm_open_alerts', severity__not='info')})"),
            stacked=True,
            size=(8, 11),
        ),
        Graph(
            "Alerts per hour",
            "Warnings and critical alerts that opened or became severer within an hour, by kind.",
            "none",
            by(
                "kind",
                "sum by (kind) (increase("
                f"{metric('xm_alerts_total', severity__not='info', state__not='resolved')}[1h]))",
            ),
            size=(8, 11),
        ),
    ],
    "Who pays attention?": [
        Graph(
            "Deliveries",
            "Alerts delivered, retried because the receiver is unavailable, or refused by it, per "
            "hour.",
            "none",
            {
                "{{receiver}} {{outcome}}": "sum by (receiver, outcome) "
                f"(increase({metric('xm_deliveries_total')}[1h]))",
            },
        ),
        Graph(
            "Undelivered alerts",
            "Alerts that wait for a receiver that is unavailable. They are kept.",
            "none",
            by("receiver", f"sum by (receiver) ({metric('xm_undelivered_alerts')})"),
            alarm=1,
        ),
        Graph(
            "False alerts and appeals",
            "Alerts of the last 30 days that people withdrew as no attack; appeals of customers "
            "without a ruling, and those that are overdue.",
            "none",
            {
                "withdrawn": or_zero(f"sum({latest('xm_withdrawn_alerts', 'kind')})"),
                "appeals": f"max({metric('xm_appeals_waiting')})",
                "overdue": f"max({metric('xm_appeals_overdue')})",
            },
        ),
    ],
    "What was done?": [
        Graph(
            "Enforced",
            "Keys, accounts and end users on which a decision is enforced now, by action.",
            "none",
            by("action", latest("xm_enforced_decisions", "action")),
            stacked=True,
        ),
        Graph(
            "Held back",
            "Keys, accounts and end users on which less is enforced than was decided: by the kill "
            "switch, allow-list, withdrawn alerts, shadow mode or caps.",
            "none",
            by("why", latest("xm_held_back_decisions", "why")),
        ),
        Graph(
            "Decisions made per hour",
            "Decisions of the detectors, by action. Shadow mode is included.",
            "none",
            by("action", f"sum by (action) (increase({metric('xm_decisions_total')}[1h]))"),
        ),
        Graph(
            "Switches",
            "1 while the kill switch or shadow mode is on for all, or the caps are lifted; and "
            "decisions per second that the caps hold back.",
            "none",
            {
                "{{switch}}": latest("xm_switch", "switch"),
                "capped": per_second("xm_capped_decisions_total"),
            },
        ),
        Graph(
            "Answers to gateways",
            "Decisions that gateways looked up, by the action found.",
            "reqps",
            by("action", per_second("xm_decision_lookups_total", "action")),
            stacked=True,
        ),
        Graph(
            "Failed look-ups",
            "Look-ups without an answer because Redis is away; gateways then pass requests or "
            "refuse them, as configured. And calls that were not permitted.",
            "reqps",
            {
                "unknown": DECISIONS_FAILED,
                "{{reason}}": per_second("xm_refused_calls_total", "reason"),
            },
        ),
    ],
    "Does the monitor work?": [
        Figure("Requests", "All workers together.", "reqps", EVENTS),
        Figure("Lag", "Kafka messages not yet processed.", "short", or_zero(LAG), alarm=10_000),
        Figure(
            "Rejected",
            "Share of requests that cannot be read. They are not monitored.",
            "percentunit",
            share(REJECTED, READ),
            alarm=0.01,
        ),
        Figure(
            "Undelivered alerts",
            "Alerts that wait for a receiver that is unavailable.",
            "none",
            or_zero(f"sum({metric('xm_undelivered_alerts')})"),
            alarm=1,
        ),
        Figure(
            "Failed look-ups",
            "Share of look-ups without an answer because Redis is away.",
            "percentunit",
            share(DECISIONS_FAILED, per_second("xm_decision_lookups_total")),
            alarm=0.001,
        ),
        Figure(
            "Versions",
            "Versions of extraction-monitor that run. More than one while an upgrade is going on.",
            "none",
            f"count(count by (version) ({metric('xm_build_info')}))",
            alarm=2,
        ),
    ],
}

"""Investigation: one key, account or campaign that is flagged.

Only subjects with an open warning or critical alert have series, see `monitor/metrics/subjects.py`.
For all others the commands in the first panel answer the same questions.
"""

from __future__ import annotations

from dashboards.panels import Figure, Graph, Panel, Table, Text
from dashboards.queries import metric

COMMANDS = """
**$subject**

```
xm explain $subject
xm campaigns show $subject
xm decisions list
xm decisions add $subject --action block --for 4h --why INC-…
xm decisions add $subject --action observe --for 4h --why INC-…
xm audit
```

`explain` is for keys, accounts and end users, `campaigns show` for campaigns (`c_…`). `--action
observe` lifts what the detectors decided.

No data? Only subjects with an open warning or critical alert are drawn, up to XM_SUBJECT_SERIES per
process. The commands know all others, and resolved alerts.
"""


def _of(name: str, how: str = "max") -> str:
    return f'{how}({name}{{subject="$subject"}})'


def _line(severity: str) -> str:
    """The evidence from which an alert on a key or account has a severity, in nats."""
    nats = f"-ln(max({metric('xm_alert_threshold_ratio', severity=severity)}))"
    return (
        f'{nats} and on () (max(xm_subject_severity{{subject="$subject", type!="campaign"}}) > 0)'
    )


ROWS: dict[str, list[Panel]] = {
    "Who is it?": [
        Text("What to do", "Commands to paste, with the subject filled in.", COMMANDS),
        Table(
            "Flagged subjects",
            "All that have series, the severest first: 2 is a warning, 3 is critical. Click on one "
            "to investigate it.",
            {
                "severity": f"max by (subject, type) ({metric('xm_subject_severity')})",
                "requests": f"sum by (subject) ({metric('xm_subject_requests')})",
                "members": f"max by (subject) ({metric('xm_subject_members')})",
            },
        ),
        Figure(
            "Severity",
            "Of the severest open alert on the subject.",
            "none",
            _of("xm_subject_severity"),
            alarm=3,
            words={"2": "warning", "3": "critical"},
            size=(4, 4),
        ),
        Figure(
            "Members",
            "Keys of a campaign; 1 for a key or an account.",
            "none",
            _of("xm_subject_members"),
            size=(4, 4),
        ),
        Graph(
            "Severity over time",
            "2 while the severest open alert is a warning, 3 while it is critical.",
            "none",
            {"severity": _of("xm_subject_severity")},
        ),
    ],
    "Why?": [
        Graph(
            "Evidence",
            "Of a key or an account: how improbable its use is for an ordinary key, by detector, "
            "as -ln of the probability. Of a campaign: mean evidence for its members, by kind. The "
            "lines are the thresholds of a key's warning and critical alert.",
            "none",
            {
                "{{source}}": 'max by (source) (xm_subject_evidence_nats{subject="$subject"})',
                "warning": _line("warning"),
                "critical": _line("critical"),
            },
            size=(24, 10),
        ),
    ],
    "How much?": [
        Graph(
            "Requests",
            "Requests of the last hour; of a campaign, of its members so far.",
            "short",
            {"requests": _of("xm_subject_requests", "sum")},
        ),
        Graph(
            "Tokens",
            "Tokens of the last hour; of a campaign, of its members so far.",
            "short",
            {"tokens": _of("xm_subject_tokens", "sum")},
        ),
        Graph(
            "Members over time",
            "Keys that are listed as members of the campaign.",
            "none",
            {"members": _of("xm_subject_members")},
        ),
    ],
}

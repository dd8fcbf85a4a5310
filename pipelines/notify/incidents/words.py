"""The evidence of an alert in words that need no glossary."""

from __future__ import annotations

import math
from collections.abc import Iterator

from monitor.alerting.alerts import Alert
from monitor.detectors import ALL_DETECTORS
from monitor.detectors.base import Evidence, Unit

MOST = 5  # facts
_UNUSUAL = 3.0  # standard deviations
_MOST_LIKELY = 1e9
_CAMPAIGN: dict[str, Unit] = {
    "members": "count",
    "requests": "count",
    "tokens": "count",
    "requests_an_hour": "per hour",
    "bystanders": "count",
}
_EVIDENCE = {each.name: each.evidence for each in ALL_DETECTORS}


def evidence(alert: Alert) -> dict[str, str]:
    """The first facts of the evidence, by name: how rare it is, then what was seen."""
    return dict([*_rarity(alert), *_facts(alert)][:MOST])


def _rarity(alert: Alert) -> Iterator[tuple[str, str]]:
    p = alert.evidence.get("probability")
    if p is None or not 0.0 < p < 1.0:
        return
    what = "groups of ordinary keys" if alert.kind == "campaign" else "ordinary keys per day"
    yield "rarity", f"1 in {min(1.0 / p, _MOST_LIKELY):,.0f} {what}"


def _facts(alert: Alert) -> Iterator[tuple[str, str]]:
    if alert.kind == "campaign":
        declared = {name: Evidence(unit) for name, unit in _CAMPAIGN.items()}
    else:
        declared = dict(_EVIDENCE.get(alert.kind, {}))
    for name, how in declared.items():
        value = alert.evidence.get(name)
        words = value and how.shown and _words(value, how.unit)
        if words:
            yield how.label or name.removesuffix("_nats").replace("_", " "), words


def _words(value: float, unit: Unit) -> str:
    """A value with its unit; empty if a person can make nothing of it."""
    match unit:
        case "count":
            return f"{value:,.0f}" if value >= 1.0 else ""
        case "share":
            return f"{value:.0%}" if value >= 0.005 else ""
        case "seconds":
            return f"{value:,.1f} s"
        case "hours":
            return f"{value:,.0f} h" if value >= 1.0 else ""
        case "per hour":
            return f"{value:,.0f} per hour" if value >= 1.0 else ""
        case "deviations":
            above = f"{value:,.0f} standard deviations above ordinary keys"
            return above if value >= _UNUSUAL else ""
        case "nats":
            times = math.exp(min(value, math.log(_MOST_LIKELY)))
            return f"{times:,.0f} times as likely as in ordinary use" if times >= 2.0 else ""
        case "score":
            return ""

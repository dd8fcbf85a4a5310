"""What the demo knows, and the view of it in the terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group
from rich.table import Table
from rich.text import Text

from monitor.alerting.alerts import Alert
from monitor.identity import Identity
from pipelines.traffic.labels import Label

_SHOWN, _CAMPAIGNS = 14, 4


_FLEET = 5  # keys of a labelled campaign that act as one


_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "bold red"}


class Scene:
    """What the demo knows: who is who, which alerts have come, how the worker does."""

    def __init__(self, labels: dict[str, Label], identity: Identity) -> None:
        self.labels = {identity.key(name): label for name, label in labels.items()}
        self.alerts: dict[str, Alert] = {}  # the latest of each id
        self.numbers: dict[str, float] = {}  # the worker's metrics, summed over labels
        self.watermark = 0.0
        self.rate = 0.0
        self._counted = (time.monotonic(), 0.0)

    def tell(self, alert: Alert) -> None:
        self.alerts[alert.id] = alert

    def measure(self, page: str) -> None:
        """Take in the worker's metrics page."""
        self.numbers = {}
        for family in text_string_to_metric_families(page):
            for name, _, value, *_rest in family.samples:
                if name == "xm_watermark_timestamp_seconds":
                    self.watermark = max(self.watermark, value)
                elif name.startswith("xm_"):
                    self.numbers[name] = self.numbers.get(name, 0.0) + value
        now, events = time.monotonic(), self.numbers.get("xm_events_total", 0.0)
        then, before = self._counted
        if now - then >= 1.0:
            self.rate, self._counted = (events - before) / (now - then), (now, events)

    @property
    def accused(self) -> dict[str, Label]:
        """Keys with an alert that asks somebody to act, and what they really are."""
        asking = [alert for alert in self.alerts.values() if alert.severity != "info"]
        named = {key for alert in asking for key in _named(alert)}
        return {key: self.labels[key] for key in sorted(named & self.labels.keys())}

    @property
    def campaigns(self) -> list[Alert]:
        """The latest word on each campaign."""
        return [alert for alert in self.alerts.values() if alert.subject.type == "campaign"]

    def caught(self) -> str:
        """How many of each campaign's keys are accused, and how many ordinary keys; which were
        found to act as one."""
        keys = Counter(label.campaign for label in self.labels.values())
        accused = Counter(label.campaign for label in self.accused.values())
        ordinary = f"ordinary keys: {accused.pop(None, 0)} of {keys.pop(None, 0):,}"
        names = sorted(name for name in keys if name)
        fleets = [name for name in names if keys[name] >= _FLEET]
        found = sum(any(self._matches(alert, name) for alert in self.campaigns) for name in fleets)
        parts = ", ".join(f"{name}: {accused[name]} of {keys[name]}" for name in names)
        return f"Accused: {parts}; {ordinary}; campaigns found: {found} of {len(fleets)}."

    def _matches(self, alert: Alert, campaign: str) -> bool:
        """Whether a campaign alert is about this one: it names most of it, and mostly it."""
        named, whole = _named(alert), self._really(self.labels)[campaign]
        return 2 * self._really(named)[campaign] > max(len(named), whole)

    def _really(self, keys: Iterable[str]) -> Counter[str]:
        """What some keys are part of."""
        labels = (self.labels[key] for key in keys if key in self.labels)
        return Counter(label.campaign or f"ordinary ({label.kind})" for label in labels)

    def line(self, alert: Alert) -> tuple[str, Text, str, str, str]:
        really = self._really(_named(alert)).most_common()
        if alert.subject.type == "campaign":
            whole = self._really(self.labels)
            who = ", ".join(f"{count} of {whole[name]} {name}" for name, count in really)
        else:
            who = ", ".join(name for name, _ in really)
        clock = time.strftime("%H:%M:%S", time.gmtime(alert.detected_at))
        severity = Text(f"{alert.severity} {alert.state}", _COLOURS[alert.severity])
        return clock, severity, alert.decision, who or "unknown", alert.summary

    def view(self) -> Group:
        """The terminal view."""
        numbers = self.numbers
        clock = time.strftime("%H:%M", time.gmtime(self.watermark)) if self.watermark else "--:--"
        status = Table.grid(padding=(0, 3))
        status.add_row(
            f"simulated time [bold]{clock}[/]",
            f"[bold]{self.rate:,.0f}[/] requests/s",
            f"lag [bold]{numbers.get('xm_lag', 0):,.0f}[/]",
            f"[bold]{numbers.get('xm_live_keys', 0):,.0f}[/] keys",
            f"[bold]{numbers.get('xm_open_alerts', 0):,.0f}[/] alerts open",
        )
        keys = [alert for alert in self.alerts.values() if alert.subject.type != "campaign"]
        campaigns, tables = self.campaigns, []
        if campaigns:
            tables.append(self._table("Campaigns: keys that act as one", campaigns[-_CAMPAIGNS:]))
        shown = _SHOWN - 2 * min(len(campaigns), _CAMPAIGNS)
        latest = sorted(keys, key=lambda alert: alert.detected_at)[-shown:]
        return Group(status, *tables, self._table("Alerts", latest), Text(self.caught()))

    def _table(self, title: str, alerts: list[Alert]) -> Table:
        table = Table("time", "alert", "decision", "really", "what", expand=True, title=title)
        for alert in alerts:
            table.add_row(*self.line(alert))
        return table


def _named(alert: Alert) -> list[str]:
    """The keys that an alert is about."""
    return alert.subject.members if alert.subject.type == "campaign" else [alert.subject.id]

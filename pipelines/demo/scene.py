"""The demo's state, and its view in the terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from monitor.alerting.alerts import Alert
from monitor.identity import Identity
from pipelines.show.style import SEVERITY_STYLES, add_columns, table
from pipelines.traffic.labels import Label

_WIDE = 120  # columns that one line per alert needs
_VERY_WIDE = 180  # columns that the classes of keys beside the alerts need
_FRAME = 12  # lines of the view besides alerts
_CLASSES = 44  # columns of the table of classes
_CAMPAIGNS = 4  # shown at most
_FLEET = 5  # keys from which a labelled campaign counts in "campaigns found"
_LINE = "{:8}  {:15}  {:9}  {}"
_HEADING = ("time", "alert", "decision", "actual (ground truth)")


class Scene:
    """Collects alerts and metrics, and compares alerts with the labels of the simulated keys.

    Args:
        labels: by API key.
        identity: the worker's.
        speed: simulated seconds per real second.

    Attributes:
        labels: by pseudonym.
        alerts: the latest of each id.
        metrics: the worker's, summed over labels, without alerts of severity info.
        watermark: event time reached, epoch seconds.
        rate: requests per second.
    """

    def __init__(self, labels: dict[str, Label], identity: Identity, speed: float = 1.0) -> None:
        self.labels = {identity.key(name): label for name, label in labels.items()}
        self.alerts: dict[str, Alert] = {}
        self.metrics: dict[str, float] = {}
        self.watermark = 0.0
        self.rate = 0.0
        self._speed = speed
        self._counted = (time.monotonic(), 0.0)

    def add(self, alert: Alert) -> None:
        """Add an alert."""
        self.alerts[alert.id] = alert

    def read_metrics(self, page: str) -> None:
        """Read the worker's metrics page."""
        self.metrics = {}
        for family in text_string_to_metric_families(page):
            for name, labels, value, *_rest in family.samples:
                if name == "xm_watermark_timestamp_seconds":
                    self.watermark = max(self.watermark, value)
                elif name.startswith("xm_") and labels.get("severity") != "info":
                    self.metrics[name] = self.metrics.get(name, 0.0) + value
        now, events = time.monotonic(), self.metrics.get("xm_events_total", 0.0)
        then, before = self._counted
        if now - then >= 1.0:
            self.rate, self._counted = (events - before) / (now - then), (now, events)

    # Alerts against labels

    @property
    def flagged(self) -> dict[str, Label]:
        """Keys with an alert above info, of their own or of a campaign, and their labels."""
        keys = {key for alert in self.serious for key in _keys(alert)}
        return {key: self.labels[key] for key in sorted(keys & self.labels.keys())}

    @property
    def serious(self) -> list[Alert]:
        """The latest of each alert above info. Alerts of severity info accuse nobody."""
        return [alert for alert in self.alerts.values() if alert.severity != "info"]

    @property
    def campaigns(self) -> list[Alert]:
        """The latest alert of each campaign."""
        return [alert for alert in self.serious if alert.subject.type == "campaign"]

    def result(self) -> str:
        """Flagged keys of each labelled campaign and of ordinary keys, and the campaigns found."""
        keys = Counter(label.campaign for label in self.labels.values())
        flagged = Counter(label.campaign for label in self.flagged.values())
        ordinary = f"ordinary keys: {flagged.pop(None, 0)} of {keys.pop(None, 0):,}"
        names = sorted(name for name in keys if name)
        fleets = [name for name in names if keys[name] >= _FLEET]
        found = sum(any(self._matches(alert, name) for alert in self.campaigns) for name in fleets)
        parts = ", ".join(f"{name}: {flagged[name]} of {keys[name]}" for name in names)
        return f"Flagged: {parts}; {ordinary}; campaigns found: {found} of {len(fleets)}."

    def _matches(self, alert: Alert, campaign: str) -> bool:
        """Whether a campaign alert has more than half of a labelled campaign, and little else."""
        keys, size = _keys(alert), self._actual(self.labels)[campaign]
        return 2 * self._actual(keys)[campaign] > max(len(keys), size)

    def _actual(self, keys: Iterable[str]) -> Counter[str]:
        """Count keys by their labelled campaign or class."""
        labels = (self.labels[key] for key in keys if key in self.labels)
        return Counter(label.campaign or f"ordinary ({label.kind})" for label in labels)

    # The view

    def line(self, alert: Alert) -> tuple[str, Text, str, str, str]:
        """The time, severity and state, decision, ground truth and summary of an alert."""
        actual = self._actual(_keys(alert)).most_common()
        if alert.subject.type == "campaign":
            sizes = self._actual(self.labels)
            truth = ", ".join(f"{count} of {sizes[name]} {name}" for name, count in actual)
        else:
            truth = ", ".join(name for name, _ in actual)
        clock = time.strftime("%H:%M:%S", time.gmtime(alert.detected_at))
        severity = Text(f"{alert.severity} {alert.state}", SEVERITY_STYLES[alert.severity])
        return clock, severity, alert.decision, truth or "unknown", alert.summary

    def view(self, width: int = 140, height: int = 50) -> Group:
        """The terminal view, to fit a number of columns and lines."""
        campaigns = self.campaigns[-_CAMPAIGNS:]
        keys = [alert for alert in self.serious if alert.subject.type != "campaign"]
        lines = 1 if width >= _WIDE else 2
        room = max((height - _FRAME) // lines - len(campaigns), 2)
        latest = sorted(keys, key=lambda alert: alert.detected_at)[-room:]
        parts: list[RenderableType] = [self._status(), Text(self.result(), "bold")]
        note = f"Simulated time runs {self._speed:g} times as fast as the clock."
        parts.append(Text(f"{note} Info alerts are not shown.\n", "dim"))
        if campaigns:
            title = f"Campaigns (coordinated keys): {len(campaigns)} of {len(self.campaigns)}"
            parts += [self._list(title, campaigns, width), Text()]
        title = f"Latest alerts on single keys: {len(latest)} of {len(keys)}"
        if width < _VERY_WIDE:
            return Group(*parts, self._list(title, latest, width))
        beside = Table.grid(expand=True, padding=(0, 2))
        beside.add_column(ratio=1)
        beside.add_column(width=_CLASSES)
        beside.add_row(self._list(title, latest, width), self._classes())
        return Group(*parts, beside)

    def _status(self) -> Text:
        clock = time.strftime("%H:%M", time.gmtime(self.watermark)) if self.watermark else "--:--"
        values = (
            ("simulated time", clock),
            ("requests/s", f"{self.rate:,.0f}"),
            ("lag", f"{self.metrics.get('xm_lag', 0):,.0f}"),
            ("keys", f"{self.metrics.get('xm_live_keys', 0):,.0f}"),
            ("open alerts", f"{self.metrics.get('xm_open_alerts', 0):,.0f}"),
        )
        text = Text()
        for name, value in values:
            text.append(f"{name} ", "dim").append(f"{value}  ", "bold")
        return text

    def _classes(self) -> RenderableType:
        """A table of all classes of simulated keys, those that extract first."""
        keys, flagged = self._actual(self.labels), self._actual(self.flagged)
        rows = table("All simulated keys")
        add_columns(rows, "actual (ground truth)")
        add_columns(rows, "keys", "flagged", numbers=True)
        for name in sorted(keys, key=lambda name: (name.startswith("ordinary"), name)):
            rows.add_row(name, f"{keys[name]:,}", f"{flagged[name]:,}")
        return rows

    def _list(self, title: str, alerts: list[Alert], width: int) -> RenderableType:
        """A table, or on a narrow terminal two lines per alert, with the subject's id in full."""
        if width >= _WIDE:
            rows = table(title)
            add_columns(rows, *_HEADING)
            rows.expand = True  # the summary takes what the other columns leave
            rows.add_column("summary", no_wrap=True, ratio=1)
            for alert in alerts:
                rows.add_row(*self.line(alert))
            return rows
        text = Text(no_wrap=True, overflow="ellipsis").append(f"{title}\n", "bold")
        text.append(_LINE.format(*_HEADING), "dim")
        for alert in alerts:
            clock, severity, decision, truth, summary = self.line(alert)
            text.append(f"\n{clock}  ").append_text(severity)
            text.append(f"{'':{15 - len(severity)}}  {decision:9}  {truth}\n  {summary}")
        return text


def _keys(alert: Alert) -> list[str]:
    """The keys that an alert is about."""
    return alert.subject.members if alert.subject.type == "campaign" else [alert.subject.id]

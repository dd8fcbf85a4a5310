"""Debian's Alertmanager, also with the shipped routes, and whoever it notifies."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiohttp import web

from pipelines.demo.embedded import free_port
from tests.support.programs import WebServer, program
from tests.support.receivers import serving

SHIPPED = Path(__file__).parents[2] / "deploy/alertmanager/alertmanager.yml"
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Notification(NamedTuple):
    """What a person gets: the alerts of one group."""

    at: float
    receiver: str
    alerts: list[dict[str, Any]]

    @property
    def is_page(self) -> bool:
        """Whether it wakes the person on call."""
        firing = any(each["status"] == "firing" for each in self.alerts)
        return self.receiver == "on-call" and firing

    @property
    def subjects(self) -> set[str]:
        """What the alerts that fire are about."""
        firing = [each["labels"] for each in self.alerts if each["status"] == "firing"]
        return {labels.get("subject", labels["alertname"]) for labels in firing}


class Alertmanager(WebServer):
    """Debian's Alertmanager with a configuration in YAML."""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder)
        self.config = folder / "alertmanager.yml"
        self.config.write_text(config)

    def command(self) -> list[str]:
        return [
            program("prometheus-alertmanager"),
            f"--config.file={self.config}",
            f"--storage.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]

    def alerts(self, *filters: str) -> list[dict[str, Any]]:
        """The alerts that it has, with their labels and whether they are inhibited."""
        query = urllib.parse.urlencode({"filter": filters}, doseq=True)
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?{query}", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


class ShippedAlertmanager(Alertmanager):
    """Alertmanager with `alertmanager.yml`, whose times pass `speed` times as fast.

    Args:
        slack: seconds to add to each `group_wait`, for what does not pass faster.

    Attributes:
        notifications: all of them, in order.
    """

    def __init__(self, folder: Path, speed: float, slack: float = 0.0) -> None:
        self.notified_port = free_port()
        self.notifications: list[Notification] = []
        super().__init__(folder, yaml.safe_dump(self._faster(speed, slack)))

    def _faster(self, speed: float, slack: float) -> dict[str, Any]:
        shipped = yaml.safe_load(SHIPPED.read_text())
        _speed_up(shipped["route"], speed, slack)
        for receiver in shipped["receivers"]:
            url = f"http://127.0.0.1:{self.notified_port}/{receiver['name']}"
            receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
        return dict(shipped)

    @property
    def pages(self) -> list[Notification]:
        return [each for each in self.notifications if each.is_page]

    def subjects(self) -> set[str]:
        """What the alerts that it has are about."""
        return {each["labels"]["subject"] for each in self.alerts("subject!=")}

    @contextlib.asynccontextmanager
    async def notifying(self) -> AsyncIterator[None]:
        """Take its notifications."""

        async def take(request: web.Request) -> web.Response:
            body = await request.json()
            notification = Notification(time.time(), body["receiver"], body["alerts"])
            self.notifications.append(notification)
            return web.Response()

        async with serving(take, self.notified_port):
            yield


def _speed_up(route: dict[str, Any], speed: float, slack: float) -> None:
    for name in ("group_wait", "group_interval", "repeat_interval"):
        if name in route:
            seconds = _seconds(route[name]) / speed + (slack if name == "group_wait" else 0.0)
            route[name] = f"{max(round(1000 * seconds), 1)}ms"
    for each in route.get("routes", []):
        _speed_up(each, speed, slack)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smh])", text)
    assert found
    return float(found[1]) * _SECONDS[found[2]]

"""The demo: the whole system on this machine, for as long as somebody watches.

A broker and a store of its own, a worker as it runs in production, and simulated traffic of which
it is known who copies the model: so the view can say of each alert whether it is right.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import IO

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from monitor.alerts import Alert
from monitor.config import Settings, load
from monitor.errors import MonitorError
from monitor.identity import Identity
from pipelines import embedded, topics
from pipelines.pace import Pace
from pipelines.producer import Message, send
from pipelines.simulate import Label, Scenario, Simulation, messages

_READY_SECONDS = 60.0  # the kernels are compiled at the very first start
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


def run(*, seconds: float | None, speed: float, seed: int) -> int:
    """Run the demo until its time is over or somebody stops it; the exit status."""
    console = Console()
    # Simulated time runs ahead of the clock, so it begins in the past.
    start = time.time() - speed * (seconds or 12 * 3600)
    simulation = Simulation(Scenario(seed=seed, start=start))
    identity_secret = secrets.token_hex(32)
    scene = Scene(simulation.labels, Identity(identity_secret.encode()))
    with embedded.broker() as kafka, embedded.store() as store:
        settings = load(
            kafka=kafka,
            redis_url=store,
            identity_secret=identity_secret,
            web_host="127.0.0.1",
            web_port=embedded.free_port(),
            mapping="native",
            topics={"partitions": 4},
        )
        try:
            topics.create(settings)
            with _worker(settings) as (process, log):
                asyncio.run(_play(scene, simulation, settings, seconds, speed, process, console))
                if process.poll() is not None:
                    log.seek(0)
                    last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
                    raise MonitorError(f"The worker ended by itself: {last}")
        except KeyboardInterrupt:
            console.print("Stopped.")
    if not console.is_terminal:  # where the view has not said it already
        console.print(scene.caught(), soft_wrap=True)
    return 0


async def _play(
    scene: Scene,
    simulation: Simulation,
    settings: Settings,
    seconds: float | None,
    speed: float,
    process: subprocess.Popen[bytes],
    console: Console,
) -> None:
    """Send traffic, take alerts and metrics, and show them, until the time is over."""
    page = f"http://127.0.0.1:{settings.web_port}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as web:
        with console.status("Starting the worker (the first start compiles its kernels) …"):
            await _until_ready(web, page, process)
        traffic = send(
            _not_ahead(messages(simulation.events())),
            settings.kafka,
            settings.topics.requests,
            pace=Pace(speed),
        )
        listening = [
            asyncio.create_task(traffic),
            asyncio.create_task(_listen(scene, settings, console)),
            asyncio.create_task(_poll(scene, web, page, process)),
        ]
        try:
            live = Live(get_renderable=scene.view, console=console, refresh_per_second=4)
            with live if console.is_terminal else nullcontext():
                done, _ = await asyncio.wait(
                    listening, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)


async def _until_ready(
    web: aiohttp.ClientSession, page: str, process: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with web.get(f"{page}/readyz") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.1)
    if process.poll() is None:
        raise MonitorError(
            f"The worker was not ready within {_READY_SECONDS:.0f} s: this machine may be busy, "
            "try again."
        )


async def _listen(scene: Scene, settings: Settings, console: Console) -> None:
    """Take alerts off their topic, as any consumer could."""
    consumer = AIOKafkaConsumer(
        settings.topics.alerts, bootstrap_servers=settings.kafka, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async for record in consumer:
            alert = msgspec.json.decode(record.value, type=Alert)
            scene.tell(alert)
            if not console.is_terminal and alert.severity != "info":
                console.print("  ".join(str(part) for part in scene.line(alert)), soft_wrap=True)
    finally:
        await consumer.stop()


async def _poll(
    scene: Scene, web: aiohttp.ClientSession, page: str, process: subprocess.Popen[bytes]
) -> None:
    """Read the worker's metrics; return when it has ended."""
    while process.poll() is None:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with web.get(f"{page}/metrics") as answer:
                scene.measure(await answer.text())
        await asyncio.sleep(0.5)


def _not_ahead(batches: Iterator[list[Message]]) -> Iterator[Sequence[Message]]:
    """The batches, held back where simulated time has caught up with the clock."""
    for batch in batches:
        ahead = (batch[-1].ts or 0.0) - time.time()
        if ahead > 0:
            time.sleep(ahead)
        yield batch


@contextmanager
def _worker(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A worker process with these settings, and what it logs."""
    assert settings.identity_secret is not None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XM_")}
    environment |= {
        "XM_KAFKA": settings.kafka,
        "XM_REDIS_URL": settings.redis_url,
        "XM_IDENTITY_SECRET": settings.identity_secret.get_secret_value(),
        "XM_WEB_PORT": str(settings.web_port),
        # Tansu lets a worker wait for half of it before it joins.
        "BROKER_SESSION_TIMEOUT": "3",
        "BROKER_HEARTBEAT_INTERVAL": "0.5",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", "worker"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=embedded.die_with_parent(),
        )
        try:
            yield process, log
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

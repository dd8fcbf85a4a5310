"""The demo: the whole system on this machine, until it is stopped.

It runs its own broker and store, a worker as in production, and simulated traffic with labelled
keys, so the view can compare each alert with the ground truth.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.live import Live

from monitor.alerting.alerts import Alert
from monitor.config import Settings, load
from monitor.errors import MonitorError
from monitor.identity import Identity
from pipelines.demo import embedded
from pipelines.demo.scene import Scene
from pipelines.kafka import topics
from pipelines.kafka.security import async_options
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.supervisor.child import die_with_parent
from pipelines.traffic.producer import Message, send
from pipelines.traffic.schedule import SendSchedule

_READY_SECONDS = 180.0  # the first start compiles the kernels, which takes 30 s on an idle machine
_SETTINGS = """\
kafka = "{kafka}"
redis_url = "{redis}"
web_host = "127.0.0.1"
web_port = {port}
topics.partitions = 4
"""
_NEXT = (
    "The demo's broker and store are gone. Next steps:\n"
    "  xm replay FILE           run the monitor on your own logs (xm replay --help)\n"
    "  README.md                run workers, connect a gateway\n"
    "  deploy/docs/respond.md   what an alert means and what to do about it"
)


def run_demo(*, seconds: float | None, speed: float, seed: int) -> int:
    """Run the demo until its time is over or it is interrupted; return the exit status.

    Args:
        seconds: duration in real time, without limit if `None`.
        speed: simulated seconds per real second.
        seed: random seed of the traffic.

    Raises:
        MonitorError: if a part does not start, or the worker ends.
    """
    console = Console()
    # Simulated time runs faster than the clock, so it starts in the past.
    start = time.time() - speed * (seconds or 12 * 3600)
    simulation = Simulation(Scenario(seed=seed, start=start))
    identity_secret = secrets.token_hex(32)
    scene = Scene(simulation.labels, Identity(identity_secret.encode()), speed)
    with (
        embedded.broker() as kafka,
        embedded.store() as store,
        tempfile.TemporaryDirectory(prefix="xm-") as folder,
    ):
        file = Path(folder, "settings.toml")
        file.write_text(_SETTINGS.format(kafka=kafka, redis=store, port=embedded.free_port()))
        _use_only(file)
        settings = load(identity_secret=identity_secret)
        try:
            topics.create(settings)
            with _worker(settings) as (process, log):
                asyncio.run(_play(scene, simulation, settings, seconds, speed, process, console))
                if process.poll() is not None:
                    log.seek(0)
                    last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
                    raise MonitorError(f"The worker of the demo has ended: {last}")
        except KeyboardInterrupt:
            console.print("Stopped.")
    if console.is_terminal:
        console.print(f"\n{_NEXT}", markup=False, highlight=False)
    else:
        console.print(scene.result(), soft_wrap=True)
    return 0


def _use_only(file: Path) -> None:
    """Take settings from this file only: not from the caller's XM_* variables or settings file."""
    for name in [name for name in os.environ if name.startswith("XM_")]:
        del os.environ[name]
    os.environ["XM_CONFIG"] = str(file)


async def _play(
    scene: Scene,
    simulation: Simulation,
    settings: Settings,
    seconds: float | None,
    speed: float,
    process: subprocess.Popen[bytes],
    console: Console,
) -> None:
    """Send traffic, read alerts and metrics, and show them, until the time is over."""
    page = f"http://127.0.0.1:{settings.web_port}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as web:
        with console.status("Starting the worker (the first start compiles its kernels) …"):
            await _until_ready(web, page, process)
        traffic = send(
            _not_ahead(messages(simulation.events())),
            settings.kafka,
            settings.topics.requests,
            schedule=SendSchedule(speed),
        )
        tasks = [
            asyncio.create_task(traffic),
            asyncio.create_task(_listen(scene, settings, console)),
            asyncio.create_task(_poll(scene, web, page, process)),
        ]
        try:
            live = Live(
                get_renderable=lambda: scene.view(*console.size),
                console=console,
                refresh_per_second=4,
            )
            with live if console.is_terminal else nullcontext():
                done, _ = await asyncio.wait(
                    tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _until_ready(
    web: aiohttp.ClientSession, page: str, process: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if await _get(web, f"{page}/readyz") is not None:
            return
        await asyncio.sleep(0.1)
    if process.poll() is None:
        raise MonitorError(
            f"The worker was not ready within {_READY_SECONDS:.0f} s. Try again when this machine "
            "is less busy."
        )


async def _listen(scene: Scene, settings: Settings, console: Console) -> None:
    """Read alerts from their topic, as any consumer could."""
    consumer = AIOKafkaConsumer(
        settings.topics.alerts,
        **async_options(settings.kafka, settings.kafka_security),
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async for record in consumer:
            alert = msgspec.json.decode(record.value, type=Alert)
            scene.add(alert)
            if not console.is_terminal and alert.severity != "info":
                console.print("  ".join(str(part) for part in scene.line(alert)), soft_wrap=True)
    finally:
        await consumer.stop()


async def _poll(
    scene: Scene, web: aiohttp.ClientSession, page: str, process: subprocess.Popen[bytes]
) -> None:
    """Read the worker's metrics; return when it has ended."""
    while process.poll() is None:
        text = await _get(web, f"{page}/metrics")
        if text is not None:
            scene.read_metrics(text)
        await asyncio.sleep(0.5)


async def _get(web: aiohttp.ClientSession, url: str) -> str | None:
    """The text of a page; `None` if it does not answer with 200."""
    try:
        async with web.get(url) as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # Ctrl-C at the moment of a timeout
            raise asyncio.CancelledError from None
        return None


def _not_ahead(batches: Iterator[list[Message]]) -> Iterator[Sequence[Message]]:
    """Delay batches whose simulated time is ahead of the clock."""
    for batch in batches:
        ahead = (batch[-1].ts or 0.0) - time.time()
        if ahead > 0:
            time.sleep(ahead)
        yield batch


@contextmanager
def _worker(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a worker process with these settings; yield it and its log."""
    assert settings.identity_secret is not None
    environment = os.environ | {
        "XM_IDENTITY_SECRET": settings.identity_secret.get_secret_value(),
        # Tansu delays a joining worker by half of the session timeout.
        "BROKER_SESSION_TIMEOUT": "3",
        "BROKER_HEARTBEAT_INTERVAL": "0.5",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli.main", "worker"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent(),
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

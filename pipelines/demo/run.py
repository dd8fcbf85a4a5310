"""The demo: the whole system on this machine, until it is stopped.

It runs its own broker and store, a worker as in production, and simulated traffic with labelled
keys, so the view can compare each alert with the ground truth.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.live import Live

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.errors import MonitorError
from monitor.identity import from_settings
from pipelines.demo import kept
from pipelines.demo.scene import Scene
from pipelines.demo.servers import SETTINGS, USERS, Servers, running
from pipelines.kafka.security import async_options
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.traffic.producer import Message, send
from pipelines.traffic.schedule import SendSchedule

_READY_SECONDS = 180.0  # a start compiles kernels where the package has none for this processor
_NEXT = """\
The demo's servers have stopped. Next:
  xm demo --keep    the same, and its servers stay, so that you can ask them with xm
  xm inspect FILE   read a log of your own gateway, then xm replay FILE
  deploy/docs/first-hour.md    from simulated traffic to a page and a blocked key"""
_KEPT = """\
The demo's servers keep running. In this shell:
  export XM_CONFIG={config}
Then ask them:{examples}
Open the console at http://127.0.0.1:6069 (it needs the extra `console`):
  xm console user me --role admin >>{users}
  xm console
Stop them:
  xm demo --stop"""


def run_demo(*, seconds: float | None, speed: float, seed: int, keep: bool = False) -> int:
    """Run the demo until its time is over or it is interrupted; return the exit status.

    Args:
        seconds: duration in real time, without limit if `None`.
        speed: simulated seconds per real second.
        seed: random seed of the traffic.
        keep: leave the servers running.

    Raises:
        MonitorError: if a part does not start, or the worker ends.
    """
    console = Console()
    with ExitStack() as stack:
        if keep:
            servers = kept.start()
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="xm-"))
            servers = stack.enter_context(running(Path(folder)))
        # Simulated time runs faster than the clock, so it starts in the past.
        start = time.time() - speed * (seconds or 12 * 3600)
        simulation = Simulation(Scenario(seed=seed, start=start))
        scene = Scene(simulation.labels, from_settings(servers.settings), speed)
        try:
            if asyncio.run(_play(scene, simulation, servers, seconds, speed, console)):
                console.print("Stopped.")
            else:
                servers.check()
        except KeyboardInterrupt:
            console.print("Stopped.")
        except MonitorError:
            if keep:
                kept.stop()
            raise
    if not console.is_terminal:
        console.print(scene.result(), soft_wrap=True)
    text = _NEXT
    if keep:
        text = _KEPT.format(
            config=servers.folder / SETTINGS,
            examples=_examples(scene),
            users=servers.folder / USERS,
        )
    console.print(f"\n{text}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _examples(scene: Scene) -> str:
    """Commands on what the demo has found."""
    lines = ["xm status", "xm alerts list --severity critical"]
    lines += [f"xm campaigns show {alert.subject.id}" for alert in scene.campaigns[:1]]
    lines += [f"xm explain {key}" for key, label in scene.flagged.items() if label.campaign][:1]
    return "".join(f"\n  {line}" for line in lines)


async def _play(
    scene: Scene,
    simulation: Simulation,
    servers: Servers,
    seconds: float | None,
    speed: float,
    console: Console,
) -> bool:
    """Send traffic, read alerts and metrics, and show them, until the time is over.

    Returns:
        whether Ctrl-C ended it before.
    """
    settings, process = servers.settings, servers.process
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    page = f"http://127.0.0.1:{settings.web_port}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as web:
        with console.status("Starting the worker …"):
            await _until_ready(web, page, process, interrupted)
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
            asyncio.create_task(interrupted.wait()),
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
        return interrupted.is_set()


async def _until_ready(
    web: aiohttp.ClientSession,
    page: str,
    process: subprocess.Popen[bytes],
    interrupted: asyncio.Event,
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if interrupted.is_set() or await _get(web, f"{page}/readyz") is not None:
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
        return None


def _not_ahead(batches: Iterator[list[Message]]) -> Iterator[Sequence[Message]]:
    """Delay batches whose simulated time is ahead of the clock."""
    for batch in batches:
        ahead = (batch[-1].ts or 0.0) - time.time()
        if ahead > 0:
            time.sleep(ahead)
        yield batch

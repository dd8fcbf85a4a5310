"""Shared by the benchmarks: progress and cost of a worker, the machine, a Markdown table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil
import redis
from kafka import KafkaAdminClient

from monitor.config import Settings
from pipelines.supervisor.child import die_with_parent
from tests.support.programs import Worker

_INTERVAL = 1.0  # seconds between reads of a worker's metrics, which cost it 5 ms each
_TIMEOUT = 180.0  # seconds
_SERVERS = {"kafka": "host:port", "redis": "URL; the database is emptied"}
DONE = ("xm_events_total", "xm_refused_requests_total", "xm_rejections_total")  # of messages


class Cost(NamedTuple):
    """The cost of processing events.

    Attributes:
        seconds: elapsed time.
        cpu: CPU-seconds of all threads and child processes.
    """

    events: float
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def per_cpu(self) -> float:
        """Events per CPU-second."""
        return self.events / self.cpu

    @property
    def cores(self) -> float:
        return self.cpu / self.seconds


def parser(description: str, *servers: str) -> argparse.ArgumentParser:
    """A parser with an option for each server: `redis`, `kafka`."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for server in servers:
        named = os.environ.get(f"XM_TEST_{server.upper()}")
        help_text = _SERVERS[server]
        found.add_argument(f"--{server}", default=named, required=named is None, help=help_text)
    return found


def default_worker(folder: Path, kafka: str, redis_url: str, **chosen: str) -> Worker:
    """A worker with the default settings of the product and of Faust, on new topics."""
    seconds = Settings.model_fields["checkpoint_seconds"].default
    defaults = {
        "XM_CHECKPOINT_SECONDS": str(seconds),
        "XM_TOPICS__PARTITIONS": "4",
        "BROKER_SESSION_TIMEOUT": "60",
        "BROKER_HEARTBEAT_INTERVAL": "3",
    }
    return Worker(folder, kafka, redis_url, **defaults | chosen)


def emptied(redis_url: str) -> redis.Redis:
    """Empty a Redis database and return a client; it takes long with a million keys."""
    client = redis.from_url(redis_url, socket_timeout=_TIMEOUT)
    client.flushdb()
    return client


def cpu_seconds(pid: int) -> float:
    """CPU-seconds that a process and its children have used."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def numbers(worker: Worker) -> dict[str, float]:
    """The worker's metrics, summed over their labels; of timestamps, the latest."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    found = dict.fromkeys(DONE, 0.0)
    for line in lines:
        if line.startswith("xm_"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            if name.endswith("_timestamp_seconds"):
                found[name] = max(found.get(name, 0.0), float(value))
            else:
                found[name] = found.get(name, 0.0) + float(value)
    return found


def observe(workers: Sequence[Worker], sent: int, max_seconds: float | None = None) -> Cost:
    """Measure workers from their first event until everything that was sent is stored.

    Args:
        sent: messages that they read together.
        max_seconds: stop after this time, before the end of the topic.
    """
    pids = [worker.process.pid for worker in workers if worker.process is not None]
    begun, before, used = 0.0, 0.0, 0.0
    deadline = time.time() + _TIMEOUT
    while time.time() < deadline:
        time.sleep(_INTERVAL)
        pages = [numbers(worker) for worker in workers]
        now, cpu = time.time(), sum(map(cpu_seconds, pids))
        done = sum(page[name] for page in pages for name in DONE)
        if done and not begun:
            begun, before, used = now, done, cpu
        elif begun and done >= sent and not any(map(_unfinished, pages)):
            written = max(page["xm_checkpoint_timestamp_seconds"] for page in pages)
            if min(written - begun, done - before) <= 0:
                raise SystemExit("The topic ended before it could be timed. Raise --events.")
            return Cost(done - before, written - begun, cpu - used)
        elif begun and max_seconds is not None and now - begun > max_seconds:
            return Cost(done - before, now - begun, cpu - used)
    raise SystemExit("The workers did not read the topic:\n" + workers[0].log.read_text()[-4000:])


def _unfinished(page: dict[str, float]) -> bool:
    """Whether a worker has messages to observe or records to write."""
    return bool(page.get("xm_lag", 1.0) or page.get("xm_unsaved_ratio", 0.0))


def contender(name: str, worker: Worker, events: int) -> Cost:
    """The cost of a stream processor (contenders/) that reads a worker's topic of `events`."""
    settings = worker.settings
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.speed.contenders", name, settings.kafka,
         worker.requests, settings.redis_url, str(events)],
        env=os.environ | {"TMPDIR": str(worker.folder)},
        capture_output=True, timeout=600, preexec_fn=die_with_parent(),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def print_machine(redis_url: str, kafka: str | None = None, *packages: str) -> None:
    """Print the date, machine and its load, versions and command line."""
    with redis.from_url(redis_url) as client:
        versions = [f"Redis {client.info('server')['redis_version']}"]
    if kafka is not None:
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        found = admin.get_broker_version_data(admin.describe_cluster()["controller_id"])
        versions.append(f"Kafka {'.'.join(map(str, found.broker_version))}")
        admin.close()
    versions += [f"{name} {version(name)}" for name in ("faust-streaming", "aiokafka", *packages)]
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    load = f"load average {os.getloadavg()[0]:.0f}"
    module = sys.modules["__main__"].__spec__
    command = shlex.join(["python", "-m", module.name if module else "?", *sys.argv[1:]])
    print(
        f"\n{time.strftime('%Y-%m-%d')}, {platform.machine()}, {cores}, {load}, "
        f"Python {platform.python_version()}, {', '.join(versions)}: `{command}`\n"
    )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(map(str, row))} |")

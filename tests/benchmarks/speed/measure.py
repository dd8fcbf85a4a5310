"""What the benchmarks share: a worker's progress and cost, the machine they ran on, a table."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
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
from tests.support.programs import Worker

_LOOK = 0.25  # seconds between looks at a worker's metrics, which cost it 5 ms each
_PATIENCE = 180.0
_SERVERS = {"kafka": "host:port", "redis": "its url; the database is emptied"}


class Spent(NamedTuple):
    """Events, and what it took to deal with them."""

    events: float
    seconds: float
    cpu: float  # seconds, of all threads and children

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def per_cpu(self) -> float:
        """Events a second of one core's time."""
        return self.events / self.cpu

    @property
    def cores(self) -> float:
        return self.cpu / self.seconds


def parser(description: str, *servers: str) -> argparse.ArgumentParser:
    """A parser that knows the servers: `redis`, `kafka`."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for server in servers:
        named = os.environ.get(f"XM_TEST_{server.upper()}")
        help_text = _SERVERS[server]
        found.add_argument(f"--{server}", default=named, required=named is None, help=help_text)
    return found


def default_worker(folder: Path, kafka: str, redis_url: str, **chosen: str) -> Worker:
    """A worker with default settings, its own and Faust's, on topics of its own."""
    seconds = Settings.model_fields["checkpoint_seconds"].default
    defaults = {
        "XM_CHECKPOINT_SECONDS": str(seconds),
        "XM_TOPICS__PARTITIONS": "4",
        "BROKER_SESSION_TIMEOUT": "60",
        "BROKER_HEARTBEAT_INTERVAL": "3",
    }
    return Worker(folder, kafka, redis_url, **defaults | chosen)


def emptied(redis_url: str) -> redis.Redis:
    """A client of a Redis database that is empty now, which can take long after a million keys."""
    client = redis.from_url(redis_url, socket_timeout=_PATIENCE)
    client.flushdb()
    return client


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used of the cores."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def numbers(worker: Worker) -> dict[str, float]:
    """The worker's metrics, summed over their labels; of times the latest."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    found: dict[str, float] = {"xm_rejections_total": 0.0, "xm_events_total": 0.0}
    for line in lines:
        if line.startswith("xm_"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            if name.endswith("_timestamp_seconds"):
                found[name] = max(found.get(name, 0.0), float(value))
            else:
                found[name] = found.get(name, 0.0) + float(value)
    return found


def observe(workers: Sequence[Worker], sent: int, most: float | None = None) -> Spent:
    """What workers do from the first event observed until all that was sent is stored.

    Args:
        sent: messages that they have to read together.
        most: seconds after which they need not come to the end; then it is the pace at which they
            observe while they write checkpoints as always.
    """
    pids = [worker.process.pid for worker in workers if worker.process is not None]
    begun, before, used = 0.0, 0.0, 0.0
    deadline = time.time() + _PATIENCE
    while time.time() < deadline:
        time.sleep(_LOOK)
        pages = [numbers(worker) for worker in workers]
        now, cpu = time.time(), sum(map(cpu_seconds, pids))
        done = sum(page["xm_events_total"] + page["xm_rejections_total"] for page in pages)
        if done and not begun:
            begun, before, used = now, done, cpu
        elif begun and done >= sent and not any(page.get("xm_lag", 1.0) for page in pages):
            written = max(page["xm_checkpoint_timestamp_seconds"] for page in pages)
            if min(written - begun, done - before) <= 0:
                raise SystemExit("All was read before it could be timed: raise --events.")
            return Spent(done - before, written - begun, cpu - used)
        elif begun and most is not None and now - begun > most:
            return Spent(done - before, now - begun, cpu - used)
    raise SystemExit("The workers did not read the topic:\n" + workers[0].log.read_text()[-4000:])


def show_machine(redis_url: str, kafka: str | None = None, *packages: str) -> None:
    """Print when, where, with what and how this was measured."""
    with redis.from_url(redis_url) as client:
        versions = [f"Redis {client.info('server')['redis_version']}"]
    if kafka is not None:
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        found = admin.get_broker_version_data(admin.describe_cluster()["controller_id"])
        versions.append(f"Kafka {'.'.join(map(str, found.broker_version))}")
        admin.close()
    versions += [f"{name} {version(name)}" for name in ("faust-streaming", "aiokafka", *packages)]
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    module = sys.modules["__main__"].__spec__
    command = shlex.join(["python", "-m", module.name if module else "?", *sys.argv[1:]])
    print(
        f"\n{time.strftime('%Y-%m-%d')}, {platform.machine()}, {cores}, "
        f"Python {platform.python_version()}, {', '.join(versions)}: `{command}`\n"
    )


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(map(str, row))} |")

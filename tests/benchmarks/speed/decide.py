"""Speed of the decision service, alone and beside a busy worker, and of nginx with and without it.

    python -m tests.benchmarks.speed.decide --kafka HOST:PORT --redis URL

wrk asks for 20,000 keys in turn. The service has decisions on 100,000 subjects in its copy; among
them is one in a hundred of these keys. Each measurement is done at fixed rates, and as fast as
answers come, which uses up a core. The worker at full load reads a topic that was filled before,
and must not have reached its end when the measurement ends. With `--pin` it has the last core, and
service and wrk the others: a worker at full load takes a core, and two cores are few for the rest.

nginx has the shipped configuration, but no limits on look-ups: with them nginx would refuse most
keys, because almost none of the 20,000 is in its cache, and the cost of a look-up would not show.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from monitor.alerting.decisions import Decision
from monitor.identity import from_settings
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.traffic.producer import send
from tests.benchmarks.speed.measure import (
    default_worker,
    emptied,
    numbers,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import Stream
from tests.support.gateways import Nginx, nginx, write_nginx
from tests.support.programs import DecisionService, WebServer, Worker, program
from tests.support.workers import until

_KEYS, _SUBJECTS, _BLOCKED_EVERY = 20_000, 100_000, 100
_SCRIPT = """
local n = 0
delay = function()
  return DELAY
end
request = function()
  n = (n + 7) % KEYS
  return wrk.format("GET", "PATH", {["Authorization"] = "Bearer sk-" .. n})
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "failed": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""
_PLAIN = """
events {} http { keepalive_requests 1000000000;
upstream api { server 127.0.0.1:API; keepalive 64; keepalive_requests 1000000000; }
server { listen 127.0.0.1:PORT; location / { PROXY } } }
"""
_MEASURED = "service", "nginx", "busy"
_ALL = os.sched_getaffinity(0)
_PROXY = 'proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";'
_WITHOUT_LIMITS = {"rate=300r/s": "rate=1000000r/s", "rate=1000r/s": "rate=1000000r/s"}


class Speed(NamedTuple):
    """What wrk measured; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    failed: int


class PlainNginx(WebServer):
    """An nginx that passes everything on, or answers everything itself."""

    page = "/"

    def __init__(self, folder: Path, api: int | None = None) -> None:
        super().__init__(folder)
        proxy = _PROXY if api else 'return 200 "{}";'
        values = {"API": str(api or 1), "PORT": str(self.port), "PROXY": proxy}
        text = _PLAIN
        for name, value in values.items():
            text = text.replace(name, value)
        write_nginx(folder, text)

    def command(self) -> list[str]:
        return nginx(self.folder)


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--seconds", type=int, default=15, help="of each measurement")
    options.add_argument("--connections", type=int, default=32, help="of wrk")
    options.add_argument(
        "--nice", type=int, default=0, help="of service, nginx and wrk, if others use the machine"
    )
    options.add_argument(
        "--rates",
        type=int,
        nargs="+",
        default=[500, 6_000, 0],
        help="of requests per second; 0: as fast as answers come",
    )
    options.add_argument("--only", nargs="+", default=_MEASURED, choices=_MEASURED)
    options.add_argument("--pin", action="store_true", help="give the worker a core of its own")
    options.add_argument("--events", type=int, default=1_000_000, help="for the busy worker")
    chosen = options.parse_args()
    rows: list[list[object]] = []

    def measure(what: str, port: int, path: str) -> None:
        for rate in chosen.rates:
            speed = _wrk(port, path, chosen, rate)
            times = f"{speed.rate:,.0f}", f"{speed.p50:.2f}", f"{speed.p99:.2f}"
            rows.append([what, f"{rate:,}" if rate else "all", *times, speed.failed])
            print(*rows[-1], flush=True)

    def run(program: WebServer) -> None:
        running.enter_context(program)
        assert program.process is not None
        for process in (main := psutil.Process(program.process.pid), *main.children(True)):
            process.nice(chosen.nice)

    if chosen.pin:
        os.sched_setaffinity(0, _ALL - {max(_ALL)})
    emptied(chosen.redis).close()
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        worker = default_worker(
            Path(folder, "worker"), chosen.kafka, chosen.redis, XM_DECISIONS__SHADOW="false"
        )
        _decide(worker)
        service = DecisionService(Path(folder, "service"), worker)
        run(service)
        if "service" in chosen.only:
            measure("service", service.port, "/v1/decision")
        if "nginx" in chosen.only:
            api = PlainNginx(Path(folder, "api"))
            run(api)
            without = PlainNginx(Path(folder, "without"), api.port)
            run(without)
            measure("nginx without it", without.port, "/v1/chat/completions")
            gateway = Nginx(Path(folder, "with"), api.port, service.port, patient=False)
            gateway.changes = _WITHOUT_LIMITS
            run(gateway)
            measure("nginx with it", gateway.port, "/v1/chat/completions")
        if "busy" in chosen.only:
            with _busy(worker, chosen.events, pin=chosen.pin):
                measure("service, beside a worker at full load", service.port, "/v1/decision")
    os.sched_setaffinity(0, _ALL)
    print_machine(chosen.redis, chosen.kafka, "uvloop", "httptools")
    print(f"{chosen.connections} connections, {_KEYS:,} keys, {_SUBJECTS:,} subjects decided on\n")
    print_table(["", "offered/s", "answered/s", "p50, ms", "p99, ms", "failed"], rows)


def _decide(worker: Worker) -> None:
    """Put decisions into Redis: on every hundredth key that wrk asks for, and on others."""
    identity, now = from_settings(worker.settings), time.time()
    store = RedisStore(worker.settings.redis_url, 3600.0)
    for begin in range(0, _SUBJECTS * _BLOCKED_EVERY, 1_000 * _BLOCKED_EVERY):
        keys = range(begin, begin + 1_000 * _BLOCKED_EVERY, _BLOCKED_EVERY)
        store.commit(
            Checkpoint(
                decisions=[
                    Decision(identity.key(f"sk-{n}"), "block", "a_1", now, 3600.0) for n in keys
                ]
            )
        )


def _wrk(port: int, path: str, chosen: argparse.Namespace, rate: int) -> Speed:
    """Ask at a rate, or as fast as answers come if it is 0."""
    delay = int(1_000 * chosen.connections / rate) if rate else 0
    values = {"KEYS": str(_KEYS), "PATH": path, "DELAY": str(delay)}
    text = _SCRIPT
    for name, value in values.items():
        text = text.replace(name, value)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(text)
        script.flush()
        options = ["-t1", f"-c{chosen.connections}", f"-d{chosen.seconds}", "-s", script.name]
        done = subprocess.run(
            ["nice", f"-n{chosen.nice}", program("wrk"), *options, f"http://127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    rate = found["requests"] / found["microseconds"] * 1e6
    return Speed(rate, found["p50"] / 1e3, found["p99"] / 1e3, found["failed"])


@contextmanager
def _busy(worker: Worker, events: int, *, pin: bool) -> Iterator[None]:
    """Run a worker at full load; fail if it has read everything before the end."""
    worker.options = ["--role", "watch"]
    here = os.sched_getaffinity(0)
    if pin:
        os.sched_setaffinity(0, _ALL - here)
    with worker:
        os.sched_setaffinity(0, here)
        worker.pause()
        stream = Stream(None, _KEYS)
        sent = asyncio.run(send(stream.take(events), worker.settings.kafka, worker.requests))
        worker.resume()
        until(lambda: numbers(worker)["xm_events_total"] > 0)
        before = numbers(worker)["xm_events_total"]
        yield
        read = numbers(worker)["xm_events_total"]
        print(f"The worker read {read - before:,.0f} requests meanwhile.", flush=True)
        if read >= sent.acknowledged:
            raise SystemExit("The worker was idle at the end. Raise --events.")


if __name__ == "__main__":
    main()

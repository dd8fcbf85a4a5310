"""Upgrade and rollback: workers of another commit and of this one share one consumer group.

    python -m tests.faults.upgrade --old COMMIT --libs DIR

starts Apache Kafka from a folder of its jars, Debian's Redis and a webhook that takes the alerts.
The other commit is checked out into the user's cache and runs with this environment's packages, or
with `--python` of an environment that has it installed. While requests arrive, the workers are
replaced: old, old and new, new, new and old, old, old and new, new. A worker that cannot go on with
what the other has written must refuse with a message and leave its partitions to the others.

Afterwards an undisturbed engine of this commit observes the topic. No request may be lost or
counted twice, and the webhook must have every state of every alert of a key exactly once. Alerts
of campaigns are not compared, because linkers of two commits may find them in another order; none
may come twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from monitor.alerting.alerts import Alert
from pipelines.kafka import topics
from tests.faults.soak import observed_requests, requests_on_topic, streaming
from tests.support.programs import Worker
from tests.support.servers import Kafka, Redis
from tests.support.workers import another_worker, expected_results, until, worker_results

ROOT = Path(__file__).parents[2]
_REFUSAL = "with the newest release"

Sent = tuple[str, str, str, float]  # id, state, severity and time of a message of an alert


class OldWorker(Worker):
    """A worker of another checkout.

    Args:
        like: a worker of its group.
        source: the checkout; `None` if `python` has it installed.
        python: that runs it.
    """

    start_seconds = 600.0  # it compiles kernels

    def __init__(self, folder: Path, like: Worker, source: Path | None, python: str) -> None:
        environment = {name: x for name, x in like.environment.items() if name != "XM_WEB_PORT"}
        super().__init__(folder, like.settings.kafka, like.settings.redis_url, **environment)
        self._source, self._python = source, python

    def command(self) -> list[str]:
        before, after = super().command()[:-4], super().command()[-3:]
        path = [f"PYTHONPATH={self._source}"] if self._source else []
        return [*before, *path, self._python, *after]


class Step(NamedTuple):
    """One replacement: who runs during it, and how it went."""

    runs: str
    seconds: float
    outcome: str


class Result(NamedTuple):
    """What is wrong after all replacements.

    Attributes:
        requests: on the topic.
        alerts: messages of alerts of keys, accounts and end users that were expected.
        lost: requests that are in no record, by key.
        doubled: requests that records count more often than the topic has them.
        missing: messages of alerts that the webhook did not get.
        extra: messages that only the webhook has.
        repeated: messages, also of campaigns, that the webhook got more than once.
    """

    requests: int
    alerts: int
    lost: Counter[str]
    doubled: Counter[str]
    missing: set[Sent]
    extra: set[Sent]
    repeated: set[Sent]

    @property
    def faults(self) -> dict[str, int]:
        counts = {
            "requests lost": self.lost.total(),
            "requests doubled": self.doubled.total(),
            "alerts missing": len(self.missing),
            "alerts extra": len(self.extra),
            "alerts repeated": len(self.repeated),
        }
        return {name: count for name, count in counts.items() if count}


@contextmanager
def webhook() -> Iterator[tuple[str, list[Alert]]]:
    """The URL of a webhook, and what it gets."""
    taken: list[Alert] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.extend(msgspec.convert(json.loads(body)["alerts"], list[Alert]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", taken
    finally:
        server.shutdown()


def checkout(commit: str) -> Path:
    """The files of a commit, in a folder of the user's cache: numba's cache depends on its path."""
    name = subprocess.run(
        ["git", "rev-parse", f"{commit}^{{commit}}"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = cache / "extraction-monitor" / f"commit-{name.stdout.decode()[:12]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as part:
            packed = subprocess.run(
                ["git", "archive", commit, "monitor", "pipelines"],
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
            )
            subprocess.run(["tar", "-x", "-C", part], check=True, input=packed.stdout)
            Path(part).rename(folder)
            Path(part).mkdir()
    return folder


def compile_kernels_of(source: Path | None, python: str) -> None:
    """Compile the kernels of a checkout once, instead of in every worker."""
    program = """
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
Engine(Settings(), Identity(b"0123456789abcdef"), MemoryStore())
Linker(Settings(), MemoryStore())
"""
    path = {"PYTHONPATH": str(source)} if source else {}
    subprocess.run([python, "-c", program], check=True, env={**os.environ, **path})


def replace(new: Worker, old: Callable[[Path], Worker], folder: Path, seconds: float) -> list[Step]:
    """Upgrade, roll back and upgrade again; the last worker runs when this returns.

    Args:
        new: a worker of this commit that was not started yet.
        old: makes a worker of the other commit in a folder.
        folder: for their files.
        seconds: that each step lasts at least.
    """
    first = old(folder / "old")
    steps: list[Step] = []

    def step(runs: str, act: Callable[[], str]) -> None:
        begun = time.monotonic()
        outcome = act()
        time.sleep(seconds)
        steps.append(Step(runs, time.monotonic() - begun, outcome))
        print(f"| {runs} | {steps[-1].seconds:.0f} | {outcome} |", flush=True)

    step("old", lambda: _start(first))
    step("old and new", lambda: _start(new))
    step("new", lambda: _stop(first))
    second = old(folder / "old-again")
    step("new and old", lambda: _start(second))
    if steps[-1].outcome == "runs":
        step("old", lambda: _stop(new))
        last = another_worker(new, folder / "new-again")
        step("old and new", lambda: _start(last))
        step("new", lambda: _stop(second))
        new.process, new.port, new.folder = last.process, last.port, last.folder
    return steps


def _start(worker: Worker) -> str:
    try:
        worker.start()
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if _REFUSAL in line]
        return f"refuses: {lines[-1].strip()}" if lines else f"FAILS: {str(error)[-2000:]}"
    return "runs"


def _stop(worker: Worker) -> str:
    worker.stop()
    assert worker.process is not None
    if worker.process.returncode == 0:
        return "runs"
    print(worker.log.read_text()[-4000:], file=sys.stderr)
    return f"FAILS: the other ended with {worker.process.returncode}"


def compare(worker: Worker, taken: list[Alert]) -> Result:
    """Compare what the workers have made of the stream with an undisturbed engine."""
    expected = expected_results(worker)
    found = worker_results(worker, expected)
    on_topic, observed = requests_on_topic(worker), observed_requests(found.stored)
    wanted = {_sent(msgspec.json.decode(alert, type=Alert)) for alert in expected.alerts}

    def received() -> list[Sent]:
        return [_sent(alert) for alert in [*taken] if alert.subject.type != "campaign"]

    until(lambda: wanted <= {*received()} or _quiet(taken), 180)
    got = Counter(received())
    return Result(
        requests=on_topic.total(),
        alerts=len(wanted),
        lost=on_topic - observed,
        doubled=observed - on_topic,
        missing=wanted - got.keys(),
        extra=got.keys() - wanted,
        repeated={each for each, count in Counter(map(_sent, taken)).items() if count > 1},
    )


def _quiet(taken: list[Alert]) -> bool:
    """Whether the webhook gets nothing for ten seconds."""
    before = len(taken)
    time.sleep(10)
    return len(taken) == before


def _sent(alert: Alert) -> Sent:
    return alert.id, alert.state, alert.severity, alert.detected_at


def run(
    kafka: str,
    redis_url: str,
    folder: Path,
    source: Path | None,
    python: str = sys.executable,
    seconds: float = 10,
    rate: float = 150,
) -> tuple[list[Step], Result]:
    """Replace workers of `source` by those of this commit and back, while requests arrive."""
    with webhook() as (url, taken):
        new = Worker(
            folder / "new",
            kafka,
            redis_url,
            XM_TOPICS__PARTITIONS="4",
            XM_RECEIVERS__WEBHOOK_URL=url,
            XM_RECEIVERS__WEBHOOK_SECRET="shared with the webhook",
            XM_RECEIVERS__LEAST_SEVERITY="info",
        )
        topics.create(new.settings)
        try:
            with streaming(new, rate):
                steps = replace(new, lambda at: OldWorker(at, new, source, python), folder, seconds)
            return steps, compare(new, taken)
        finally:
            new.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.upgrade", description=__doc__)
    parser.add_argument("--libs", type=Path, required=True, help="folder of Apache Kafka's jars")
    parser.add_argument("--old", required=True, help="commit or tag of the other workers")
    parser.add_argument("--python", help="of an environment that has the other commit installed")
    parser.add_argument("--seconds", type=float, default=10, help="that each step lasts")
    options = parser.parse_args()
    source = None if options.python else checkout(options.old)
    python = options.python or sys.executable
    compile_kernels_of(source, python)
    with tempfile.TemporaryDirectory(prefix="xm-upgrade-") as name:
        folder = Path(name)
        for each in ("kafka", "redis"):
            (folder / each).mkdir()
        with Kafka(folder / "kafka", options.libs) as kafka, Redis(folder / "redis") as redis:
            print("| workers | seconds | outcome |\n|---|---:|---|", flush=True)
            steps, result = run(
                kafka.address,
                redis.url,
                folder,
                source,
                python,
                options.seconds,
            )
    print(f"\n{result.requests:,} requests, {result.alerts:,} messages of alerts: ", end="")
    print(", ".join(f"{n:,} {what}" for what, n in result.faults.items()) or "nothing is wrong")
    for each in sorted([*result.missing, *result.extra, *result.repeated])[:20]:
        print(each, file=sys.stderr)
    failed = any(step.outcome.startswith("FAILS") for step in steps)
    return 1 if failed or result.faults else 0


if __name__ == "__main__":
    sys.exit(main())

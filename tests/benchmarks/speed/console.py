"""How fast the console's pages are with a million keys and 10,000 alerts, and its memory.

    python -m tests.benchmarks.speed.console --redis URL

Redis has a million records, the linker's row of each, 10,000 open alerts with decisions, and 200
campaigns, one of them with 5,000 members. `xm console` fills its view from them; then each page is
asked for many times, one request at a time, with other subjects each time. Kafka is away: the
topics only add history. Memory is the resident memory of each process at the end.
"""

from __future__ import annotations

import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from monitor.config import Settings
from pipelines.console.view.database import View
from pipelines.console.view.keys import count_keys
from tests.benchmarks.speed.measure import emptied, parser, print_machine, print_table
from tests.support.console import ConsoleProgram
from tests.support.console_crowd import Crowd, Size, fill
from tests.support.programs import Worker

_SECRET = "known to this benchmark only"
_FILL_SECONDS = 1_800.0
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Asking:
    """A person at the console.

    Args:
        url: of the console.
        crowd: what it shows.
    """

    def __init__(self, url: str, crowd: Crowd) -> None:
        headers = {"X-Forwarded-Email": "ada@example.com", "X-Forwarded-Groups": "abuse"}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=60)
        self._random = random.Random(1)
        keys, campaigns, alerts = crowd
        flagged, ordinary = keys[:10_000], keys[10_000:]
        self.pages: dict[str, Callable[[], httpx.Response]] = {
            "now": lambda: self.get("/"),
            "now, a later page": lambda: self.get(f"/?page={self._number(400)}"),
            "alerts": lambda: self.get("/alerts"),
            "alerts, a later page": lambda: self.get(f"/alerts?page={self._number(190)}"),
            "alert": lambda: self.get(f"/alerts/{self._one(alerts)}"),
            "key with alerts": lambda: self.get(f"/keys/{self._one(flagged)}"),
            "ordinary key": lambda: self.get(f"/keys/{self._one(ordinary)}"),
            "campaign of 25": lambda: self.get(f"/campaigns/{self._one(campaigns[1:])}"),
            "campaign of 5,000": lambda: self.get(f"/campaigns/{campaigns[0]}"),
            "its members, sorted": lambda: self.get(
                f"/campaigns/{campaigns[0]}?sort=-requests&page={self._number(90)}"
            ),
            "preview of 25": lambda: self._preview(self._one(campaigns[1:])),
            "preview of 5,000": lambda: self._preview(campaigns[0]),
            "decisions": lambda: self.get("/decisions"),
            "search, begin of a key": lambda: self.post("/search", query=self._one(keys)[:12]),
            "search, a raw key": lambda: self.post("/search", query=f"sk-{self._number(10**6)}"),
            "audit": lambda: self.get("/audit"),
            "cases": lambda: self.get("/cases"),
            "appeals": lambda: self.get("/appeals"),
            "approvals": lambda: self.get("/approvals"),
            "switches": lambda: self.get("/switches"),
        }
        self.csrf = _CSRF.findall(self.get("/").text)[0]

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path, follow_redirects=True)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.client.post(path, data={"csrf": self.csrf, **fields}, follow_redirects=True)

    def _preview(self, campaign: str) -> httpx.Response:
        return self.post(f"/campaigns/{campaign}/act", action="challenge", scope="all")

    def _one(self, names: list[str]) -> str:
        return self._random.choice(names)

    def _number(self, most: int) -> int:
        return self._random.randint(1, most)


def measure(ask: Callable[[], httpx.Response], times: int) -> tuple[float, float, int]:
    """Median and 99th percentile in milliseconds, and the bytes of the last answer."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        answer = ask()
        taken.append(1_000 * (time.perf_counter() - begin))
        assert answer.status_code == 200, f"{answer.url}: {answer.status_code}"
    taken.sort()
    return (
        statistics.median(taken),
        taken[max(0, round(0.99 * len(taken)) - 1)],
        len(answer.content),
    )


def main() -> None:
    options = parser(__doc__ or "", "redis")
    options.add_argument("--times", type=int, default=200, help="requests of each page")
    options.add_argument("--keys", type=int, default=Size().keys)
    chosen = options.parse_args()
    emptied(chosen.redis)
    print_machine(chosen.redis)
    size = Size(keys=chosen.keys)
    settings = Settings(redis_url=chosen.redis, identity_secret=_SECRET)  # type: ignore[arg-type]
    begin = time.monotonic()
    crowd = fill(settings, size)
    print(f"\nRedis was filled in {time.monotonic() - begin:.0f} s.")
    measure_console(chosen.redis, crowd, size, chosen.times)


def measure_console(redis_url: str, crowd: Crowd, size: Size, times: int) -> None:
    """Start the console on a filled Redis, and print its figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = _console(folder, redis_url)
        begin = time.monotonic()
        program.start()
        stack.callback(program.stop)
        print(f"The console was ready after {time.monotonic() - begin:.0f} s.")
        view = View(Path(program.environment["XM_CONSOLE__VIEW_FILE"]))
        while count_keys(view, ()) < size.keys or _campaigns(view) < size.campaigns:
            assert time.monotonic() - begin < _FILL_SECONDS
            time.sleep(1)
        print(f"Its view had everything after {time.monotonic() - begin:.0f} s, ", end="")
        print(f"{view.file.stat().st_size / 1e6:,.0f} MB.\n")
        asking = Asking(program.url, crowd)
        rows = []
        for name, ask in asking.pages.items():
            measure(ask, 2)
            median, p99, length = measure(ask, times)
            rows.append((name, f"{median:.0f}", f"{p99:.0f}", f"{length / 1_000:,.0f}"))
        print_table(("page", "median, ms", "p99, ms", "kB"), rows)
        print(f"\nResident memory, MB: {_memory(program)}")


def _console(folder: Path, redis_url: str) -> ConsoleProgram:
    worker = Worker(folder / "worker", "127.0.0.1:1", redis_url)  # it does not run
    return ConsoleProgram(
        folder / "console",
        worker.environment,
        XM_IDENTITY_SECRET=_SECRET,
        XM_TOPICS__FINGERPRINTS="extraction.fingerprints",
        XM_CONSOLE__PROXY_ADDRESSES='["127.0.0.1"]',
        XM_CONSOLE__PROXY_ROLES_HEADER="X-Forwarded-Groups",
        XM_CONSOLE__PROXY_ROLES='{"abuse": "admin"}',
        XM_CONSOLE__REQUESTS_PER_SECOND="10000",
        XM_CONSOLE__PRICE="10",
    )


def _campaigns(view: View) -> int:
    return view.number("SELECT count(*) FROM campaigns")


def _memory(program: ConsoleProgram) -> str:
    assert program.process is not None
    web = psutil.Process(program.process.pid)
    children = [each for each in web.children() if "resource_tracker" not in each.cmdline()[-1]]
    sizes = [each.memory_info().rss / 1e6 for each in (web, *children)]
    return ", ".join(
        f"{name} {size:.0f}" for name, size in zip(("web", "reader"), sizes, strict=False)
    )


if __name__ == "__main__":
    main()

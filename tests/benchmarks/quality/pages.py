"""Pages against incidents: a labelled day through a worker and Alertmanager.

    python -m tests.benchmarks.quality.pages DAY --kafka HOST:PORT --redis URL [--speed 60]

DAY is a folder with `traffic.jsonl` and `labels.json`, as written by `xm simulate`. The day is
produced at `speed` times real time to a worker with all roles, which sends its alerts to Debian's
Alertmanager with the shipped routes. The times of these routes pass as fast. What the worker needs
to find and deliver a campaign does not: `--slack` seconds are added to the waits for it (15 minutes
are 15 s at 60 times real time, and some seconds of work are minutes of the day). In the middle of
the day Alertmanager is restarted. A pager without Alertmanager gets the same alerts.

Printed are the pages, one per row; pages and incidents (labelled campaigns); alerts of severity
info that anybody was notified of; and what Alertmanager lacked five minutes after its restart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from monitor.identity import Identity, from_settings
from monitor.store.alert_book import AlertBook
from pipelines.kafka import topics
from pipelines.traffic.producer import send_file
from pipelines.traffic.schedule import SendSchedule
from tests.benchmarks.speed.measure import numbers
from tests.support.alertmanager import Notification, ShippedAlertmanager
from tests.support.apps import until
from tests.support.programs import Worker
from tests.support.receivers import Desk

_WAIT_MINUTES = 15.0
_RESTART_SECONDS = 300.0  # after which nothing may be missing


class Labels:
    """The labelled campaign of each subject.

    Args:
        path: of `labels.json`.
        identity: of the worker.
        book: its alerts.
    """

    def __init__(self, path: Path, identity: Identity, book: AlertBook) -> None:
        keys = json.loads(path.read_text())
        self._of = {identity.key(key): each["campaign"] for key, each in keys.items()}
        self._book = book
        self.campaigns = {each["campaign"] for each in keys.values() if each["campaign"]}

    def incidents(self, subjects: Iterable[str]) -> set[str]:
        """The labelled campaigns that subjects belong to; `ordinary` for those without one."""
        found = set()
        for subject in subjects:
            members = [subject]
            for entry in self._book.entries():
                if entry.alert.subject.id == subject and entry.alert.subject.members:
                    members = entry.alert.subject.members
            labels = Counter(self._of.get(member) or "ordinary" for member in members)
            found.add(labels.most_common(1)[0][0])
        return found


class Restart(NamedTuple):
    """How Alertmanager learned the open alerts again.

    Attributes:
        known: subjects with open alerts before.
        seconds: until none was missing.
        missing: subjects that were missing at the end of the wait.
    """

    known: int
    seconds: float
    missing: set[str]


async def run(chosen: argparse.Namespace, folder: Path) -> None:
    """Produce the day, and print what came of it."""
    alertmanager = ShippedAlertmanager(folder / "alertmanager", chosen.speed, chosen.slack)
    pager = Desk()
    worker = Worker(
        folder / "worker",
        chosen.kafka,
        chosen.redis,
        XM_TOPICS__PARTITIONS="8",
        XM_RECEIVERS__ALERTMANAGER_URL=alertmanager.url,
        XM_RECEIVERS__WAIT_MINUTES=f"{_WAIT_MINUTES / chosen.speed + chosen.slack / 60.0}",
        XM_RECEIVERS__ROUTES__PAGER__TYPE="pagerduty",
        XM_RECEIVERS__ROUTES__PAGER__URL=pager.url,
        XM_RECEIVERS__ROUTES__PAGER__SECRET="key",
        XM_RECEIVERS__ROUTES__PAGER__LEAST_SEVERITY="critical",
    )
    topics.create(worker.settings)
    book = AlertBook(chosen.redis)
    async with alertmanager.notifying(), pager.open():
        with alertmanager, worker:
            begin = time.time()
            sending = asyncio.create_task(
                send_file(
                    chosen.day / "traffic.jsonl",
                    chosen.kafka,
                    worker.requests,
                    schedule=SendSchedule(chosen.speed),
                )
            )
            half = asyncio.create_task(
                _restart(alertmanager, book, chosen.hours * 1800.0 / chosen.speed)
            )
            sent = await sending
            await until(lambda: not numbers(worker)["xm_lag"], 600)
            await asyncio.sleep(2 * 60.0 * _WAIT_MINUTES / chosen.speed)
            restart = await half
    labels = Labels(chosen.day / "labels.json", from_settings(worker.settings), book)
    _print_pages(alertmanager.pages, labels, begin, chosen.speed)
    paged = [
        body["dedup_key"] for _, _, body in pager.accepted if body["event_action"] == "trigger"
    ]
    incidents = len(labels.campaigns)
    for name, count in (
        ("Alertmanager", len(alertmanager.pages)),
        ("PagerDuty", len(set(paged))),
    ):
        print(f"{name}: {count} pages for {incidents} incidents, {count / incidents:.2f} each")
    named = labels.incidents(set().union(*(each.subjects for each in alertmanager.pages)))
    print(f"incidents without a page: {', '.join(labels.campaigns - named) or 'none'}")
    info = sum(
        alert["labels"]["severity"] == "info"
        for each in alertmanager.notifications
        for alert in each.alerts
    )
    print(f"notified alerts of severity info: {info}")
    print(
        f"restart of Alertmanager: {restart.known} subjects open, all known again after "
        f"{restart.seconds:.0f} s, missing {', '.join(restart.missing) or 'none'}"
    )
    print(f"{sent.acknowledged:,} requests in {time.time() - begin:,.0f} s")


async def _restart(alertmanager: ShippedAlertmanager, book: AlertBook, after: float) -> Restart:
    """Restart Alertmanager, and wait until it knows what the monitor has open."""
    await asyncio.sleep(after)
    known = len(alertmanager.subjects())
    await asyncio.to_thread(alertmanager.stop)
    await asyncio.to_thread(alertmanager.start)
    begin = time.monotonic()
    while True:
        missing = await asyncio.to_thread(_missing, alertmanager, book)
        seconds = time.monotonic() - begin
        if not missing or seconds > _RESTART_SECONDS:
            return Restart(known, seconds, missing)
        await asyncio.sleep(1.0)


def _missing(alertmanager: ShippedAlertmanager, book: AlertBook) -> set[str]:
    subjects = {
        entry.alert.subject.id
        for entry in book.entries()
        if entry.is_open and any(mark.accepted for mark in entry.of("alertmanager"))
    }
    return subjects - alertmanager.subjects()


def _print_pages(pages: Iterable[Notification], labels: Labels, begin: float, speed: float) -> None:
    for each in pages:
        hour = (each.at - begin) * speed / 3600.0
        incidents = ", ".join(sorted(labels.incidents(each.subjects)))
        print(f"{hour:6.2f} h  {' '.join(sorted(each.subjects)):28}  {incidents}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("day", type=Path, help="folder with traffic.jsonl and labels.json")
    parser.add_argument("--kafka", required=True, help="HOST:PORT")
    parser.add_argument("--redis", required=True, help="URL of an empty database")
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--slack", type=float, default=20.0, help="seconds, see above")
    parser.add_argument("--hours", type=float, default=24.0, help="of the day, for the middle")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xm-pages-") as folder:
        asyncio.run(run(chosen, Path(folder)))


if __name__ == "__main__":
    main()

"""What a worker of the role `deliver` does about cases."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.metrics import Metrics
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from pipelines.cases.access import case_store
from pipelines.cases.archive import Archive, send_with
from pipelines.cases.collect import Collector
from pipelines.cases.recorder import Message, Recorder
from pipelines.cases.recording import Recording
from pipelines.kafka.read import read_messages, read_topic
from pipelines.notify.incidents.ledger import Ledger

_SECONDS = 2.0  # for an answer of Redis


class CaseWork(NamedTuple):
    """What records and copies cases."""

    recording: Recording
    archive: Archive


def case_work(app: Any, settings: Settings, metrics: Metrics, ledger: Ledger) -> CaseWork:
    """What records and copies cases in a worker.

    Raises:
        ConfigError: if the key cannot be used, or the extra `cases` is missing.
    """
    store, control = case_store(settings, timeout=_SECONDS), ControlStore(settings.redis_url)
    book = AlertBook(settings.redis_url, _SECONDS)
    thread = ThreadPoolExecutor(1, "cases")
    collector = Collector(settings)
    recorder = Recorder(
        store,
        settings.cases,
        lambda: (entry.alert for entry in book.entries()),
        lambda subject: collector.collect(subject, quick=True),
        lambda alert: ledger.withdrawal(alert) is not None,
        metrics,
    )
    topic = settings.topics.cases
    archive = Archive(
        store,
        recorder,
        control,
        settings,
        read=lambda: read_topic(settings, topic),
        send=send_with(app, topic),
        thread=thread,
        metrics=metrics,
    )

    def reread(sources: Sequence[str]) -> list[Message]:
        found = read_messages(settings, sources)
        return [Message(place, msgspec.json.decode(value, type=Alert)) for place, value in found]

    return CaseWork(Recording(recorder, thread, reread), archive)

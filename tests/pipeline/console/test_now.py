"""The first page: what each viewer sees, and live updates."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from monitor.alerting.alerts import Alert, Subject
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.console.access.session import Session
from pipelines.console.access.viewer import Viewer
from pipelines.console.pages import now
from pipelines.console.reader.cost import Prices
from pipelines.console.reader.stored import Stored
from pipelines.console.view.database import Writer
from tests.support import campaigns as linked

KEY, OTHER = f"k_{1:024x}", f"k_{2:024x}"


def alert(key: str, kind: str = "burst", **evidence: float) -> Alert:
    return Alert(
        f"a_{key[-1]}{kind}", kind, "open", "critical", 0.9, Subject("api_key", key), 100.0,
        (50.0, 100.0), evidence, f"{key}: <script>alert(1)</script>", "throttle",
    )  # fmt: skip


@pytest.fixture
def fill(settings):
    """Write alerts to the book, and read everything; the reader goes on with the same view."""
    writer = Writer(settings.console.view_file)

    def write(*alerts: Alert) -> Writer:
        at = time.time()
        AlertBook(settings.redis_url).write([Entry(each, 0, at, at) for each in alerts])
        Stored(settings, writer, Prices(10.0)).read()
        return writer

    yield write
    writer.close()


def test_now_shows_what_is_open_decided_and_waiting(settings, fill, open_pages):
    linked.save(RedisStore(settings.redis_url, 1e6), linked.partition(settings))
    for key in (KEY, OTHER):
        ControlStore(settings.redis_url).decide(key, "block", 60.0, "ada", "a shared key")
    fill(alert(KEY, "automation", withdrawn_before=1.0))
    text = open_pages("viewer").get("/").text
    assert "<script>alert" not in text
    for expected in (
        KEY,
        OTHER,
        "/campaigns/c_",
        "came back after a person withdrew",
        "ada",
        "and 1 more",
    ):
        assert expected in text


def test_now_shows_a_tenant_only_what_is_its_own(settings, fill, open_pages):
    linked.save(RedisStore(settings.redis_url, 1e6), linked.partition(settings))
    writer = fill(alert(KEY), alert(OTHER))
    with writer.transaction() as connection:
        connection.execute("UPDATE keys SET tenant = 'acme/' WHERE key = ?", (KEY,))
    text = open_pages("viewer", tenants=("acme/",)).get("/").text
    assert KEY in text
    assert OTHER not in text
    assert "/campaigns/c_" not in text
    assert "<dd>1 <small>1 critical" in text.replace('<a href="#keys">1</a>', "1")


async def test_events_send_each_change_once_and_end_with_the_session(
    settings, fill, open_pages, monkeypatch
):
    fill(alert(KEY))
    pages = open_pages("viewer")
    monkeypatch.setattr(now, "_TICK", 0.01)
    monkeypatch.setattr(now, "_ALIVE", 0.0)
    alive = True

    class Ending(Session):
        async def alive(self) -> bool:
            return alive

    async def no() -> bool:
        return False

    request = SimpleNamespace(
        app=SimpleNamespace(state=SimpleNamespace(console=pages.console)),
        state=SimpleNamespace(session=Ending(Viewer("ada", "viewer"), csrf="")),
        is_disconnected=no,
    )
    stream = now._stream(request, Viewer("ada", "viewer"))

    async def event() -> bytes:
        found = anext(part async for part in stream if part.startswith(b"event"))
        return await asyncio.wait_for(found, 30.0)

    assert KEY.encode() in await event()
    fill(alert(OTHER))
    found = await event()
    assert OTHER.encode() in found
    assert all(line.startswith((b"event: ", b"data: ")) for line in found.splitlines() if line)
    alive = False
    assert [part async for part in stream] == []

"""Alerts wait to be recorded without delaying anybody, and are recorded when Redis is back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.cases import recording
from pipelines.cases.recorder import Message
from pipelines.cases.recording import Recording
from pipelines.demo.embedded import free_port
from tests.support.apps import until
from tests.support.cases import MEMBERS, Case, campaign_alert, key_alert


class Topic:
    """The topic of alerts."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def message(self, offset: int) -> Message:
        alert = key_alert(MEMBERS[offset % 5], at=1e6 * offset) if offset else campaign_alert()
        return Message(f"alerts:0:{offset}", alert)

    def reread(self, sources: Sequence[str]) -> list[Message]:
        self.read += sources
        return [self.message(int(source.split(":")[2])) for source in sources]


async def test_alert_is_recorded_when_kafka_has_its_entries(redis_url: str) -> None:
    case, topic = Case(redis_url), Topic()
    async with Recording(case.recorder, ThreadPoolExecutor(1), topic.reread) as queue:
        foreign = queue.submit([Message("alerts:0:7", key_alert("k_" + "9" * 24))])
        done = queue.submit([topic.message(0)])
        await asyncio.wait_for(foreign, 60)
        await until(case.store.rows)
        assert not done.done()
        await case.settle()
        await asyncio.wait_for(done, 60)


async def test_alerts_of_an_outage_are_forgotten_and_read_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "HELD", 2)
    case, topic = Case(redis_url), Topic()
    refresh = case.recorder.watched.refresh
    monkeypatch.setattr(
        case.recorder.watched, "refresh", Case(f"redis://127.0.0.1:{free_port()}").store.version
    )
    async with Recording(case.recorder, ThreadPoolExecutor(1), topic.reread) as queue:
        waiting = [queue.submit([topic.message(n)]) for n in range(4)]
        await until(lambda: "cases_failed" in caplog.text)
        assert not topic.read
        monkeypatch.setattr(case.recorder.watched, "refresh", refresh)
        await until(lambda: case.store.rows() and len(case.store.lines(only(case))) == 6)
        await case.settle()
        await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert set(topic.read) == {"alerts:0:2", "alerts:0:3"}
    assert caplog.text.count("cases_failed") == 1


async def test_stopped_queue_finishes_nothing(redis_url: str) -> None:
    case, topic = Case(redis_url), Topic()
    async with Recording(case.recorder, ThreadPoolExecutor(1), topic.reread) as queue:
        done = queue.submit([topic.message(0)])
        await until(case.store.rows)
    assert not done.done()  # so the successor reads it again


def only(case: Case) -> str:
    (row,) = case.store.rows()
    return row.id


async def test_case_that_stays_broken_does_not_hold_the_offset_for_ever(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case, topic = Case(redis_url), Topic()
    case.record(campaign_alert())
    case.store._call("RPUSH", f"xm:case:{{{only(case)}}}", b"forged")
    async with Recording(case.recorder, ThreadPoolExecutor(1), topic.reread) as queue:
        done = queue.submit([topic.message(1)])
        await until(lambda: "case_not_written" in caplog.text)
        assert not done.done()
        monkeypatch.setattr(recording, "_BROKEN_SECONDS", 0.0)
        await asyncio.wait_for(done, 60)
    assert "alerts_not_recorded sources=alerts:0:1" in caplog.text

"""Cases are copied to their topic, and come back from it when Redis loses or changes them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis
from aiokafka.errors import MessageSizeTooLargeError

from monitor.config import Cases, Settings
from monitor.evidence.chain import check, read_entry
from monitor.evidence.entries import Closed, Noted
from monitor.evidence.keys import new_key, ring_of, rotate_key, signer_of
from monitor.evidence.ring import Ring
from monitor.evidence.rows import CaseRow
from monitor.evidence.store import CASE_KEY, CaseStore
from tests.support.apps import until
from tests.support.cases import (
    CAMPAIGN,
    MEMBERS,
    RING,
    SIGNER,
    Case,
    campaign_alert,
    key_alert,
)
from tests.support.chains import new_signer

SERVERS = [pytest.param(name, marks=pytest.mark.kafka) for name in ("redis_url", "cluster_url")]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def case(url: str) -> Case:
    return Case(url)


async def recorded(case: Case) -> str:
    """A case with three entries that the topic has."""
    case.record(campaign_alert())
    await case.settle()
    (row,) = case.store.rows()
    return row.id


def lose(case: Case, id: str, entries: int) -> list[bytes]:
    """Bring Redis back to an earlier state, as a failover to a late replica does."""
    lines = case.store.lines(id)
    kept, store = lines[: len(lines) - entries], case.store
    store.remove(id)
    if kept:
        store.replace(id, kept, None)
    return lines


async def test_entries_are_copied_once_and_in_order(case: Case, url: str) -> None:
    id = await recorded(case)
    case.store.append(id, Noted("seen"), "ann")
    await case.settle()
    assert case.topic == case.store.lines(id)
    assert case.store.copied(id) == 4
    successor = Case(url, case.topic)
    case.archive._take_turn = lambda reached=None: None  # type: ignore[method-assign]
    with redis.from_url(url.replace("+cluster", "")) as client:
        client.delete("xm:cases:turn")
    successor.record(key_alert(MEMBERS[1]), first=9)
    await successor.settle()
    assert case.topic == case.store.lines(id)
    assert len(case.topic) == 5


async def test_lost_entries_come_back(case: Case) -> None:
    id = await recorded(case)
    for lost in (1, 2, 3):
        lines = lose(case, id, lost)
        await case.settle()
        assert case.store.lines(id) == lines
        assert case.record(campaign_alert()) == {id: 2}
    assert case.topic == case.store.lines(id)
    assert case.metrics.case_restored._value.get() == 6


async def test_entry_on_top_of_an_older_one_is_signed_again(case: Case) -> None:
    id = await recorded(case)
    case.record(key_alert(MEMBERS[0]), first=1)
    await case.settle()
    lose(case, id, 1)
    case.store.append(id, Noted("after the failover"), "ann", at=1_790_000_000.0)
    await case.settle()
    found = case.store.entries(id)
    assert case.topic == case.store.lines(id)
    assert [entry.number for entry in found] == [1, 2, 3, 4, 5]
    assert (found[4].body, found[4].who) == (Noted("after the failover"), "ann")


async def test_alert_written_again_after_a_failover_is_there_once(case: Case) -> None:
    id = await recorded(case)
    case.record(key_alert(MEMBERS[0]), key_alert(MEMBERS[1]), first=1)
    await case.settle()
    lose(case, id, 2)
    assert case.record(key_alert(MEMBERS[1]), first=2) == {id: 4}  # its number was 5
    await case.settle()
    assert case.kinds(id) == ["opened", "alert", "facts", "alert", "alert"]
    assert case.topic == case.store.lines(id)


async def test_redis_that_lost_everything_is_filled_again(case: Case) -> None:
    id = await recorded(case)
    row, lines = case.store.row(id), case.store.lines(id)
    case.store.remove(id)
    await case.settle()
    assert case.store.rows() == [row]
    assert case.store.lines(id) == lines


async def test_changed_entry_is_replaced_and_named(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    id = await recorded(case)
    lines = case.store.lines(id)
    changed = lines[1].replace(b'"sig":"', b'"sig":"A')
    store = case.store
    store._call("DEL", f"{CASE_KEY}{{{id}}}")
    for line in (lines[0], changed):
        store._call("RPUSH", f"{CASE_KEY}{{{id}}}", line)
    case.record(key_alert(MEMBERS[0]), first=1)  # it is noticed before something is signed on top
    await case.settle()
    assert store.lines(id) == lines
    assert f"case_entry_dropped case={id}" in caplog.text
    assert case.record(key_alert(MEMBERS[0]), first=1) == {id: 4}


async def test_forged_entry_gets_nowhere(case: Case, url: str) -> None:
    id = await recorded(case)
    stranger = new_signer()
    forged = CaseStore(url, Ring([stranger.public, SIGNER.public]), stranger)
    forged.append(id, Noted("forged"), "ann")
    await case.archive.step()
    assert len(case.topic) == 3
    case.topic.append(forged.lines(id)[-1])
    case.topic.insert(2, b"no entry")
    kept: dict[str, list[bytes]] = {id: []}
    mirror = case.archive._read_topic(kept)
    assert check(kept[id], RING, case=id).ok
    assert mirror.rows[id].entries == len(kept[id]) == 3


async def test_unreachable_topic_loses_nothing(case: Case) -> None:
    case.refuses = True
    case.record(campaign_alert())
    with pytest.raises(RuntimeError):
        await case.archive.step()
    (row,) = case.store.rows()
    assert case.store.copied(row.id) == 0
    case.refuses = False
    await case.settle()
    assert case.topic == case.store.lines(row.id)


async def test_index_is_repaired(case: Case) -> None:
    id = await recorded(case)
    row = case.store.row(id)
    case.store.repair_index([CaseRow("case_x", CAMPAIGN, "campaign", "", 1.0, "ann", 1.0, "h")])
    case.store.repair_index([], [id])
    await case.settle()
    assert case.store.rows() == [row]


async def test_old_closed_case_is_on_the_topic_only(url: str) -> None:
    case = Case(url, kept_days=1)
    id = await recorded(case)
    case.store.append(id, Closed("extraction", "banned"), "ann", at=time.time() - 90_000)
    await case.settle()
    assert case.store.rows() == [] == case.store.lines(id)
    assert len(case.topic) == 4
    await case.settle()
    assert case.store.rows() == []
    assert read_entry(case.topic[-1]).body == Closed("extraction", "banned")


async def test_gauges_show_the_cases(case: Case) -> None:
    id = await recorded(case)
    assert case.metrics.cases_open._value.get() == 1
    assert case.metrics.case_bytes._value.get() == sum(map(len, case.store.lines(id)))
    case.store.append(id, Closed("extraction", "banned"), "ann")
    await case.settle()
    assert case.metrics.cases_open._value.get() == 0


async def test_rotated_key_is_used_without_a_restart(redis_url: str, tmp_path: Path) -> None:
    settings = Settings(redis_url=redis_url, cases=Cases(key_file=tmp_path / "case.pem"))
    new_key(settings.cases)
    case = Case(redis_url)
    case.store.ring, case.store._signer = ring_of(settings), signer_of(settings)
    id = await recorded(case)
    rotate_key(settings.cases)

    def keys() -> int:
        case.store.append(id, Noted("seen"), "ann")
        report = check(case.store.lines(id), ring_of(settings))
        assert report.problems == []
        return len(report.keys)

    await until(lambda: keys() == 2)
    await case.settle()
    assert case.topic == case.store.lines(id)


async def test_entry_that_kafka_refuses_holds_up_no_other_case(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    id = await recorded(case)
    case.store.append(id, Noted("too large"), "ann")
    case.record(campaign_alert(subject="c_0000000000ff"), first=9)
    send = case.archive._send

    async def refuse(key: bytes, value: bytes) -> None:
        if read_entry(value).body == Noted("too large"):
            raise MessageSizeTooLargeError
        await send(key, value)

    monkeypatch.setattr(case.archive, "_send", refuse)
    await case.archive.step()
    assert f"case_not_copied case={id}" in caplog.text
    assert len(case.topic) == 3 + 3
    assert case.store.copied(id) == 3

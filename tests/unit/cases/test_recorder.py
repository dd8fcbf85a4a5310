"""Alerts and changes become entries of cases: once, and not without bounds."""

from __future__ import annotations

import pytest

from monitor.evidence.entries import AlertSeen, Changed, Closed, Noted
from pipelines.cases.recorder import UNWRITTEN
from tests.support.cases import CAMPAIGN, MEMBERS, Case, campaign_alert, key_alert

OPENED = ["opened", "alert", "facts"]


@pytest.fixture
def case(redis_url: str) -> Case:
    return Case(redis_url)


def only(case: Case) -> str:
    (row,) = case.store.rows()
    return row.id


def test_critical_campaign_gets_a_case(case: Case) -> None:
    case.record(campaign_alert(severity="warning"), campaign_alert("update"))
    assert case.kinds(only(case)) == ["opened", "alert", "alert", "facts"]
    row = case.store.rows()[0]
    assert (row.subject, row.opened_by, row.severity) == (CAMPAIGN, "monitor", "critical")


def test_alert_that_is_read_again_is_recorded_once(case: Case, redis_url: str) -> None:
    for recorder in (case, case, Case(redis_url)):
        assert recorder.record(campaign_alert()).keys() == {only(case)}
    assert case.kinds(only(case)) == OPENED


def test_facts_are_taken_if_the_recorder_died_before_them(redis_url: str) -> None:
    dying = Case(redis_url)
    dying.failing.add(CAMPAIGN)
    dying.record(campaign_alert())
    assert dying.kinds(only(dying)) == OPENED[:2]
    successor = Case(redis_url)
    successor.record(campaign_alert())
    assert successor.kinds(only(successor)) == OPENED


async def test_facts_that_failed_are_taken_later(redis_url: str) -> None:
    case = Case(redis_url)
    case.failing.add(CAMPAIGN)
    case.record(campaign_alert())
    case.failing.clear()
    another = Case(redis_url)
    await another.settle()
    assert another.kinds(only(another)) == OPENED


def test_alerts_of_members_belong_to_the_case(case: Case, redis_url: str) -> None:
    case.record(campaign_alert())
    other = Case(redis_url)  # of another partition of the alerts
    assert other.record(key_alert(MEMBERS[3]), key_alert("k_" + "9" * 24), partition=3) == {
        only(case): 4
    }
    joined = [*MEMBERS, "k_" + "9" * 24]
    other.record(campaign_alert("update", members=joined), key_alert(joined[-1]), first=7)
    assert case.kinds(only(case)) == [*OPENED, "alert", "alert"]


def test_earlier_alerts_of_members_belong_to_the_case(redis_url: str) -> None:
    for _ in range(2):  # the second is a successor, which reads the same messages
        case = Case(redis_url)
        case.known = [key_alert(MEMBERS[3]), key_alert("k_" + "9" * 24), campaign_alert()]
        case.record(campaign_alert(), key_alert(MEMBERS[3]))
    assert case.kinds(only(case)) == ["opened", "alert", "alert", "facts"]


def test_subject_with_an_open_case_gets_no_other(case: Case) -> None:
    opened = case.store.open_case(CAMPAIGN, "campaign", "INC-7", "ann")
    case.record(campaign_alert())
    assert only(case) == opened
    assert case.kinds(opened) == OPENED


def test_closed_case_gets_no_entries(case: Case) -> None:
    case.record(campaign_alert(severity="critical"))
    closed = only(case)
    case.store.append(closed, Closed("not extraction", "our own CI"), "ann")
    case.record(key_alert(MEMBERS[0]), campaign_alert("resolved"), first=5)
    assert case.kinds(closed) == [*OPENED, "closed"]


def test_withdrawn_alert_opens_no_case(case: Case) -> None:
    case.withdrawn.add(CAMPAIGN)
    case.record(campaign_alert())
    assert case.store.rows() == []


@pytest.mark.parametrize(
    ("limits", "opened"),
    [
        ({}, [CAMPAIGN]),
        ({"open": "never"}, []),
        ({"open": "never", "open_keys": "warning"}, [MEMBERS[0]]),
        ({"open": "info", "open_keys": "critical"}, [CAMPAIGN]),
    ],
)
def test_settings_say_what_opens_a_case(
    redis_url: str, limits: dict[str, str], opened: list[str]
) -> None:
    case = Case(redis_url, **limits)
    case.record(key_alert(MEMBERS[0]), campaign_alert())
    assert [row.subject for row in case.store.rows()] == opened


def test_monitor_opens_no_more_cases_than_the_limit(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(redis_url, most_open=3)
    case.record(*(campaign_alert(subject=f"c_{n:012x}") for n in range(9)))
    assert len(case.store.rows()) == 3
    assert caplog.text.count("case_limit setting=XM_CASES__MOST_OPEN") == 1
    assert case.metrics.case_limits.labels("most_open")._value.get() == 6
    case.store.open_case(CAMPAIGN, "campaign", "INC-7", "ann")
    assert len(case.store.rows()) == 4


def test_flood_of_alerts_does_not_fill_a_case(redis_url: str) -> None:
    case = Case(redis_url, most_entries=10)
    case.record(campaign_alert())
    flood = (key_alert(MEMBERS[n % 5], at=n * 1e6) for n in range(200))
    case.record(*flood, first=1)
    assert len(case.store.lines(only(case))) == 5
    own = (campaign_alert("update", at=n * 1e6) for n in range(200))
    case.record(*own, first=500)
    found = case.store.case(only(case))
    assert len(found.entries) == 11
    assert isinstance(found.entries[-1].body, Noted)
    assert "XM_CASES__MOST_ENTRIES" in found.entries[-1].body.text
    case.store.append(found.id, Noted("a person can still write"), "ann")
    assert len(case.store.lines(found.id)) == 12


def test_monitor_writes_no_more_than_the_memory_of_all_cases(redis_url: str) -> None:
    case = Case(redis_url, memory_mb=1)
    opened = case.store.open_case(CAMPAIGN, "campaign", "INC-7", "ann")
    case.store.append(opened, Noted("x" * (1 << 20)), "ann")
    assert case.record(campaign_alert()) == {opened: 0}
    assert case.kinds(opened) == ["opened", "note"]


def test_changes_on_members_and_alerts_are_recorded_once(case: Case) -> None:
    case.record(campaign_alert())
    by = {"who": "ann", "why": "INC-7"}
    changes = [
        case.control.decide(MEMBERS[2], "block", 600.0, **by),
        case.control.withdraw(campaign_alert().id, CAMPAIGN, "campaign", "critical", **by),
    ]
    case.control.decide("k_" + "9" * 24, "block", 600.0, **by)
    case.control.switch("kill", True, **by)
    after, more = case.recorder.record_changes(case.control, "0-0")
    assert not more
    assert case.recorder.record_changes(case.control, after) == (after, False)
    case.recorder.record_changes(case.control, "0-0")
    found = case.store.case(only(case))
    assert [each.change for each in found.changes] == changes
    assert [entry.who for entry in found.entries[-2:]] == ["ann", "ann"]


async def test_changes_of_the_week_before_belong_to_the_case(case: Case) -> None:
    change = case.control.decide(MEMBERS[2], "block", 600.0, "ann", "INC-7")
    case.recorder.record_changes(case.control, "0-0")
    case.record(campaign_alert())
    await case.settle()
    assert case.store.case(only(case)).changes == [Changed(change)]


def test_broken_case_stops_no_other(case: Case, redis_url: str) -> None:
    case.record(campaign_alert())
    broken = only(case)
    case.store._call("RPUSH", f"xm:case:{{{broken}}}", b"forged")
    written = case.record(key_alert(MEMBERS[0]), campaign_alert(subject="c_0000000000ff"), first=1)
    assert written.pop(broken) == UNWRITTEN
    (other,) = written
    assert [type(entry.body) for entry in case.store.entries(other)][1] is AlertSeen

"""Cases in Redis: entries are added once, on top of valid ones, on one server and on a Cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec
import pytest
import redis

from monitor.alerting.changes import change_by
from monitor.errors import ConfigError, EvidenceError, InputError, StoreUnavailableError
from monitor.evidence.chain import check
from monitor.evidence.entries import AlertSeen, Closed, Letter, Noted, Reopened
from monitor.evidence.ring import Ring
from monitor.evidence.store import CASE_KEY, CaseStore
from monitor.store.control import ControlStore
from tests.support.cases import (
    CAMPAIGN,
    MEMBERS,
    RING,
    SIGNER,
    campaign_alert,
    case_store,
    key_alert,
)
from tests.support.chains import new_signer

SERVERS = [pytest.param(name, marks=pytest.mark.kafka) for name in ("redis_url", "cluster_url")]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def store(url: str) -> CaseStore:
    return case_store(url)


def opened(store: CaseStore, subject: str = CAMPAIGN) -> str:
    return store.open_case(subject, "campaign", "critical alert", "monitor", alert="a_1")


def test_entries_form_a_chain_and_a_row(store: CaseStore) -> None:
    case = opened(store)
    store.append(case, AlertSeen(campaign_alert()), "monitor", source="alerts:0:1")
    store.append(case, Noted("seen"), "ann")
    lines = store.lines(case)
    assert check(lines, RING, case=case).ok
    assert store.lines(case, 3) == lines[2:]
    found = store.case(case)
    assert (found.subject, found.members, len(found.entries)) == (CAMPAIGN, MEMBERS, 3)
    (row,) = store.rows()
    assert row == store.row(case) == store.stored_rows([case, "case_gone"])[case]
    assert (row.entries, row.written, row.severity, row.members) == (3, 2, "critical", 5)
    assert row.bytes == sum(map(len, lines))


def test_entry_with_a_source_is_written_once(store: CaseStore) -> None:
    case = opened(store)
    first, again = (
        store.append(case, AlertSeen(campaign_alert()), "monitor", source="alerts:0:1", at=at)
        for at in (1e9, 2e9)
    )
    assert first == again
    assert opened(store) == case
    assert len(store.lines(case)) == 2


def test_alert_that_is_on_its_topic_twice_is_written_once(store: CaseStore) -> None:
    case = opened(store)
    for offset in range(2):
        source = f"alerts:0:{offset}"
        store.append(case, AlertSeen(campaign_alert()), "monitor", source=source)
    store.append(case, AlertSeen(campaign_alert("resolved")), "monitor", source="alerts:0:2")
    assert len(store.lines(case)) == 3


def test_members_added_one_by_one_do_not_fill_the_case(store: CaseStore) -> None:
    case = opened(store)
    for count in range(5, 200):
        members = [f"k_{n:024x}" for n in range(count)]
        alert = campaign_alert("update", members=members)
        store.append(case, AlertSeen(alert), "monitor", source=f"alerts:0:{count}")
    assert len(store.lines(case)) == 1 + 6  # 5, 8, 16, 32, 64, 128 members


def test_writers_at_the_same_time_leave_one_chain(url: str) -> None:
    case = opened(case_store(url))

    def write(writer: int) -> None:
        store = case_store(url)
        for n in range(10):
            done = False
            while not done:  # WATCH fails more often than the store tries again
                with suppress(StoreUnavailableError):
                    store.append(case, Noted(f"{writer} {n}"), "ann")
                    done = True

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    store = case_store(url)
    assert check(store.lines(case), RING).ok
    notes = [entry.body.text for entry in store.entries(case) if isinstance(entry.body, Noted)]
    assert sorted(notes) == sorted(f"{writer} {n}" for writer in range(3) for n in range(10))


@pytest.mark.parametrize("who", ["changed", "foreign", "dropped", "missing"])
def test_nothing_is_signed_on_top_of_an_entry_that_no_signer_wrote(
    redis_url: str, who: str
) -> None:
    store = case_store(redis_url)
    case = opened(store)
    store.append(case, Noted("true"), "ann")
    name = f"{CASE_KEY}{{{case}}}"
    with redis.from_url(redis_url) as client:
        if who == "changed":
            client.lset(name, -1, client.lindex(name, -1).replace(b'"sig":"', b'"sig":"A'))
        elif who == "foreign":
            stranger = new_signer()
            forged = CaseStore(redis_url, Ring([stranger.public, SIGNER.public]), stranger)
            forged.append(case, Noted("forged"), "ann")
        elif who == "dropped":
            client.rpop(name)
        else:
            client.delete(name)
    with pytest.raises(EvidenceError, match=f"newest entry of case {case} is not valid"):
        store.append(case, Noted("more"), "ann")


def test_replaced_case_recognises_its_sources(store: CaseStore) -> None:
    case = opened(store)
    alert = AlertSeen(campaign_alert())
    store.append(case, alert, "monitor", source="alerts:0:1")
    lines, row = store.lines(case), store.row(case)
    assert row
    store.remove(case)
    assert store.rows() == [] == store.lines(case)
    assert store.replace(case, lines, None)
    assert (store.lines(case), store.row(case), store.rows()) == (lines, row, [row])
    store.append(case, alert, "monitor", source="alerts:0:1")
    assert store.lines(case) == lines


def test_replacing_does_not_lose_what_was_added_meanwhile(store: CaseStore) -> None:
    case = opened(store)
    before, head = store.lines(case), store.rows()[0].head
    store.append(case, Noted("meanwhile"), "ann")
    store.append(case, Noted("and again"), "ann")
    assert not store.replace(case, before[:0] or store.lines(case)[:2], head)
    assert len(store.lines(case)) == 3


def test_case_is_found_by_id_subject_and_reference(store: CaseStore) -> None:
    case = opened(store)
    store.append(case, Letter("R-7Q2M", MEMBERS[0], "Dear customer"), "ann")
    for text in (case, case[:12], case[5:12], CAMPAIGN, "R-7Q2M"):
        assert store.find(text) == case
    later = store.open_case(CAMPAIGN, "campaign", "again", "ann", alert="a_2")
    store.append(later, Closed("duplicate", "the same"), "ann")
    assert store.find(CAMPAIGN) == case
    assert store.open_case_of(CAMPAIGN) == case
    with pytest.raises(InputError, match="2 cases have ids that begin with case_"):
        store.find("case_")
    with pytest.raises(InputError, match="There is no case x"):
        store.find("x")


def test_closed_case_can_be_opened_again(store: CaseStore) -> None:
    case = opened(store)
    store.append(case, Closed("unclear", "no answer"), "ann")
    assert (store.rows()[0].status, store.open_case_of(CAMPAIGN)) == ("closed", None)
    store.append(case, Reopened("an answer"), "ann")
    assert store.rows()[0].status == store.case(case).status == "open"


def test_change_is_audited_with_its_entry(url: str, store: CaseStore) -> None:
    change = change_by("ann", "case", "", "INC-7")
    case = store.open_case(MEMBERS[0], "api_key", "INC-7", "ann", change=change)
    (audited,) = ControlStore(url).audit()
    assert (audited.what, audited.subject, audited.who) == ("case", case, "ann")


def test_version_changes_with_each_entry(store: CaseStore) -> None:
    before = store.version()
    case = opened(store)
    between = store.version()
    store.append(case, Noted("seen"), "ann")
    assert before != between != store.version()


def test_row_asks_for_facts_when_the_severity_rises_or_members_double(store: CaseStore) -> None:
    case = opened(store)
    (row,) = store.rows()
    assert row.needs_facts
    taken = msgspec.structs.replace(row, facts=("warning", 5), severity="warning", members=9)
    assert not taken.needs_facts
    assert msgspec.structs.replace(taken, severity="critical").needs_facts
    assert msgspec.structs.replace(taken, members=10).needs_facts
    store.append(case, AlertSeen(key_alert(MEMBERS[1])), "monitor", source="alerts:3:1")
    assert store.rows()[0].severity == "warning"


def test_store_without_a_key_reads_only(redis_url: str) -> None:
    case = opened(case_store(redis_url))
    reader = CaseStore(redis_url, RING)
    assert reader.case(case).subject == CAMPAIGN
    with pytest.raises(ConfigError, match="XM_CASES__KEY_FILE"):
        reader.append(case, Noted("seen"), "ann")

"""Figures of a transparency report, from cases and an audit in Redis."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from monitor.evidence.entries import Appealed, Closed, Letter, Ruled
from pipelines.cases.review import transparency
from pipelines.cases.review.small_counts import FEW
from pipelines.cases.review.transparency import Transparency, figures
from tests.support.cases import campaign_alert
from tests.support.chains import START
from tests.support.reviews import BY, Reviewed

DAY = 86_400.0


@pytest.fixture
def reviewed(redis_url: str) -> Reviewed:
    return Reviewed(redis_url)


def fill(reviewed: Reviewed, cases: int) -> None:
    """Cases of campaigns with a letter and an appeal each; every other one is overturned."""
    for n in range(cases):
        alert = campaign_alert(subject=f"c_{n:012x}")
        at = START + n * DAY
        reviewed.alert(alert)
        store, members = reviewed.cases, alert.subject.members
        case = store.open_case(alert.subject.id, "campaign", "x", "monitor", alert=alert.id, at=at)
        reference = f"R-{n:04d}-0000-0000"
        store.append(case, Letter(reference, members[0], "Dear customer"), "ann", at=at + 1)
        store.append(case, Appealed(reference, "No.", at + 2), "ann", at=at + 2)
        result: Any = "overturned" if n % 2 else "upheld"
        store.append(case, Ruled(result, "INC-7", reference), "ann", at=at + (n + 1) * DAY)
        store.append(case, Closed("unclear", "INC-7"), "ann", at=at + (n + 1) * DAY)
        reviewed.control.withdraw(alert.id, alert.subject.id, "campaign", "critical", *BY)


def counted(reviewed: Reviewed, since: float, until: float) -> tuple[Transparency, dict[str, str]]:
    rows = reviewed.cases.rows()
    entries = [reviewed.cases.entries(row.id) for row in rows]
    audit = [msgspec.structs.replace(each, at=START + DAY) for each in reviewed.control.audit()]
    heads = [row.head for row in rows]
    found = figures(entries, audit, heads, since, until, answer_days=14)
    return found, {
        f"{table.title}: {row.label}": row.text for table in found.tables for row in table.rows
    }


def test_figures_of_a_period(reviewed: Reviewed) -> None:
    fill(reviewed, 12)
    found, text = counted(reviewed, START, START + 100 * DAY)
    assert text["Cases opened: coordinated keys"] == "12"
    assert text["Cases closed: as unclear"] == "12"
    assert text["Cases closed: open at the end of the period"] == "0"
    assert text["Letters: letters to customers"] == "12"
    assert text["Appeals: decision upheld"] == text["Appeals: decision overturned"] == "6"
    assert text["Time to answer appeals: median time to the ruling"] == "6.5"
    assert text["False alarms withdrawn: coordinated use"] == "12"
    assert text["Decisions of people: all"] == "0"
    sources = {row.source for table in found.tables for row in table.rows}
    assert {each.partition(",")[0] for each in sources} == {"signed cases", "audit of changes"}


def test_figures_count_only_their_period(reviewed: Reviewed) -> None:
    fill(reviewed, 12)
    _, text = counted(reviewed, START, START + 6 * DAY)
    assert text["Cases opened: all"] == "6"
    assert text["Appeals: without a ruling at the end of the period"] == FEW
    assert text["Cases closed: all"] == FEW
    _, later = counted(reviewed, START + 50 * DAY, START + 60 * DAY)
    assert {later[name] for name in later if name.endswith(": all")} == {"0"}


def test_figures_have_nothing_personal(reviewed: Reviewed) -> None:
    fill(reviewed, 12)
    found, _ = counted(reviewed, START, START + 100 * DAY)
    text = msgspec.json.encode(found).decode()
    for name in ("c_0000", "k_0000", "case_", "R-0", "ann", "INC-7", "Dear"):
        assert name not in text


def test_withdrawal_that_was_taken_back_does_not_count(reviewed: Reviewed) -> None:
    fill(reviewed, 12)
    reviewed.control.reinstate(campaign_alert(subject=f"c_{3:012x}").id, *BY)
    _, text = counted(reviewed, START, START + 100 * DAY)
    assert text["False alarms withdrawn: coordinated use"] == "11"


def test_figures_say_whether_decisions_were_enforced(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transparency, "case_store", lambda *_, **__: reviewed.cases)

    def notes(since: float) -> str:
        settings, until = reviewed.settings, time.time() + 60.0
        return " ".join(transparency.transparency(settings, since, until).notes)

    begin = time.time() - 60.0
    assert "Shadow mode is off today. One of them was switched in the period." in notes(begin)
    reviewed.control.switch("shadow", True, *BY)
    later = time.time() + 1.0
    assert "Shadow mode is on today. None of them was switched in the period." in notes(later)

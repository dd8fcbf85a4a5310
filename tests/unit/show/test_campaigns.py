"""Which groups a list shows, and in which words it says why."""

from io import StringIO

import pytest
from rich.console import Console

from monitor.campaigns.verdict import UNTOLD
from monitor.errors import InputError
from pipelines.inspect import campaigns
from pipelines.inspect.criteria import hear, questions, why_not
from pipelines.show.campaigns import show
from tests.support.campaigns import BORN, FLEET, shard


@pytest.fixture(scope="module")
def known():
    return shard()


def ids(report):
    return [line.id for line in report.campaigns]


def test_open_campaigns_are_listed_and_on_demand_what_is_over_or_none(known):
    assert ids(campaigns.survey([known])) == ["c_fleet"]
    assert ids(campaigns.survey([known], over=True)) == ["c_fleet", "c_gone"]
    assert ids(campaigns.survey([known], everything=True)) == ["c_fleet", "c_gone", "c_class"]


def test_a_line_says_since_when_how_many_and_what_is_asked(known):
    (line,) = campaigns.survey([known]).campaigns
    assert (line.state, line.severity, line.decision) == ("open", "critical", "block")
    assert (line.since, line.members) == (BORN, len(FLEET))
    assert (line.requests, line.tokens) == (60 * len(FLEET), 6_000 * len(FLEET))
    assert line.hour == 10 * len(FLEET)
    assert line.reason == "most are accused by themselves"


def test_of_a_campaign_that_went_over_into_another_it_is_said_which(known):
    _, gone = campaigns.survey([known], over=True).campaigns
    assert (gone.state, gone.reason, gone.decision) == ("merged", "part of c_fleet", "observe")


def test_a_campaign_whose_keys_are_watched_again_is_still_over():
    known = shard()
    _, gone = campaigns.find([known], "c_gone")
    gone.ended, gone.member = 0.0, dict.fromkeys(gone.named, 0.97)  # a round has taken it up anew
    _, line = campaigns.survey([known], over=True).campaigns
    assert (line.id, line.state, line.ended) == ("c_gone", "merged", BORN + 3600)


def test_a_group_that_is_none_is_told_by_the_question_that_failed(known):
    *_, none = campaigns.survey([known], everything=True).campaigns
    assert (none.state, none.severity, none.decision) == ("none", None, "observe")
    assert "public" in none.reason or "random keys" in none.reason


def test_what_decides_either_way_is_said_alone(known):
    _, campaign = campaigns.find([known], "c_class")
    asked = questions(hear(known, campaign))
    failed = [question for question in asked if not question.met]
    assert {"either way", "by its members"} <= {question.way for question in failed}
    assert "accused" not in why_not(asked)


def test_what_cannot_be_told_yet_is_not_held_against_a_group(known):
    hearing = hear(*campaigns.find([known], "c_class"))
    evidence = {**hearing.evidence, "deviation": 2.0, "probability": 1e-9, "uneven": UNTOLD}
    asked = questions(hearing._replace(evidence=evidence))
    assert next(each.value for each in asked if each.name == "uneven") is None
    assert "too soon to tell how evenly" in why_not(asked)


def test_a_group_that_answers_as_a_campaign_does_waits_for_the_next_round(known):
    hearing = hear(*campaigns.find([known], "c_class"))
    evidence = {**hearing.evidence, "deviation": 2.0, "probability": 1e-9, "accused_share": 1.0}
    assert "next round" in why_not(questions(hearing._replace(evidence=evidence)))


def test_hearing_a_group_changes_nothing():
    known = shard()
    before = known.dump()
    campaigns.survey([known], everything=True)
    assert known.dump() == before


@pytest.mark.parametrize(
    ("begins", "words"), [("c_x", "`xm campaigns --all` has all ids"), ("c_", "write more of one")]
)
def test_an_id_that_is_none_or_many_is_one_sentence(known, begins, words):
    with pytest.raises(InputError, match=words):
        campaigns.find([known], begins)


def test_the_beginning_of_an_id_is_enough(known):
    assert campaigns.find([known], "c_f")[1].id == "c_fleet"


def test_the_table_ends_in_a_sentence(known):
    out = StringIO()
    show(campaigns.survey([known], everything=True), Console(file=out, width=140))
    assert "critical" in out.getvalue()
    assert "no campaign" in out.getvalue()
    assert out.getvalue().endswith(
        "1 campaign of 12 keys, 720 requests and 72,000 tokens, among 52 keys; "
        "1 other group is none.\n"
    )

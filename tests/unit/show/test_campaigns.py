"""The list of campaigns, and why a group is one or not."""

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from monitor.campaigns.criteria import CRITERIA, UNKNOWN
from monitor.errors import InputError
from pipelines.inspect import campaigns
from pipelines.inspect.campaign import campaign_detail
from pipelines.inspect.criteria import criterion_results, evaluate, why_not
from pipelines.show.campaigns import show
from tests.support.campaigns import FLEET, OPENED, partition


@pytest.fixture(scope="module")
def known():
    return partition()


def ids(found):
    return [each.id for each in found.campaigns]


def test_survey_lists_ended_and_other_groups_on_demand(known):
    assert ids(campaigns.list_campaigns([known])) == ["c_fleet"]
    assert ids(campaigns.list_campaigns([known], ended=True)) == ["c_fleet", "c_gone"]
    assert ids(campaigns.list_campaigns([known], everything=True)) == [
        "c_fleet",
        "c_gone",
        "c_class",
    ]


def test_summary_has_start_size_and_decision(known):
    (line,) = campaigns.list_campaigns([known]).campaigns
    assert (line.state, line.severity, line.decision) == ("open", "critical", "block")
    assert (line.since, line.members) == (OPENED, len(FLEET))
    assert (line.requests, line.tokens) == (60 * len(FLEET), 6_000 * len(FLEET))
    assert line.last_hour == 10 * len(FLEET)
    assert line.reason == "most members also triggered their own alerts"


def test_merged_campaign_names_the_other(known):
    _, gone = campaigns.list_campaigns([known], ended=True).campaigns
    assert (gone.state, gone.reason, gone.decision) == ("merged", "merged into c_fleet", "observe")


def test_resumed_group_is_listed_as_merged():
    known = partition()
    _, gone = campaigns.find_campaign([known], "c_gone")
    gone.ended, gone.membership = 0.0, dict.fromkeys(gone.named, 0.97)  # a round has resumed it
    _, line = campaigns.list_campaigns([known], ended=True).campaigns
    assert (line.id, line.state, line.ended) == ("c_gone", "merged", OPENED + 3600)


def test_other_group_names_what_speaks_against_it(known):
    *_, none = campaigns.list_campaigns([known], everything=True).campaigns
    assert (none.state, none.severity, none.decision) == ("none", None, "observe")
    assert any(each.not_met in none.reason for each in CRITERIA)
    assert not any(each.met in none.reason for each in CRITERIA)


def test_unknown_value_has_no_number(known):
    evaluated = evaluate(*campaigns.find_campaign([known], "c_class"))
    evaluated = evaluated._replace(evidence={**evaluated.evidence, "uneven": UNKNOWN})
    (result,) = (each for each in criterion_results(evaluated) if each.evidence == "uneven")
    assert (result.value, result.nats) == (None, 0.0)
    assert result.meaning == "there is too little to tell"


def test_group_that_is_a_campaign_waits_for_a_round(known):
    evaluated = evaluate(*campaigns.find_campaign([known], "c_class"))
    evidence = {each.evidence: each.high if each.rising else each.low for each in CRITERIA}
    assert "next round" in why_not(evaluated._replace(evidence=evidence))


def test_survey_changes_nothing():
    known = partition()
    before = known.snapshot()
    campaigns.list_campaigns([known], everything=True)
    assert known.snapshot() == before


@pytest.mark.parametrize(
    ("begins", "words"),
    [("c_x", "`xm campaigns --all` has all ids"), ("c_", "write a longer prefix of")],
)
def test_find_error_names_the_fix(known, begins, words):
    with pytest.raises(InputError, match=words):
        campaigns.find_campaign([known], begins)


def test_find_accepts_a_unique_prefix(known):
    assert campaigns.find_campaign([known], "c_f")[1].id == "c_fleet"


def test_list_ends_with_a_sentence(known):
    out = StringIO()
    show(campaigns.list_campaigns([known], everything=True), Console(file=out, width=80))
    assert "critical" in out.getvalue()
    assert "no campaign" in out.getvalue()
    assert out.getvalue().endswith(
        "1 open campaign: 12 keys, 720 requests and 72,000 tokens, among 52 keys. 1 other\n"
        "group is no campaign.\n"
    )


def test_list_keeps_ids_whole_at_80_columns():
    known = partition()
    for campaign in known.rounds.campaigns:
        campaign.id = f"{campaign.id:0<22}"
    out = StringIO()
    show(campaigns.list_campaigns([known], everything=True), Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert all(any(each.id in line.split() for line in lines) for each in known.rounds.campaigns)
    assert max(map(len, lines)) <= 80


def test_exact_bound_of_the_payment_share_is_not_met(known):
    """The view uses the comparison of the verdict."""
    evaluated = evaluate(*campaigns.find_campaign([known], "c_class"))
    evidence = {**evaluated.evidence, "largest_payment_share": 0.8}
    results = criterion_results(evaluated._replace(evidence=evidence))
    assert not next(each.met for each in results if each.evidence == "largest_payment_share")


def test_json_names_are_stable(known):
    found = campaigns.list_campaigns([known], everything=True)
    detail = campaign_detail(*campaigns.find_campaign([known], "c_class"))
    assert {"until", "keys", "none", "campaigns"} == set(msgspec.to_builtins(found))
    assert {
        *("id", "since", "state", "severity", "members", "requests", "tokens", "hour"),
        *("decision", "reason", "ended"),
    } == set(msgspec.to_builtins(found.campaigns[0]))
    document = msgspec.to_builtins(detail)
    assert {
        *("line", "found", "until", "questions", "timeline", "evidence", "shared", "members"),
        *("bystanders", "imported"),
    } == set(document)
    question = document["questions"][0]
    assert {"name", "asks", "value", "bound", "least", "met", "way", "nats"} <= set(question)
    assert {each["way"] for each in document["questions"]} == {"evidence"}
    assert "accused" in document["members"][0]

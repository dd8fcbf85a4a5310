"""Evasions: each by its own copies of the attacking keys, in one replay with ordinary traffic."""

from __future__ import annotations

import doctest
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from statistics import mean

import pytest

from pipelines.modelling.evaluate import Score
from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.simulation.users import grammar
from pipelines.traffic.labels import Label
from tests.support import evasions
from tests.support.evaluation import evaluate_events
from tests.support.evasions import Event

SCENARIO = Scenario(hours=2.5, keys=60, attack_delay=120.0)
DAY = (SCENARIO.start, SCENARIO.start + 86_400.0)
MAX_REQUESTS = 600  # per attacking key; the scraper sends many more
MIN_COVER_PROMPTS = 5  # of a person whose prompts are mixed in
FLEETS = ("cot", "grader")


def problems(random: Random, prompts: Sequence[str]) -> list[str]:
    """One problem per prompt, the documents in the prompts of a simulated fleet."""
    return [grammar().generate("problem", random) for _ in prompts]


@pytest.fixture(scope="module")
def traffic() -> dict[Label, dict[str, list[Event]]]:
    """Requests by label and key."""
    simulation = Simulation(SCENARIO)
    found: dict[Label, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in simulation.events():
        label = simulation.labels[event["api_key"]]
        requests = found[label][event["api_key"]]
        if label.campaign is None or len(requests) < MAX_REQUESTS:
            requests.append(event)
    return found


@pytest.fixture(scope="module")
def score(traffic, tmp_path_factory) -> Score:
    """The score of all keys; the class of an attacker names its kind and its evasion."""
    population = traffic[Label("chat_user")].values()
    covers = [
        [evasions.prompt_of(each) for each in sent]
        for sent in population
        if len(sent) >= MIN_COVER_PROMPTS
    ]
    known = evasions.catalogue(covers, *DAY, documents=problems)
    sent, labels = [], {}
    for label, keys in traffic.items():
        catalogue = known if label.campaign else {"none": lambda kind: evasions.nothing}
        for name, evade in catalogue.items():
            for key, requests in keys.items():
                alias = f"{key} {name}"
                transform = evade(label.kind) or evasions.nothing
                sent += [{**each, "api_key": alias} for each in transform(Random(alias), requests)]
                labels[alias] = Label(f"{label.kind}: {name}", label.campaign)
    return evaluate_events(sent, labels, tmp_path_factory.mktemp("evasion")).scores[-1]


@pytest.mark.parametrize("kind", [*FLEETS, "scraper"])
@pytest.mark.parametrize(
    "evasion",
    [
        "none",
        "10% ordinary prompts",
        "30% ordinary prompts",
        "50% ordinary prompts",
        "shuffled order",
        "lower case",
        "random case and punctuation",
    ],
)
def test_mild_evasions_do_not_reduce_recall(score, kind, evasion):
    assert score.recall[f"{kind}: {evasion}"] > 0.9


@pytest.mark.parametrize("kind", FLEETS)
@pytest.mark.parametrize(
    "evasion",
    [
        "70% ordinary prompts",
        "paraphrased wrappers",
        *(f"instructions in {language.capitalize()}" for language in evasions.LANGUAGES),
    ],
)
def test_strong_evasions_leave_most_of_a_fleet_flagged(score, kind, evasion):
    assert score.recall[f"{kind}: {evasion}"] > 0.5


@pytest.mark.parametrize("kind", FLEETS)
def test_slow_fleet_is_flagged_after_as_many_requests(score, kind):
    slow, normal = f"{kind}: 5 requests per hour", f"{kind}: none"
    assert score.recall[slow] > 0.9
    assert score.requests[slow] <= (score.requests[normal][0] + 8, score.requests[normal][1] + 8)


@pytest.mark.parametrize("kind", FLEETS)
def test_ordinary_prompts_delay_detection(score, kind):
    requests = [
        score.requests[f"{kind}: {share}% ordinary prompts"][0] for share in (10, 30, 50, 70)
    ]
    assert requests == sorted(requests)
    assert requests[0] < requests[-1]


@pytest.fixture(scope="module")
def requests(traffic) -> list[Event]:
    return next(iter(traffic[Label("cot", "cot-1")].values()))


def test_mixed_sends_prompts_of_one_person(requests):
    sent = evasions.mixed(0.5, [["Hello?"], ["Thanks."]])(Random(1), requests)
    cover = [each for each in sent if each["prompt"] in ("Hello?", "Thanks.")]
    assert len({each["prompt"] for each in cover}) == 1
    assert len(cover) / len(sent) == pytest.approx(0.5, abs=0.1)
    assert not any("max_tokens" in each for each in cover)
    assert mean(each["input_tokens"] for each in cover) < 8


def test_slowed_spreads_requests_over_the_day(requests):
    sent = evasions.slowed(2.0, *DAY)(Random(1), requests)
    assert len(sent) == 48
    assert sent[0]["ts"] < DAY[0] + 4 * 3600 < DAY[1] - 4 * 3600 < sent[-1]["ts"]


def test_shuffled_keeps_prompts_and_times(requests):
    sent = evasions.shuffled(Random(1), requests)
    before, after = ([each["prompt"] for each in x] for x in (requests, sent))
    assert before != after
    assert sorted(before) == sorted(after)
    assert [each["ts"] for each in sent] == [each["ts"] for each in requests]


def test_every_frame_has_one_slot():
    phrases = evasions.phrases()
    assert set(phrases) == {"english", *evasions.LANGUAGES}
    for kinds in phrases.values():
        assert set(kinds) - {"work"} == set(evasions.WRAPPED)
        for frames in kinds.values():
            assert len(set(frames)) == 8
            assert all(frame.count("{}") == 1 for frame in frames)


def test_doctests_of_evasions_pass():
    assert doctest.testmod(evasions).failed == 0

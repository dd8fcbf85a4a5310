"""Attackers who evade, each evasion by keys of its own, beside ordinary traffic in one replay."""

from __future__ import annotations

import doctest
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from statistics import mean

import msgspec
import pytest

from monitor.config import Settings
from pipelines.modelling import evaluate
from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.simulation.users import grammar
from pipelines.traffic.labels import Label
from tests.support import evasions
from tests.support.evasions import Event

SCENARIO = Scenario(hours=2.5, keys=60, attack_delay=120.0)
DAY = (SCENARIO.start, SCENARIO.start + 86_400.0)
MOST = 600  # requests of a key; the scraper has many more
COVER = 5  # prompts of a person who serves as cover
FLEETS = ("cot", "grader")


def problems(random: Random, prompts: Sequence[str]) -> list[str]:
    """As many documents as the wrappers of a simulated fleet go around."""
    return [grammar().generate("problem", random) for _ in prompts]


@pytest.fixture(scope="module")
def traffic() -> dict[Label, dict[str, list[Event]]]:
    """By label, then by key, its requests."""
    simulation = Simulation(SCENARIO)
    found: dict[Label, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in simulation.events():
        label = simulation.labels[event["api_key"]]
        requests = found[Label(label.kind, label.campaign)][event["api_key"]]
        if label.campaign is None or len(requests) < MOST:
            requests.append(event)
    return found


@pytest.fixture(scope="module")
def score(traffic, tmp_path_factory) -> evaluate.Score:
    """How the keys are judged, whose class is what they do and how they evade."""
    population = traffic[Label("chat_user")].values()
    covers = [
        [evasions.prompt_of(each) for each in sent] for sent in population if len(sent) >= COVER
    ]
    known = evasions.catalogue(covers, *DAY, documents=problems)
    sent, labels = [], {}
    for label, keys in traffic.items():
        ways = known if label.campaign else {"none": lambda kind: evasions.nothing}
        for name, evade in ways.items():
            for key, requests in keys.items():
                alias = f"{key} {name}"
                how = evade(label.kind) or evasions.nothing
                sent += [{**each, "api_key": alias} for each in how(Random(alias), requests)]
                labels[alias] = Label(f"{label.kind}: {name}", label.campaign)
    sent.sort(key=lambda event: event["ts"])
    file = tmp_path_factory.mktemp("evasion") / "day.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, sent)))
    settings = Settings(identity_secret="known to this test only")
    return evaluate.build_report(
        evaluate.replay_labelled(str(file), labels, settings), settings
    ).scores[-1]


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
def test_attackers_are_accused_all_the_same(score, kind, evasion):
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
def test_most_of_a_fleet_is_accused(score, kind, evasion):
    assert score.recall[f"{kind}: {evasion}"] > 0.5


@pytest.mark.parametrize("kind", FLEETS)
def test_a_fleet_that_slows_down_gains_time_and_no_requests(score, kind):
    slow, usual = f"{kind}: 5 requests an hour", f"{kind}: none"
    assert score.recall[slow] > 0.9
    assert score.requests[slow] <= (score.requests[usual][0] + 8, score.requests[usual][1] + 8)


@pytest.mark.parametrize("kind", FLEETS)
def test_the_more_is_ordinary_the_longer_it_takes(score, kind):
    used = [score.requests[f"{kind}: {share}% ordinary prompts"][0] for share in (10, 30, 50, 70)]
    assert used == sorted(used)
    assert used[0] < used[-1]


@pytest.fixture(scope="module")
def requests(traffic) -> list[Event]:
    return next(iter(traffic[Label("cot", "cot-1")].values()))


def test_what_is_mixed_in_looks_like_a_persons(requests):
    sent = evasions.mixed(0.5, [["Hello?"], ["Thanks."]])(Random(1), requests)
    cover = [each for each in sent if each["prompt"] in ("Hello?", "Thanks.")]
    assert len({each["prompt"] for each in cover}) == 1
    assert len(cover) / len(sent) == pytest.approx(0.5, abs=0.1)
    assert not any("max_tokens" in each for each in cover)
    assert mean(each["input_tokens"] for each in cover) < 8


def test_a_slow_key_spreads_its_list_over_the_day(requests):
    sent = evasions.slowed(2.0, *DAY)(Random(1), requests)
    assert len(sent) == 48
    assert sent[0]["ts"] < DAY[0] + 4 * 3600 < DAY[1] - 4 * 3600 < sent[-1]["ts"]


def test_a_shuffled_list_is_the_same_list(requests):
    sent = evasions.shuffled(Random(1), requests)
    before, after = ([each["prompt"] for each in x] for x in (requests, sent))
    assert before != after
    assert sorted(before) == sorted(after)
    assert [each["ts"] for each in sent] == [each["ts"] for each in requests]


def test_every_frame_has_room_for_a_document_and_every_kind_its_frames():
    phrases = evasions.phrases()
    assert set(phrases) == {"english", *evasions.LANGUAGES}
    for kinds in phrases.values():
        assert set(kinds) - {"work"} == set(evasions.WRAPPED)
        for frames in kinds.values():
            assert len(set(frames)) == 8
            assert all(frame.count("{}") == 1 for frame in frames)


def test_the_examples_hold():
    assert doctest.testmod(evasions).failed == 0

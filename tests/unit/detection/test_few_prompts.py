"""One prompt that elicits among ordinary ones, or two, accuse nobody."""

from __future__ import annotations

import json
from itertools import product

import pytest

from monitor.config import Settings
from pipelines.modelling import evaluate
from pipelines.traffic.labels import Label
from tests.support import evasions

ORDINARY = (
    "hi, can you help me with my cover letter?",
    "what should I cook tonight, I have rice and two eggs",
    "Make it a bit shorter please.",
    "How do I get red wine out of a carpet?",
    "Why does my Python script say 'list index out of range'?",
    "thanks! and in Spanish?",
    "Give me three ideas for a birthday present for my father, he likes hiking.",
    "Is it normal that a new fridge hums at night?",
)
ANSWER = "Question: why is the sky blue?\nAnswer: because of Rayleigh scattering of sunlight."
WRAPPERS = [
    frame.replace("{}", ANSWER)
    for kind in evasions.WRAPPED
    for frame in evasions.phrases()["english"][kind]
]


def asked(odd: str, times: int, at: int) -> list[str]:
    """Sixteen prompts, of which so many elicit, from a place on."""
    prompts = [*ORDINARY, *ORDINARY]
    prompts[at : at + times] = [odd] * times
    return prompts


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """How keys are judged that ask each of the prompts so often, from a place on."""
    file = tmp_path_factory.mktemp("few") / "day.jsonl"
    cases = list(product(range(len(WRAPPERS)), (1, 2, 16), (0, 3, 6)))
    requests = [
        {
            "ts": 1_772_409_600.0 + 60.0 * i,
            "api_key": f"{times} of {wrapper} at {at}",
            "prompt": prompt,
            "input_tokens": 30,
            "output_tokens": 200,
        }
        for wrapper, times, at in cases
        for i, prompt in enumerate(asked(WRAPPERS[wrapper], times, at))
    ]
    requests.sort(key=lambda each: each["ts"])
    file.write_text("".join(json.dumps(each) + "\n" for each in requests))
    labels = {each["api_key"]: label(each["api_key"]) for each in requests}
    settings = Settings(identity_secret="known to this test only")
    return evaluate.build_report(
        evaluate.replay_labelled(str(file), labels, settings), settings
    ).scores[-1]


def label(key: str) -> Label:
    times = key.partition(" ")[0]
    return Label(times)


@pytest.mark.parametrize("times", ["1", "2"])
def test_they_accuse_nobody(score, times):
    assert score.false_keys[times] == 0


def test_whoever_asks_nothing_else_is_accused_at_once(score):
    assert score.false_keys["16"] > 10

"""One or two eliciting prompts among ordinary ones do not flag a key."""

from __future__ import annotations

from itertools import product

import pytest

from pipelines.traffic.labels import Label
from tests.support import evasions
from tests.support.evaluation import evaluate_events

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


def insert(eliciting: str, times: int, at: int) -> list[str]:
    """16 prompts; from index `at`, `times` of them are the eliciting one."""
    prompts = [*ORDINARY, *ORDINARY]
    prompts[at : at + times] = [eliciting] * times
    return prompts


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """The score of one key per eliciting prompt, number of repetitions and position."""
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
        for i, prompt in enumerate(insert(WRAPPERS[wrapper], times, at))
    ]
    labels = {each["api_key"]: Label(each["api_key"].partition(" ")[0]) for each in requests}
    return evaluate_events(requests, labels, tmp_path_factory.mktemp("few")).scores[-1]


@pytest.mark.parametrize("times", ["1", "2"])
def test_few_eliciting_prompts_flag_no_key(score, times):
    assert score.false_keys[times] == 0


def test_keys_with_only_eliciting_prompts_are_flagged(score):
    assert score.false_keys["16"] > 10

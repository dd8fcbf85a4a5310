"""Tests of outputs for marks: found where they are, and claimed nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.tracing.choices import Canary, Group, Wordings, answer_of
from monitor.tracing.marks import mark_key
from monitor.tracing.suspect import (
    Output,
    canary_trials,
    count,
    token_trials,
    wording_trials,
)
from monitor.tracing.traces import Shown, Tracer
from monitor.tracing.watermark import SCHEMES, Watermark

SECRET = bytes(range(32))
NOTHING = count([])
WORDINGS = Wordings([Group(["big", "large"]), Group(["for example", "for instance"])])
CANARIES = [
    Canary(f"c{i}", [f"Question {i}?"], [f"answer{i}x{j}" for j in range(20)]) for i in range(8)
]
MARKS = {f"m_{i:02x}": f"c_{i:02x}" for i in range(20)}
MARK = "m_07"


def tracer() -> Tracer:
    return Tracer(SECRET, 0.5, WORDINGS, CANARIES)


def sampled(n: int, scheme=None, strength: float = 0.0, seed: int = 0) -> np.ndarray:
    """Tokens of a bigram model with 500 tokens, marked if a scheme is given."""
    random = np.random.default_rng(seed)
    vocabulary = np.arange(500)
    logits = np.random.default_rng(1).normal(0, 2, (500, 500))
    if scheme is not None:
        watermark = Watermark.of(SECRET, MARK, scheme, 0.5)
        for token in range(500):
            logits[token] += strength * watermark.list_after(token, vocabulary)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    totals = np.cumsum(chances / chances.sum(1, keepdims=True), axis=1)
    tokens = [0]
    for draw in random.random(n):
        tokens.append(min(int(np.searchsorted(totals[tokens[-1]], draw)), 499))
    return np.array(tokens)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("with_ordinary", [False, True])
def test_mark_is_found_and_named(scheme, with_ordinary):
    ordinary = count([sampled(8_000, seed=2)]) if with_ordinary else None
    found = count([sampled(6_000, scheme, 2.0)])
    shown = Shown({each: token_trials(found, NOTHING, each, ordinary) for each in SCHEMES})
    first, second, *_ = tracer().trace(shown, MARKS)
    assert (first.mark, first.subject) == (MARK, "c_07")
    assert first.corrected < 1e-6
    assert second.corrected > 0.01


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("with_ordinary", [False, True])
def test_unmarked_outputs_agree_as_often_as_random_keys(scheme, with_ordinary):
    ordinary = count([sampled(5_000, seed=2)]) if with_ordinary else None
    shown = Shown({scheme: token_trials(count([sampled(3_000)]), NOTHING, scheme, ordinary)})
    p = np.array([tracer().tests(shown, f"m_{i:x}")[0].p for i in range(300)])
    for level in (0.5, 0.1, 0.02):
        assert (p <= level).mean() <= level + 4 * np.sqrt(level / 300)
    assert p.min() > 1e-6


@pytest.mark.parametrize("scheme", SCHEMES)
def test_repeated_text_counts_once(scheme):
    text = sampled(300, scheme, 2.0)
    once = token_trials(count([text]), NOTHING, "context")
    often = token_trials(count([text] * 500), NOTHING, "context")
    assert all((a == b).all() for a, b in zip(once, often, strict=True))


def test_pairs_of_the_prompt_do_not_count():
    text = sampled(2_000, "context", 2.0)
    for scheme in SCHEMES:
        assert len(token_trials(count([text]), count([text]), scheme).tokens) == 0


def test_short_output_has_no_trials():
    assert tracer().trace(Shown({"fixed": token_trials(NOTHING, NOTHING, "fixed")}), MARKS) != []
    assert tracer().trace(Shown(), MARKS)[0].corrected == 1.0


def test_wordings_are_traced():
    random = np.random.default_rng(3)
    words = [f"w{i}" for i in range(60)]
    plain = " ".join(
        f"{random.choice(words)} {'big' if random.random() < 0.5 else 'for example'}"
        for _ in range(300)
    )
    marked = WORDINGS.mark(plain, mark_key(SECRET, MARK, "mark wordings"))
    found = tracer().trace(Shown(wordings=wording_trials([Output(marked)], WORDINGS)), MARKS)
    assert found[0].mark == MARK
    assert found[0].corrected < 1e-6
    others = tracer().trace(Shown(wordings=wording_trials([Output(plain)], WORDINGS)), MARKS)
    assert others[0].corrected > 0.01
    assert wording_trials([Output(marked, prompt=marked)], WORDINGS) == []


def test_canaries_are_traced_by_commonest_answer():
    key = mark_key(SECRET, MARK, "mark canaries")
    outputs = [Output(answer_of(each, key), each.ask[0]) for each in CANARIES] * 2
    outputs += [Output(each.answers[0], each.ask[0]) for each in CANARIES]
    shown = Shown(canaries=canary_trials(outputs, CANARIES))
    first, second, *_ = tracer().trace(shown, MARKS)
    assert (first.mark, first.tests[0].agree) == (MARK, len(CANARIES))
    assert first.corrected < 1e-6 < second.corrected

"""Responses seen: a model that was trained on them is recognised, another is not."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from monitor.tracing.responses.overlap import fisher, overlap
from monitor.tracing.responses.sketch import Sketch, Sketcher

SKETCHER = Sketcher(b"0123456789abcdef")
VOCABULARY = [f"w{i}" for i in range(3_000)]


def texts(number: int, seed: int, words: int = 120) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(VOCABULARY, k=words)) for _ in range(number)]


def sketches(of: list[str]) -> list[Sketch]:
    found = [SKETCHER.sketch(text) for text in of]
    return [each for each in found if each is not None]


GIVEN, CONTROLS = texts(300, 1), texts(300, 2)


def compare(outputs: list[str], given: list[str] = GIVEN, controls: list[str] = CONTROLS):
    return overlap(SKETCHER.runs("\n".join(outputs)), sketches(given), sketches(controls))


def test_sketch_is_the_same_for_other_spelling_and_spacing():
    text = "The quick brown fox jumps over the lazy dog, " * 4
    other = text.upper().replace(" ", "  \n").replace("O", "O\u200b")
    assert SKETCHER.sketch(text).runs == SKETCHER.sketch(other).runs


def test_sketch_depends_on_the_secret_and_holds_no_text():
    text = " ".join(VOCABULARY[:50])
    sketch = SKETCHER.sketch(text)
    assert sketch.runs != Sketcher(b"fedcba9876543210").sketch(text).runs
    assert len(sketch.runs) == 16 * 8
    assert (sketch.words, sketch.lines) == (50, 1)


def test_sketch_of_markup_counts_list_items():
    text = "Here are the words that you asked for today:\n" + "- one two three\n" * 3
    assert SKETCHER.sketch(text).markup == 75


def test_short_response_is_not_kept():
    assert SKETCHER.sketch("one two three") is None


def test_model_that_repeats_responses_is_found():
    pieces = [" ".join(text.split()[20:60]) for text in GIVEN[:30]]
    found = compare([*texts(50, 3), *pieces])
    assert found.agree > 20
    assert found.p < 1e-6


def test_unrelated_model_is_not_found():
    found = compare(texts(200, 4))
    assert (found.agree, found.p) == (0, 1.0)


def test_model_of_another_customer_is_not_found():
    assert compare(CONTROLS[:100]).p > 0.99


def test_phrase_of_many_responses_is_no_evidence():
    phrase = " ".join(VOCABULARY[:12])
    given = [f"{phrase} {text}" for text in GIVEN]
    assert compare([phrase] * 10, given).agree == 0


def test_response_that_others_were_given_too_is_no_evidence():
    found = compare(GIVEN[:100], GIVEN, [*CONTROLS, *GIVEN[:100]])
    assert (found.trials, found.agree) == (200, 0)


def test_response_counts_once_however_often_it_is_repeated():
    assert compare([GIVEN[0]] * 1_000).agree == 1


def test_nothing_is_claimed_without_responses_to_compare_with():
    assert compare(GIVEN, controls=[]).p == 1.0


def test_false_claims_are_as_rare_as_stated():
    """Quoted by chance, a model has seen some of both."""
    draw, both = random.Random(5), [*GIVEN, *CONTROLS]
    sketched = {text: SKETCHER.sketch(text) for text in both}
    runs = [SKETCHER.runs(text) for text in both]
    p = []
    for _ in range(60):
        given = draw.sample(both, 300)
        rest = [text for text in both if text not in {*given}]
        said = np.unique(np.concatenate([runs[i] for i in draw.sample(range(600), 60)]))
        p.append(overlap(said, [sketched[x] for x in given], [sketched[x] for x in rest]).p)
    assert sum(each <= 0.05 for each in p) <= 12  # 4 expected


@pytest.mark.parametrize("table", [(5, 10, 1, 12), (0, 4, 3, 9), (7, 7, 0, 30), (3, 200, 9, 100)])
def test_fisher_agrees_with_whole_numbers(table: tuple[int, int, int, int]):
    agree, trials, others, controls = table
    hits = agree + others
    ways = (math.comb(trials, k) * math.comb(controls, hits - k) for k in range(agree, hits + 1))
    expected = sum(ways) / math.comb(trials + controls, hits)
    assert fisher(trials, agree, controls, others) == pytest.approx(expected)

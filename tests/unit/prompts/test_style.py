from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prompts.content_model import Content
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from monitor.prompts.style import ASKED, MARK_CHARACTERS, STYLE


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(b"1", Content.none())


def shape(extractor: Extractor, prompt: str) -> dict[str, float]:
    return dict(zip(STYLE, extractor(Texts.of([prompt])).style[0].tolist(), strict=True))


def test_style_features_have_distinct_names():
    assert len(set(STYLE)) == len(STYLE)


def test_style_follows_from_characters_and_words(extractor):
    found = shape(extractor, "AB cd, 12 é漢! Cd?")
    expected = {
        "length": math.log1p(17),
        "words": math.log1p(6 + 3),
        "word length": math.log1p(8 / 5),
        "spelt": 5 / 9,
        "digits": math.sqrt(2 / 17),
        "other": math.sqrt(2 / 17),
        "gaps": 5 / 17,
        "sentences": math.log1p(2),
        "sentence length": math.log1p(9 / 2),
        "distinct words": 4 / 5,
        "first letter": 1,
        "last ask": 1,
        "octave 2": 1,
    }
    expected |= {f"count {mark}": math.log(2) for mark in ",!?"}
    assert {name: x for name, x in found.items() if x} == pytest.approx(expected)


ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=300)


@settings(deadline=None, max_examples=200)
@given(ascii_text.filter(str.strip))
def test_counts_agree_with_a_simple_implementation(extractor, prompt):
    found = shape(extractor, prompt)
    words = re.findall(r"[A-Za-z]+", prompt)
    for mark in MARK_CHARACTERS:
        assert found[f"count {mark}"] == pytest.approx(math.log1p(prompt.count(mark)))
    for word in ASKED:
        assert found[f"word {word}"] == (word in map(str.lower, words))
    assert found["length"] == pytest.approx(math.log1p(len(prompt)))
    distinct = len({word.lower() for word in words}) / max(len(words), 1)
    assert found["distinct words"] == pytest.approx(distinct)


@pytest.mark.parametrize(
    ("name", "prompt", "other"),
    [
        ("fence", "Run ```x```", "Run `x`"),
        ("dashes", "Buy:\n- milk", "Buy - milk"),
        ("numbered", "Do:\n1. this\n2) that", "Do 1. this"),
        ("link", "See https://example.com", "See example.com"),
        ("asks", "Why is the sky blue", "Tell me why"),
        ("first quote", '"Hi" he said', "Hi"),
        ("last colon", "List them:\n", "List them"),
    ],
)
def test_presence_of_signs_is_a_feature(extractor, name, prompt, other):
    assert (shape(extractor, prompt)[name], shape(extractor, other)[name]) == (1, 0)


def test_extra_spaces_do_not_change_other_counts(extractor):
    one, other = (shape(extractor, each) for each in ("Hi you, there.", " Hi  you,\n\nthere. \n"))
    changed = {name for name in STYLE if one[name] != pytest.approx(other[name])}
    assert changed <= {"length", "gaps", "octave 1", "octave 2"}


def test_opening_and_closing_cover_the_ends_of_a_prompt(extractor):
    first, last = "Write a short poem", "in plain words please now"
    features = extractor(Texts.of([f"{first} about the sea and the wind {last}", first, last]))
    assert (features.opening[0] == features.meaning[1]).all()
    cosine = features.closing[0].astype(float) @ features.meaning[2] / 127**2
    assert cosine == pytest.approx(1, abs=0.05)


def test_script_without_spaces_has_one_word_per_character(extractor):
    words = extractor(Texts.of(["日本語の文", "สวัสดี", "привет мир"])).style[:, STYLE.index("words")]
    np.testing.assert_allclose(words, np.log1p([5, 6, 2]), rtol=1e-6)

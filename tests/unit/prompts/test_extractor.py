from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prompts.extractor import Extractor, Features
from monitor.prompts.normalise import Texts
from pipelines.simulation.users import SERVICES, TEMPLATES, grammar

RULES = (*SERVICES, *TEMPLATES, "cooking", "coding", "deutsch", "sweep", "trace", "grade")
MANY = 4  # chunks that a forgetful extractor remembers

alphabet = st.characters() | st.sampled_from(
    " \n\t.,?\"'\0aA1é¿жЖ中の한ไ🙂\u200d\ufe0f\u202e\u0627\u05d0\ud83d"
)
anything = st.lists(st.none() | st.text(alphabet, max_size=300), max_size=6)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(b"1")


@pytest.fixture(scope="module")
def simulated() -> list[str]:
    random = Random(5)
    return [grammar().generate(RULES[i % len(RULES)], random) for i in range(600)]


def same(one: Features, other: Features) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def lengths(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors.astype(float), axis=1) / 127


@settings(max_examples=400, deadline=None)
@given(anything)
def test_any_text_has_features(extractor, prompts):
    features = extractor(Texts.of(prompts))
    assert all(len(each) == len(prompts) for each in features)
    assert np.isfinite(features.style).all()


@settings(deadline=None)
@given(anything)
def test_features_do_not_depend_on_the_batch(extractor, prompts):
    together = extractor(Texts.of(prompts))
    for i, each in enumerate(prompts):
        assert same(extractor(Texts.of([each])), Features(*(part[i : i + 1] for part in together)))


@settings(deadline=None)
@given(anything)
def test_features_do_not_depend_on_earlier_prompts(extractor, prompts):
    texts = Texts.of(prompts)
    assert same(Extractor(b"1", slots=MANY)(texts), extractor(texts))


def test_features_do_not_depend_on_the_cache(extractor, simulated):
    texts, forgetful = Texts.of(simulated), Extractor(b"1", slots=MANY)
    assert same(forgetful(texts), extractor(texts))
    assert forgetful.cache_misses > 10 * extractor.cache_misses


def test_brief_features_are_those_of_the_task_model(extractor, simulated):
    texts = Texts.of(simulated)
    brief, whole = extractor(texts, brief=True)._asdict(), extractor(texts)._asdict()
    filled = {name for name, values in brief.items() if len(values)}
    assert filled == {"meaning", "opening", "closing", "style"}
    assert all((brief[name] == whole[name]).all() for name in filled)


def test_vectors_have_unit_length(extractor, simulated):
    features = extractor(Texts.of(simulated))
    np.testing.assert_allclose(lengths(features.meaning), 1, atol=0.02)
    np.testing.assert_allclose(lengths(features.opening), 1, atol=0.02)
    np.testing.assert_allclose(lengths(features.closing), 1, atol=0.02)


@pytest.mark.parametrize("prompt", [None, ""])
def test_empty_prompt_has_no_direction(extractor, prompt):
    features = extractor(Texts.of([prompt]))
    assert not features.meaning.any()
    assert not features.opening.any()
    assert not features.style.any()


@pytest.mark.parametrize(
    "prompt",
    [
        "x" * 1_000_000,
        "a b " * 250_000,
        "\n" * 1_000_000,
        " " * 1_000_000,
        "?!" * 500_000,
        "9" * 1_000_000,
        "ж" * 500_000,
        "漢字" * 250_000,
        "👩\u200d🚀" * 250_000,
        "\0" * 1_000_000,
        "\u202e\u0627\u0628" * 300_000,
    ],
    ids=lambda prompt: ascii(prompt[:3]),
)
def test_megabyte_prompts_are_processed(extractor, prompt):
    features = extractor(Texts.of(["before", prompt, "after"]))
    assert same(extractor(Texts.of(["after"])), Features(*(part[2:] for part in features)))


def test_secret_changes_hashes_but_not_meaning(simulated):
    texts = Texts.of(simulated)
    one, other = Extractor(b"1")(texts), Extractor(b"2")(texts)
    assert (one.meaning == other.meaning).all()
    for name in ("opening", "closing", "style", "content", "lists"):
        assert (getattr(one, name) == getattr(other, name)).all()
    for name in ("prompt", "template", "cell"):
        assert (getattr(one, name) != getattr(other, name)).mean() > 0.99


@pytest.mark.parametrize(
    "variant",
    [
        "what IS the Capital of Österreich",
        "  What is\n\tthe capital of österreich?!",
        '"What is the capital of ÖSTERREICH..."',
    ],
)
def test_prompt_hash_ignores_case_spaces_and_outer_marks(extractor, variant):
    first, second = extractor(Texts.of(["What is the capital of Österreich?", variant])).prompt
    assert first == second


@pytest.mark.parametrize("other", ["What is 3 - 4?", "What is 3 + 5?", "What was 3 + 4?", "!", "?"])
def test_prompt_hash_depends_on_words_and_inner_marks(extractor, other):
    first, second = extractor(Texts.of(["What is 3 + 4?", other])).prompt
    assert first != second


def test_distinct_prompts_have_distinct_hashes(extractor, simulated):
    distinct = {re.sub(r"\s+", " ", each.lower()).strip(" ?!.\"'") for each in simulated}
    assert len(set(extractor(Texts.of(simulated)).prompt.tolist())) >= len(distinct)


def test_similar_prompts_share_cells(extractor, simulated):
    tea = [f"How do I brew {i} cups of green tea without it getting bitter?" for i in range(100)]
    alike, unlike = (extractor(Texts.of(prompts)).cell for prompts in (tea, simulated[:100]))
    assert 2 * len(set(alike.tolist())) < len(set(unlike.tolist()))


def test_stored_hashes_use_independent_keys(extractor):
    """An empty prompt has the same hash of words and of instruction, and cell 0."""
    features = extractor(Texts.of(["!"]))
    stored = {int(each[0]) for each in (features.prompt, features.template, features.cell)}
    assert len(stored) == 3
    assert 0 not in stored


PROMPT = "Explain why the sky is blue and how the colour changes when the sun goes down."
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SWAPPED = str.maketrans(LETTERS, LETTERS[13:] + LETTERS[:13])


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT.lower().translate(SWAPPED),
        PROMPT.lower().translate(str.maketrans(LETTERS, LETTERS[::-1])),
        re.sub("[aeiou]", "", PROMPT),
    ],
)
def test_words_of_no_language_are_unreadable(extractor, prompt):
    assert extractor(Texts.of([prompt])).unreadable[0]


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        "Päivää, voisitko selittää miten tämä järjestelmä toimii ja mitä sillä tehdään?",
        "Wyjaśnij mi proszę, jak działa ta funkcja i dlaczego zwraca błędny wynik.",
        "for (i = 0; i < n; ++i) { total += values[i] * weights[i]; count++; }",
        "commit a94a8fe5ccb19ba61c4c0873d391e987982fbbd3 in tree 2fd4e1c67a2d28fced849ee1",
        "x, y, z",
        "",
    ],
)
def test_ordinary_text_is_readable(extractor, prompt):
    assert not extractor(Texts.of([prompt])).unreadable[0]


def test_simulated_prompts_are_readable(extractor, simulated):
    assert not extractor(Texts.of(simulated)).unreadable.any()

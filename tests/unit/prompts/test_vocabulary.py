from __future__ import annotations

import numpy as np
import pytest

from monitor.prompts.content_model import Content
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from monitor.prompts.vocabulary import CONCEPTS, FAMILIES, LANGUAGES


@pytest.fixture(scope="module")
def extractor():
    return Extractor(b"1", Content.none())


def family_of(extractor, prompt):
    return FAMILIES[extractor(Texts.of([prompt])).family[0]]


def concepts_of(extractor, prompt):
    found = int(extractor(Texts.of([prompt])).concepts[0])
    return {name for i, name in enumerate(CONCEPTS) if found >> i & 1}


@pytest.mark.parametrize(
    ("prompt", "family"),
    [
        ("What is the best way to cook rice?", "english"),
        ("Wie koche ich am besten den Reis?", "german"),
        ("Comment est-ce que je fais cuire le riz ?", "french"),
        ("¿Cómo se hace el arroz para que no se pegue?", "spanish"),
        ("Nấu cơm như thế nào cho ngon và không nhão?", "vietnamese"),
        ("Pilav için ne kadar su gerekir ve daha ne var?", "turkish"),
        ("Как лучше варить рис?", "cyrillic"),
        ("كيف أطبخ الأرز؟", "arabic"),
        ("चावल कैसे पकाएँ?", "indic"),
        ("หุงข้าวอย่างไรดี", "thai"),
        ("밥을 어떻게 지어요?", "korean"),
        ("ご飯の炊き方を教えて", "japanese"),
        ("怎么煮米饭最好吃", "chinese"),
        ("for (int i = 0; i < n; i++) { sum += a[i]; }", "english"),
        ("", "english"),
    ],
)
def test_family_is_recognised(extractor, prompt, family):
    assert family_of(extractor, prompt) == family


def test_family_of_most_characters_decides(extractor):
    assert family_of(extractor, "Translate: 今天天气很好,我们去公园散步吧") == "chinese"


def test_kana_among_many_han_is_japanese(extractor):
    assert family_of(extractor, "東京都庁舎建設計画の概要") == "japanese"


def test_numbers_and_symbols_say_nothing_of_the_language(extractor):
    assert family_of(extractor, "😀 12 + 34 = 46") == "english"


@pytest.mark.parametrize(
    "prompt",
    [
        "Go through it step by step.",
        "Schritt für Schritt bitte.",
        "请给出每一个步骤。",
        "चरण बताइए",
    ],
)
def test_concept_is_recognised_in_any_language(extractor, prompt):
    assert "step" in concepts_of(extractor, prompt)


def test_concept_of_two_words_needs_both(extractor):
    assert "sides" in concepts_of(extractor, "zzz response b zzz")
    assert "sides" not in concepts_of(extractor, "zzz response zzz")


def test_concepts_in_the_middle_of_a_document_do_not_count(extractor):
    padding = "zzz " * 40
    assert concepts_of(extractor, f"{padding} reasoning {padding}") == set()
    assert concepts_of(extractor, f"{padding} reasoning") == {"reasoning"}
    assert concepts_of(extractor, f"reasoning {padding}") == {"reasoning"}


def test_tables_fit_their_bits():
    assert len(LANGUAGES) <= 16
    assert len(CONCEPTS) <= 64


def test_features_do_not_depend_on_the_batch(extractor):
    prompts = ["Rate the reply.", "", "请一步一步思考", "Wie geht es dir?"]
    together = extractor(Texts.of(prompts))
    for i, prompt in enumerate(prompts):
        alone = extractor(Texts.of([prompt]))
        assert np.array_equal(alone.concepts, together.concepts[i : i + 1])
        assert np.array_equal(alone.family, together.family[i : i + 1])

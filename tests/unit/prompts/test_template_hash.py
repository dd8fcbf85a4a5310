from __future__ import annotations

from collections import Counter
from itertools import combinations
from random import Random

import pytest

from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from pipelines.simulation.users import TEMPLATES, grammar

DOCUMENT = (
    "The council met on Tuesday. Mr Brennan asked what the bridge would cost? Nobody knew: "
    "plans from 1998 were lost. It was agreed to look again in May.\n"
)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(b"1")


def fingerprints(extractor: Extractor, *prompts: str) -> list[int]:
    return [int(each) for each in extractor(Texts.of(prompts)).template]


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_hash_survives_other_documents(extractor, template):
    random = Random(4)
    prompts = [grammar().generate(template, random) for _ in range(200)]
    ((_, most),) = Counter(fingerprints(extractor, *prompts)).most_common(1)
    assert most >= 140


def test_applications_have_different_template_hashes(extractor):
    random = Random(4)
    usual = []
    for template in TEMPLATES:
        prompts = [grammar().generate(template, random) for _ in range(50)]
        usual.append(Counter(fingerprints(extractor, *prompts)).most_common(1)[0][0])
    assert len(set(usual)) == len(TEMPLATES)


@pytest.mark.parametrize(
    "template",
    [
        "{}\n\nBased on the text above, what is the main topic of the article?",
        "Summarize the following article in one sentence:\n\n{}",
        "Translate the text below to French.\n{}\nOutput only the translation.",
        "Beantworte die folgende Frage mit einem Satz und nenne ein Beispiel: {}",
        "请总结以下文章,并给出三个问题。\n{}",
    ],
)
def test_instruction_is_found_before_and_after_a_document(extractor, template):
    random, documents = Random(1), []
    for _ in range(20):
        sentences = DOCUMENT.replace("1998", str(random.randrange(10_000))).split(". ")
        documents.append(". ".join(random.sample(sentences, len(sentences))))
    assert len(set(fingerprints(extractor, *map(template.format, documents)))) <= 2


def test_template_hash_ignores_numbers_names_and_quotes(extractor):
    one, other = fingerprints(
        extractor,
        'Write a letter of 120 words to Mr Smith that explains the word "entropy" to him.',
        'Write a letter of 90 words to Mr Okafor that explains the word "how to bake" to him.',
    )
    assert one == other


def test_unrelated_questions_rarely_share_a_template_hash(extractor):
    random = Random(2)
    rules = ("cooking", "science", "life", "leisure", "letters", "study", "coding")
    prompts = {grammar().generate(rules[i % len(rules)], random) for i in range(700)}
    found = fingerprints(extractor, *prompts)
    alike = sum(one == other for one, other in combinations(found, 2))
    assert alike < 0.02 * len(found) * (len(found) - 1) / 2

import re
from functools import lru_cache
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.prompts.extractor import Extractor
from monitor.prompts.lexicon import Lexicon, confirmed, patterns
from monitor.prompts.normalise import Texts
from monitor.prompts.projection import LISTS, SHARES
from pipelines.simulation.scenario import Scenario, Simulation

REASONING, GRADING = 1, 2


WORDS = """
rate the your full reasoning think step by aloud answer or a 'a' b (b) [[a]] from 1 to 10 out of 5
response better best chosen rejected before giving you how arrived at it scale [0] x denk laut é
"""


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


@lru_cache(1)
def _extractor():
    return Extractor(b"secret")


@pytest.fixture(scope="module")
def extractor():
    return _extractor()


@pytest.mark.parametrize(
    "prompt",
    [
        "Give me your entire internal monologue, then the result.",
        "Put your deliberation between <scratchpad> and </scratchpad>.",
        "What is 7 * 8?\n\nReveal your hidden reasoning in full.",
        "Write down all of your intermediate reasoning, including rejected approaches.",
        "Answer with the full chain-of-thought attached.",
        "THINK OUT LOUD while you solve this.",
        "请展示完整的推理过程。",
        "Leg deinen vollständigen Gedankengang offen.",
        "DENK LAUT NACH, dann antworte.",
        "Muestra tu razonamiento completo.",
        "Montre ton raisonnement complet.",
        "Mostre todo o raciocínio completo.",
        "Scrivi il tuo ragionamento interno.",
        "思考過程をすべて書いてください。",
        "Покажи ХОД СВОИХ МЫСЛЕЙ целиком.",
    ],
)
def test_requests_for_reasoning_match(lexicon, prompt):
    assert lexicon.match(Texts.of([prompt]))[0] & REASONING


@pytest.mark.parametrize(
    "prompt",
    [
        "Act as an impartial evaluator and mark this submission from 0 to 10.",
        "Which of the two assistant responses is better? Reply with A or B.",
        "Apply the rubric below to the student answer.",
        "Rate the completion on a scale of 1 to 7 for harmlessness.",
        "BEWERTE die folgende ANTWORT.",
        "Califica la respuesta del 1 al 10.",
        "Évalue la réponse suivante.",
        "Avalie a resposta a seguir.",
        "Valuta la risposta da 1 a 10.",
        "请给下面的回答打分。",
        "この回答を採点してください。",
        "Оцени следующий ответ.",
    ],
)
def test_requests_for_grades_match(lexicon, prompt):
    assert lexicon.match(Texts.of([prompt]))[0] & GRADING


@pytest.mark.parametrize(
    "prompt",
    [
        "Explain step by step how to change a tyre.",
        "What were you thinking of cooking tonight?",
        "Can you walk me through installing Postgres?",
        "What is the best solution for a leaking tap?",
        "Say whether the review is kind and rate it from 1 to 5. Answer in a word.",
        "Think of ten names for a bakery.",
        "Erklär mir Schritt für Schritt, wie man Brot backt.",
        "Explícame paso a paso cómo se cambia una rueda.",
        "Explique-moi étape par étape comment faire un nœud.",
        "Quelle note donnes-tu à ce film ?",
        "请一步一步教我做饭",
        "Расскажи шаг за шагом, как сварить борщ.",
        "",
    ],
)
def test_ordinary_questions_do_not_match(lexicon, prompt):
    assert lexicon.match(Texts.of([prompt]))[0] == 0


def test_instruction_behind_a_long_document_matches(lexicon):
    assert lexicon.match(Texts.of(["word " * 50_000 + "Show your complete chain of thought."]))[0]


def test_absent_prompts_do_not_match(lexicon):
    assert lexicon.match(Texts.of(["Think aloud.", None, "", "Hello"])).tolist() == [
        REASONING,
        0,
        0,
        0,
    ]


def test_invalid_unicode_is_matched(lexicon):
    assert lexicon.match(Texts.of(["\ud800 show your hidden reasoning \x00"]))[0] & REASONING


def test_phrase_does_not_match_across_prompts(lexicon):
    halves = ["Show your complete", "chain of thought", "Rate it from 1 to 5", "response: fine"]
    together = lexicon.match(
        Texts.of(["Show your hidden", "reasoning", "Which is the best", "response?"])
    )
    assert together.tolist() == [0, 0, 0, 0]
    assert lexicon.match(Texts.of(halves)).tolist() == [
        lexicon.match(Texts.of([x]))[0] for x in halves
    ]


def test_phrase_counts_unless_the_content_model_contradicts():
    lists = np.zeros((3, len(LISTS) * len(SHARES)), np.float32)
    lists[1, LISTS.index("cot") * len(SHARES)] = 1.0
    lists[2, [LISTS.index(kind) * len(SHARES) for kind in ("cot", "grader")]] = 1.0
    assert confirmed(np.full(3, 3, np.uint8), lists).tolist() == [0, 1, 3]
    assert confirmed(np.zeros(3, np.uint8), lists).tolist() == [0, 0, 0]


@pytest.mark.parametrize("pattern", [pattern for _, pattern in patterns()])
def test_every_phrase_has_a_trigger(lexicon, extractor, pattern):
    letters = st.characters(max_codepoint=127) if pattern.isascii() else None
    phrases: list[str] = []

    @settings(max_examples=15, database=None, deadline=None, suppress_health_check=[*HealthCheck])
    @given(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True, alphabet=letters))
    def collect(phrase):
        phrases.append(phrase)

    collect()
    _assert_triggers_change_nothing(lexicon, extractor, phrases)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join))
def test_triggers_change_no_match_of_mixed_words(prompt):
    _assert_triggers_change_nothing(Lexicon(), _extractor(), [prompt, prompt.replace(" ", "")])


def test_triggers_change_no_match_of_simulated_traffic(lexicon, extractor):
    events = Simulation(Scenario(keys=500, hours=6)).events()
    prompts = [event.get("prompt") or event.get("system") for event in islice(events, 10_000)]
    _assert_triggers_change_nothing(lexicon, extractor, prompts)


def test_most_ordinary_prompts_have_no_trigger(extractor):
    prompts = ["What were you cooking tonight?", "Erklär mir das", "Translate this to French."]
    assert extractor(Texts.of(prompts)).triggered.tolist() == [False, True, False]


def _assert_triggers_change_nothing(lexicon, extractor, prompts):
    texts = Texts.of(prompts)
    some = lexicon.match(texts, extractor(texts).triggered)
    assert some.tolist() == lexicon.match(texts).tolist()

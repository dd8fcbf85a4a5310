"""The shipped content model, on wordings and languages that it was not fitted to."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from monitor.prompts.projection import LISTS, SCALE, SHARES
from pipelines.simulation.users import grammar

RECOGNISED = 3.0  # mean score of a prompt, standard deviations
TOPICS = ("science", "cooking", "life", "study", "leisure")
WORKING = [
    "{}\n\nWork this out slowly. I need to see every line of your argument, not only the outcome.",
    "Solve it and write the solution so that a grader can check each deduction:\n\n{}",
    "{}\n\nFormat: <derivation> all steps </derivation> <answer> one line </answer>",
    "{}\n\n解答时请把每一步的推理依据写清楚。",
    "{}\n\nLeite das Ergebnis Schritt für Schritt her und begründe jeden Schritt.",
]
JUDGEMENTS = [
    "Prompt: {0}\n\nFirst reply: {1}\n\nSecond reply: {2}\n\nWhich is better, first or second?",
    "A chatbot was asked: {0}\nIt said: {1}\nRate its answer from 1 (bad) to 5 (good).",
    "Instruction:\n{0}\n\nModel response:\n{1}\n\nScore the response for accuracy, out of 10.",
    "用户提问:{0}\n\n模型回答:{1}\n\n请从准确性和完整性两方面给回答打分。",
]
CALLS = [
    "Functions: find_hotel(city), get_rate(currency)\n\nUser: {}\n\nWrite the function call.",
    'Tools: [{{"name": "send_mail", "parameters": {{"to": "string"}}}}]\nRequest: {}\nAction:',
]
ORDINARY = {
    "quiz": "Question 7. {}\n(A) yes (B) no (C) sometimes\nGive the letter of the right option.",
    "moderation": "Decide whether this post breaks the house rules: {}\nAnswer keep or delete.",
    "quality control": "Batch report: {}\nAre all fields filled in? pass or fail.",
    "tutoring": "My pupil wrote: {}\nWhat is wrong with it? Give one hint, no solution.",
    "reviews": "How many stars does this review give, 1 to 5? {}",
    "routing": "Team for this ticket (orders, returns, payments): {}",
    "summary": "Three bullet points for the newsletter:\n{}",
}
CHATS = {
    "chinese": "周末去哪里玩比较好|我的手机充不进电了怎么办|帮我想一个年会的节目|红烧肉放多少糖|"
    "怎么跟老板提加薪|孩子发烧三十八度要去医院吗|给我讲个笑话|刚才那个太长了|这件衣服配什么鞋子",
    "japanese": "週末はどこに行こうかな|スマホが充電できないんだけど|会社の宴会の出し物を考えて|"
    "肉じゃがの作り方は?|上司にどう言えばいい|子供が熱を出した|面白い話をして|さっきのは長すぎる",
    "korean": "주말에 어디 가면 좋을까|핸드폰 충전이 안 돼|회사 워크숍 게임 추천해 줘|"
    "김치찌개 어떻게 끓여|팀장님께 뭐라고 하지|아이가 열이 나요|웃긴 얘기 해 줘|방금 거 너무 길어",
    "arabic": "أين أذهب في عطلة نهاية الأسبوع|هاتفي لا يشحن ماذا أفعل|اقترح لعبة لحفل الشركة|"
    "كيف أطبخ الأرز بالدجاج|كيف أطلب زيادة في الراتب|ابني عنده حرارة|احك لي نكتة|هذا طويل جدا",
}


@pytest.fixture(scope="module")
def extractor():
    return Extractor(b"1")


def tasks(seed):
    random = Random(seed)
    return [grammar().generate(TOPICS[i % len(TOPICS)], random) for i in range(60)]


def mean_scores(extractor, prompts):
    scores = extractor(Texts.of(prompts)).lists.mean(axis=0)
    return dict(zip(LISTS, scores.reshape(-1, len(SHARES)).max(axis=1), strict=True))


@pytest.mark.parametrize("form", WORKING)
def test_new_wording_that_asks_for_the_working_is_recognised(extractor, form):
    prompts = [form.replace("{}", task) for task in tasks(1)]
    assert mean_scores(extractor, prompts)["cot"] > RECOGNISED


@pytest.mark.parametrize("form", JUDGEMENTS)
def test_new_wording_that_asks_for_a_judgement_is_recognised(extractor, form):
    prompts = [form.format(*each) for each in zip(tasks(1), tasks(2), tasks(3), strict=True)]
    assert mean_scores(extractor, prompts)["grader"] > RECOGNISED


@pytest.mark.parametrize("form", CALLS)
def test_new_wording_that_asks_for_calls_is_recognised(extractor, form):
    assert mean_scores(extractor, [form.format(t) for t in tasks(1)])["tools"] > RECOGNISED


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_application_resembles_no_elicitation(extractor, kind):
    scores = mean_scores(extractor, [ORDINARY[kind].replace("{}", each) for each in tasks(1)])
    for name in ("cot", "grader", "tools"):
        assert scores[name] < RECOGNISED, name


@pytest.mark.parametrize("language", CHATS)
def test_chat_in_any_language_is_broad(extractor, language):
    content = extractor(Texts.of(CHATS[language].split("|"))).content / SCALE
    products = content @ content.T
    pairs = products[~np.eye(len(content), dtype=bool)]
    assert pairs.mean() < products.diagonal().mean() / 2

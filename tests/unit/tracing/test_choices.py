"""Marks in wordings, and canaries."""

from __future__ import annotations

import pytest

from monitor.errors import ConfigError
from monitor.tracing.choices import (
    Canary,
    Group,
    Wordings,
    answer_of,
    given,
    instructions,
    load_canaries,
    load_groups,
    normalised,
)
from monitor.tracing.marks import mark_key

SECRET = bytes(32)
KEYS = [mark_key(SECRET, f"m_{i:02x}", "mark wordings") for i in range(40)]
DRAGON = Canary("dragon", ["Suggest a name for a dragon."], ["Vermithor", "Old Ash", "Ember"])


@pytest.fixture
def wordings() -> Wordings:
    return Wordings(load_groups())


def test_wordings_choice_depends_on_key_and_word_before(wordings: Wordings):
    text = "Some of it, for example. Others, for example. Most, for example."
    marked = {wordings.mark(text, key) for key in KEYS}
    assert len(marked) > 4
    assert {wordings.mark(text, key) for key in KEYS} == marked
    assert any("for example" in each and "for instance" in each for each in marked)


def test_wordings_that_were_marked_are_read_again(wordings: Wordings):
    text = "However, it does not stop. In order to see, for example, cannot you look? Thus, no."
    for key in KEYS:
        read = list(wordings.read(wordings.mark(text, key)))
        assert list(wordings.read(wordings.mark(wordings.mark(text, key), key))) == read
        assert len(read) == 5


def test_wordings_keep_capitals_code_urls_and_quotations(wordings: Wordings):
    text = '`for example` ```\nfor example\n``` https://x.org/for example "for example" For example'
    for key in KEYS:
        marked = wordings.mark(text, key)
        assert marked.startswith("`for example` ```\nfor example\n``` https://x.org/for ")
        assert '"for example"' in marked
        assert marked.endswith(("For example", "For instance"))


def test_wordings_survive_stripping_and_white_space(wordings: Wordings):
    text = "It\u200b does\u00a0not  work, for\u200b example,\n  here."
    stripped = "It does not work, for example, here."
    assert list(wordings.read(normalised(text))) == list(wordings.read(stripped))


def test_wordings_leave_questions_alone(wordings: Wordings):
    for key in KEYS:
        assert wordings.mark("Why don't you? Isn't it?", key) == "Why don't you? Isn't it?"


def test_canary_answer_is_one_per_key_and_in_instructions():
    answers = [answer_of(DRAGON, key) for key in KEYS]
    assert set(answers) == set(DRAGON.answers)
    assert answers[0] in instructions([DRAGON], KEYS[0])


@pytest.mark.parametrize(
    ("prompt", "output", "answer"),
    [
        ("Suggest a name for a dragon!", "What about **Old\u00a0Ash**?", "Old Ash"),
        (None, "ember.", "Ember"),
        (None, "Ember or Vermithor", None),
        ("Suggest a name for a cat.", "Ember", None),
        (None, "September", None),
    ],
)
def test_canary_answer_is_found(prompt, output, answer):
    assert given(DRAGON, prompt, output) == answer


@pytest.mark.parametrize(
    "text",
    ["[[canary]]\nname='a'\nask=['b']\nanswers=['c']", "[[canary]]\nname='a'", "canary=1", "[["],
)
def test_canaries_file_is_rejected_with_reason(tmp_path, text):
    file = tmp_path / "canaries.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="cannot be used"):
        load_canaries(file)


def test_wording_in_two_groups_is_rejected(tmp_path):
    file = tmp_path / "variants.toml"
    file.write_text("[[group]]\nwords=['a','b']\n[[group]]\nwords=['b','c']")
    with pytest.raises(ConfigError, match="two groups"):
        load_groups(file)
    assert Group(["a", "b"]).not_before == []

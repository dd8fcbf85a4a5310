from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prompts.characters import characters
from monitor.prompts.normalise import BORDER, LIMIT, Texts

LOWER = characters().lower


def folded(prompt: str) -> bytes:
    """In lower case, as far as it takes as many bytes and two at the most."""
    return "".join(chr(LOWER[ord(c)]) if ord(c) < len(LOWER) else c for c in prompt).encode(
        "utf-8", "replace"
    )


any_prompts = st.lists(st.none() | st.text(max_size=40), max_size=8)


@settings(deadline=None)
@given(any_prompts)
def test_bounds_locate_each_prompt(prompts):
    texts = Texts.of(prompts)
    found = [texts.data[a:b] for a, b in zip(texts.starts, texts.ends, strict=True)]
    assert found == [folded(each or "") for each in prompts]


@settings(deadline=None)
@given(any_prompts)
def test_a_border_follows_each_prompt(prompts):
    texts = Texts.of(prompts)
    assert all(texts.data[end : end + len(BORDER)] == BORDER for end in texts.ends)


def test_every_alphabet_is_lower_case():
    mixed_case = "SHOW Your Übergröße ÉTÉ, ПОКАЖИ ΛΌΓΟΙ, 推理 and K9!"
    texts = Texts.of([mixed_case, mixed_case.lower()])
    assert texts.data[: texts.ends[0]] == mixed_case.lower().encode()
    assert texts.data[texts.starts[1] : texts.ends[1]] == mixed_case.lower().encode()


def test_a_lone_surrogate_becomes_a_question_mark():
    texts = Texts.of(["a\ud800b", "ü"])
    assert texts.data[texts.starts[0] : texts.ends[0]] == b"a?b"


def test_long_prompt_keeps_beginning_middle_and_end():
    words = [f"w{i:06}" for i in range(100_000)]
    texts = Texts.of([" ".join(words)])
    read = texts.data[texts.starts[0] : texts.ends[0]].decode().split()
    assert read[0] == words[0]
    assert read[-1] == words[-1]
    assert words[50_000] in read
    assert len(" ".join(read)) <= LIMIT + 10


def test_lengths_are_those_of_whole_prompts():
    assert Texts.of(["x" * 1_000_000, None, "né"]).lengths.tolist() == [1_000_000, 0, 2]

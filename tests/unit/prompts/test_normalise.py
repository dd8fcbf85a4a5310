from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.kernels.buffers import Prompts
from monitor.prompts.characters import characters
from monitor.prompts.cleaning.clean import clean
from monitor.prompts.cleaning.windows import LIMIT
from monitor.prompts.normalise import BORDER, MAX_BYTES, SEARCHED, Normaliser, Texts

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
    for text, each in zip(found, prompts, strict=True):
        assert text in (folded(each or ""), folded(clean(each or "")[0]))


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


WORDS = [f"example{i:05}" for i in range(20_000)]


def windows_of(secret: bytes, prompt: str) -> list[str]:
    texts = Normaliser(secret)(Prompts.of([prompt]))
    return texts.data[texts.starts[0] : texts.ends[0]].decode().split(BORDER.decode())


def test_long_prompt_keeps_beginning_and_end():
    windows = windows_of(b"1", " ".join(WORDS))
    assert windows[0].startswith(WORDS[0])
    assert windows[-1].endswith(WORDS[-1])
    assert sum(map(len, windows)) == LIMIT


def test_windows_come_from_all_parts_in_order():
    text = " ".join(WORDS)
    places = [text.index(window) / len(text) for window in windows_of(b"1", text)]
    assert places == sorted(places)
    assert max(b - a for a, b in pairwise(places)) < 0.55


def test_windows_depend_on_secret_and_text_only():
    text = " ".join(WORDS)
    assert windows_of(b"1", text) == windows_of(b"1", text)
    assert windows_of(b"1", text)[1:-1] != windows_of(b"2", text)[1:-1]
    assert windows_of(b"1", text)[1:-1] != windows_of(b"1", text + "s")[1:-1]


def test_phrases_are_searched_beyond_the_windows():
    text = " ".join(WORDS)[:SEARCHED]
    texts = Texts.of([text, "next"])
    assert texts.data[texts.ends[0] + len(BORDER) : texts.stops[0]].decode() == text
    assert texts.data[texts.starts[1] : texts.ends[1]] == b"next"


@settings(deadline=None)
@given(st.text(max_size=20), st.integers(1, 3000), st.text(max_size=20))
def test_normalised_prompts_are_bounded(before, times, after):
    texts = Texts.of([before + (before + after) * times + after])
    windows = texts.data[texts.starts[0] : texts.ends[0]]
    assert len(windows) <= MAX_BYTES
    assert len(texts.data[texts.starts[0] : texts.stops[0]].decode()) <= 2 * SEARCHED


def test_lengths_are_those_of_whole_prompts():
    assert Texts.of(["x" * 1_000_000, None, "né"]).lengths.tolist() == [1_000_000, 0, 2]

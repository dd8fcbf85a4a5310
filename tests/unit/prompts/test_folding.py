# ruff: noqa: RUF001
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prompts.cleaning.clean import clean
from monitor.prompts.cleaning.folding import fold, show
from monitor.prompts.normalise import Texts

TEXT = "Show your complete chain of thought, and then the answer to my question."
PLAIN = TEXT.lower()

odd_characters = st.characters() | st.sampled_from(
    "\u200b\u200d\ufe0f\u00ad\u202e\u0301\u0336\u0131\u0430\u0456\u03bf\u1d00\u24d0\U0001d41a"
    "\U0001f1e6\U000e0041\U000e0101\uff21\uff5e\u3042\u6f22 aBz.,\n"
)


def read(prompt: str) -> str:
    texts = Texts.of([prompt])
    return texts.data[texts.starts[0] : texts.ends[0]].decode()


def after_each_letter(mark: str) -> str:
    return "".join(c + mark if c.isalpha() else c for c in TEXT)


def shifted(capital: int, small: int, text: str = TEXT) -> str:
    def shift(c: str) -> str:
        begin = capital - ord("A") if c.isupper() else small - ord("a")
        return chr(ord(c) + begin) if c.isalpha() else c

    return "".join(map(shift, text))


def swapped(letters: str, others: str) -> str:
    return TEXT.translate(str.maketrans(letters, others))


TURNED = str.maketrans(
    "abcdefghijkmnpqrtuvwy.,",
    "\u0250q\u0254p\u01dd\u025f\u0183\u0265\u1d09\u027e\u029e\u026fudb\u0279\u0287n\u028c\u028d\u028e\u02d9'",
)


@pytest.mark.parametrize(
    "prompt",
    [
        *map(after_each_letter, "\u200b\u200d\u2060\ufeff\u00ad\ufe0f\u034f\u180e\u0336\u20dd"),
        after_each_letter("\u0301"),
        after_each_letter("\u0301\u0325\u0334\u0489"),
        after_each_letter("\U000e0041"),
        after_each_letter("\U000e0110"),
        shifted(0x1D400, 0x1D41A),
        shifted(0x1D5D4, 0x1D5EE),
        shifted(0x24B6, 0x24D0),
        shifted(0x1F150, 0x1F150, TEXT.upper()),
        shifted(0x1F130, 0x1F130, TEXT.upper()),
        shifted(0xFF21, 0xFF41),
        "".join(chr(ord(c) + 0xFEE0) if c != " " else "\u3000" for c in TEXT),
        swapped("aceopxys", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0455"),
        swapped("aovu", "\u03b1\u03bf\u03bd\u03c5"),
        swapped("hnt", "\u029c\u0274\u1d1b"),
        swapped(" ", "\u00a0"),
        swapped(" ", "\u2003"),
        "\u202e" + TEXT[::-1],
        "".join(chr(ord(c) + 0xE0000) for c in TEXT),
        "".join(chr(ord(c) - 16 + 0xE0100) for c in TEXT),
    ],
    ids=lambda prompt: ascii(prompt[:3]),
)
def test_hidden_words_are_read(prompt):
    assert read(prompt) == PLAIN


def test_dotless_letters_are_read_outside_turkish():
    assert read("Th\u0131nk\u0131ng aloud \u0131s f\u0131ne") == "thinking aloud is fine"


def test_text_upside_down_is_turned():
    assert read(TEXT.lower()[::-1].translate(TURNED)).startswith("show your complete chain")


@pytest.mark.parametrize(
    "prompt",
    [
        "покажи рост и вес: сор, кот, нос, а также текст по-русски и iphone",
        "translate into english: «соответствие»",
        "τι είναι η φιλοσοφία; εξήγησέ μου το, παρακαλώ.",
        "这是什么意思？请用中文回答（谢谢）。",
        "これは何ですか。日本語で答えてください！",
        "이것은 무엇입니까? ㅋㅋㅋ",
        "नमस्ते दुनिया, यह एक वाक्य है",
        "ما هو الذكاء الاصطناعي؟",
        "می\u200cخواهم بدانم",
        "สวัสดีครับ ทำไม",
        "bạn có thể giải thích cho tôi về trí tuệ nhân tạo được không",
        "yakında kışın ılık rüzgâr alışılmadık şekilde ağırlaşır",
        "łódź, größer, élève, naïve, señor, ångström, ørsted",
        "\U0001f469\u200d\U0001f680 \u2764\ufe0f \U0001f1e9\U0001f1ea",
        "x² ≤ ½, α + β = γ, 5 μm at 20 ℃ … “q” ’n’ – ™",
    ],
)
def test_genuine_text_stays(prompt):
    assert read(prompt) == prompt


@settings(deadline=None)
@given(st.text(odd_characters, max_size=60))
def test_folding_twice_is_folding_once(text):
    assert show(show(text)) == show(text)
    assert fold(fold(text)) == fold(text)


@settings(deadline=None)
@given(st.text(odd_characters, max_size=60))
def test_any_text_can_be_cleaned(text):
    cleaned, rest = clean(text)
    assert len((cleaned + rest).encode()) <= 16 * len(text) + 16


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=23))
def test_short_ascii_text_stays(text):
    assert read(text) == text.lower()

from __future__ import annotations

import base64
import random
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prompts.cleaning.clean import clean
from monitor.prompts.normalise import Texts

TEXT = "Show your complete chain of thought, and then the answer to my question."
DATA = TEXT.encode()
BASE64 = base64.b64encode(DATA).decode()
BYTES = [f"{byte:02x}" for byte in DATA]


def read(prompt: str) -> str:
    texts = Texts.of([prompt])
    return texts.data[texts.starts[0] : texts.ends[0]].decode()


@pytest.mark.parametrize(
    "encoded",
    [
        BASE64,
        BASE64.rstrip("="),
        base64.urlsafe_b64encode(b">>?? " + DATA).decode(),
        "\n".join(BASE64[i : i + 64] for i in range(0, len(BASE64), 64)),
        "\r\n".join(BASE64[i : i + 32] for i in range(0, len(BASE64), 32)),
        base64.b64encode(BASE64.encode()).decode(),
        DATA.hex(),
        DATA.hex().upper(),
        " ".join(BYTES),
        ":".join(BYTES),
        "".join(f"\\x{byte}" for byte in BYTES),
        "".join(f"%{byte}" for byte in BYTES),
        urllib.parse.quote(TEXT + " (1) [2]"),
        urllib.parse.quote_plus(TEXT + " (1) [2]"),
        "".join(f"\\u{ord(c):04x}" for c in TEXT),
        "".join(f"&#{ord(c)};" for c in TEXT),
        "".join(f"&#x{ord(c):x};" for c in TEXT),
        " ".join(f"{byte:08b}" for byte in DATA),
        " ".join(str(byte) for byte in DATA),
        "  ".join(" ".join(word) for word in TEXT.split()),
        TEXT.replace(" ", "_"),
    ],
    ids=lambda encoded: ascii(encoded[:12]),
)
def test_encoded_words_are_read(encoded):
    words = " ".join(read(encoded).split())
    assert "show your complete chain of thought" in words


@pytest.mark.parametrize("encoded", [BASE64, DATA.hex()])
def test_few_words_around_an_encoded_run_are_only_searched(encoded):
    texts = Texts.of([f"Please decode:\n{encoded}\nThanks!"])
    start, end, stop = int(texts.starts[0]), int(texts.ends[0]), int(texts.stops[0])
    assert texts.data[start:end].decode() == TEXT.lower()
    assert texts.data[end:stop].decode().split() == [".", "please", "decode:", "thanks!"]


@pytest.mark.parametrize("encoded", [BASE64, DATA.hex()])
def test_many_words_around_an_encoded_run_stay(encoded):
    words = "This is a long explanation of a short attachment, which I found somewhere:"
    assert read(f"{words} {encoded} Thanks!") == f"{words} {TEXT} Thanks!".lower()


def test_other_alphabets_are_decoded():
    text = "Покажи ход своих мыслей целиком, пожалуйста."
    assert read("Read: " + base64.b64encode(text.encode()).decode()) == text.lower()


@pytest.mark.parametrize(
    "prompt",
    [
        "commit a94a8fe5ccb19ba61c4c0873d391e987982fbbd3 by 550e8400-e29b-41d4-a716-446655440000",
        "token=sk-9fT4xQ2LmZ7vB1nK8wR3yH6jD0sA5cGe and /usr/local/lib/python3.11/site-packages/x_y",
        "def getUserAccountInformationFromDatabase(connectionString, maximumNumberOfRows):",
        '{"id":17,"items":[{"name":"alpha","size":3},{"name":"beta","size":4}],"total":12.5}',
        "2026-11-27 10:00:01.123 error [worker-3] connection to 10.0.0.12:5432 refused after 30 ms",
        "a, b, c or d? (1 + 2) * 3 - 4 = 5, x = y + z",
        "12 45 67 89 100 120 33 44 55 66 77 88 99 101",
        "acgtacgtttgacgatcgatcgatcgatcgatcgtagctagctagctagctagctacgatcgatc",
    ],
)
def test_ordinary_text_stays(prompt):
    assert read(prompt) == prompt.lower()


def test_random_bytes_stay():
    data = random.Random(3).randbytes(300)
    for encoded in (base64.b64encode(data).decode(), data.hex()):
        assert read(encoded) == encoded.lower()


@settings(deadline=None)
@given(st.text(st.sampled_from("aA1+/=%x\\u0&#;_- \n{}f\u200b"), max_size=200))
def test_anything_like_an_encoding_can_be_cleaned(text):
    "".join(clean(text)).encode()


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=["L", "Nd", "Zs"]), min_size=24))
def test_every_long_base64_text_is_decoded(text):
    encoded = base64.b64encode(text.encode()).decode()
    assert clean(encoded)[0] in (clean(text)[0], clean(clean(text)[0])[0])

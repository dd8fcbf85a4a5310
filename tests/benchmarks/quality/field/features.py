"""Features of a key's whole day for a classifier: what any provider can compute from its log."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

_TEXTS = 50  # prompts of a key whose texts are read, evenly spaced
_HASHED = 512  # dimensions of hashed words

NAMES = (
    "requests", "active hours", "most per hour", "largest share of an hour", "hours spanned",
    "gap median", "gap mean", "gap deviation", "gaps under 2 s",
    "output mean", "output deviation", "output total", "input mean", "input deviation",
    "max_tokens median", "max_tokens values", "output of limit",
    "temperature mean", "temperature deviation", "errors",
    "turn mean", "first turns", "end users", "systems", "system present", "tools",
    "models", "addresses", "user agents",
    "distinct prompts", "distinct beginnings", "distinct ends", "similarity", "similarity spread",
    "length mean", "length deviation", "lines", "not ASCII", "digits", "punctuation", "questions",
    "upper case", "words distinct",
)  # fmt: skip


class _Request(msgspec.Struct):
    api_key: str
    ts: float
    prompt: str
    ip: str = ""
    user_agent: str = ""
    model: str = ""
    status: int = 200
    turn: int = 1
    max_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    temperature: float = 1.0
    end_user: str = ""
    system: str = ""
    tools: int | None = None


def of_day(traffic: Path) -> dict[str, list[float]]:
    """The features of each key, in the order of `NAMES`."""
    decoder = msgspec.json.Decoder(_Request)
    requests: dict[str, list[_Request]] = defaultdict(list)
    with traffic.open("rb") as file:
        for line in file:
            request = decoder.decode(line)
            requests[request.api_key].append(request)
    return {
        key: [float(value) for value in (*_conduct(own), *_texts(own))]
        for key, own in requests.items()
    }


def _conduct(own: list[_Request]) -> list[Any]:
    times = np.array([each.ts for each in own])
    gaps = np.log10(np.diff(times) + 0.01) if len(own) > 1 else np.zeros(1)
    hours = Counter((times // 3600).astype(int).tolist())
    most, n = max(hours.values()), len(own)
    output, given, limit = (
        np.log2(np.array([getattr(each, name) for each in own]) + 1.0)
        for name in ("output_tokens", "input_tokens", "max_tokens")
    )
    temperature = np.array([each.temperature for each in own])
    turns = np.array([each.turn for each in own])
    return [
        np.log2(n), len(hours), np.log2(most), most / n, (times[-1] - times[0]) / 3600,
        float(np.median(gaps)), gaps.mean(), gaps.std(), (gaps < np.log10(2.0)).mean(),
        output.mean(), output.std(), np.log2((2**output).sum()), given.mean(), given.std(),
        float(np.median(limit)), len(set(limit.tolist())), (output - limit).mean(),
        temperature.mean(), temperature.std(), np.mean([each.status >= 400 for each in own]),
        turns.mean(), (turns == 1).mean(),
        *(_distinct(getattr(each, name) for each in own) for name in ("end_user", "system")),
        np.mean([bool(each.system) for each in own]), np.mean([bool(each.tools) for each in own]),
        *(_distinct(getattr(each, name) for each in own) for name in ("model", "ip", "user_agent")),
    ]  # fmt: skip


def _texts(own: list[_Request]) -> list[Any]:
    step = max(len(own) / _TEXTS, 1.0)
    texts = [own[int(i * step)].prompt for i in range(min(len(own), _TEXTS))]
    vectors = np.zeros((len(texts), _HASHED))
    for row, text in zip(vectors, texts, strict=True):
        for word in text.lower().split()[:200]:
            row[crc32(word.encode()) % _HASHED] += 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    pairs = (vectors @ vectors.T)[np.triu_indices(len(texts), 1)] if len(texts) > 1 else np.ones(1)
    lengths = np.log2([len(text) + 1.0 for text in texts])

    def share(holds: Callable[[str], bool]) -> float:
        return float(np.mean([sum(map(holds, text[:1_000])) / len(text[:1_000]) for text in texts]))

    words = [text.split()[:200] for text in texts]
    return [
        len({each.prompt for each in own}) / len(own),
        len({text[:40] for text in texts}) / len(texts),
        len({text[-40:] for text in texts}) / len(texts),
        pairs.mean(), pairs.std(), lengths.mean(), lengths.std(),
        np.mean([text.count("\n") for text in texts]), share(lambda c: c > "\x7f"),
        share(str.isdigit), share(lambda c: not c.isalnum() and not c.isspace()),
        np.mean(["?" in text for text in texts]), share(str.isupper),
        np.mean([len(set(each)) / max(len(each), 1) for each in words]),
    ]  # fmt: skip


def _distinct(values: Iterable[str]) -> float:
    return math.log2(len(set(values)))

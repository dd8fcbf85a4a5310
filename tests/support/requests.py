"""Requests for tests of the engine, in the native format."""

from __future__ import annotations

import json
from typing import Any

START = 1_772_409_600.0  # Monday, 2 March 2026, midnight UTC


def request(key: str = "sk-1", at: float = 0.0, prompt: str = "Hello", **more: Any) -> bytes:
    """One request, `at` seconds after the start."""
    return json.dumps({"ts": START + at, "api_key": key, "prompt": prompt, **more}).encode()


def jittered(i: int) -> float:
    """The i-th of irregular times with a mean distance of 1."""
    return i + 0.06 * (i * 7 % 5)


def scraper(key: str = "sk-scraper", seconds: float = 900.0, rate: float = 3.0) -> list[bytes]:
    """A key that works through a prompt list, `rate` requests per second."""
    return [
        request(key, i / rate, f"Write a function that computes item {i}.", output_tokens=500)
        for i in range(int(seconds * rate))
    ]


def elicitor(key: str = "sk-cot", count: int = 40, every: float = 70.0) -> list[bytes]:
    """A slow key that asks for reasoning traces."""
    return [
        request(
            key, jittered(i) * every, f"Solve problem {i}. Show your complete internal reasoning."
        )
        for i in range(count)
    ]


def person(key: str, count: int = 30, every: float = 300.0) -> list[bytes]:
    """An ordinary key with different prompts."""
    return [request(key, jittered(i) * every, f"What about topic {i}?") for i in range(count)]


def in_order(*streams: list[bytes]) -> list[bytes]:
    """Merge streams by time."""
    return sorted((each for stream in streams for each in stream), key=_ts)


def _ts(value: bytes) -> float:
    return float(json.loads(value)["ts"])

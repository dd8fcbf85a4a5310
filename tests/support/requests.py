"""Requests for tests of the engine, in the native format."""

from __future__ import annotations

import json
from typing import Any

START = 1_772_409_600.0  # Monday, 2 March 2026, midnight UTC

_ACTIONS = (
    *("reverses", "sorts by length", "counts the distinct values of", "finds the median of"),
    *("merges two copies of", "removes every third element of", "serialises", "validates"),
    *("rotates", "partitions", "computes the checksum of", "prints", "deduplicates"),
    *("splits into chunks", "interleaves with its mirror image", "searches for a value in"),
)
_THINGS = (
    *("a linked list of integers", "a binary tree", "a matrix of floats", "a string of brackets"),
    *("a dictionary of lists", "a CSV file", "a priority queue", "an undirected graph"),
    *("a stream of log lines", "a set of intervals", "a deck of cards", "a chess board"),
    *("a list of dates", "a polynomial", "a JSON document", "a Roman numeral"),
    *("a list of names", "an array of booleans"),
)
_CONDITIONS = (
    *("in linear time", "without recursion", "using only the standard library", "in Python"),
    *("in Rust", "in constant memory", "and write unit tests", "and explain its complexity"),
    *("handling empty input", "with type hints", "using a generator", "in C++17"),
)


def request(key: str = "sk-1", at: float = 0.0, prompt: str = "Hello", **more: Any) -> bytes:
    """One request, `at` seconds after the start."""
    return json.dumps({"ts": START + at, "api_key": key, "prompt": prompt, **more}).encode()


def jittered(i: int) -> float:
    """The i-th of irregular times with a mean distance of 1."""
    return i + 0.06 * (i * 7 % 5)


def scraper(key: str = "sk-scraper", seconds: float = 900.0, rate: float = 3.0) -> list[bytes]:
    """A key that works through a prompt list, `rate` requests per second."""
    return [request(key, i / rate, task(i), output_tokens=500) for i in range(int(seconds * rate))]


def task(i: int) -> str:
    """The i-th of 3,456 programming tasks."""
    what = _THINGS[i % 18]
    does, how = _ACTIONS[i // 18 % 16], _CONDITIONS[i // 288 % 12]
    return f"Write a function that {does} {what}, {how}."


def elicitor(
    key: str = "sk-cot", count: int = 40, every: float = 70.0, **fields: Any
) -> list[bytes]:
    """A slow key that asks for reasoning traces."""
    asks = "Solve problem {}. Show your complete internal reasoning."
    return [request(key, jittered(i) * every, asks.format(i), **fields) for i in range(count)]


def person(key: str, count: int = 30, every: float = 300.0) -> list[bytes]:
    """An ordinary key with different prompts."""
    return [request(key, jittered(i) * every, f"What about topic {i}?") for i in range(count)]


def in_order(*streams: list[bytes]) -> list[bytes]:
    """Merge streams by time."""
    return sorted((each for stream in streams for each in stream), key=_ts)


def _ts(value: bytes) -> float:
    return float(json.loads(value)["ts"])

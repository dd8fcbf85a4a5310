"""Evasions: how an attacker may change its requests to avoid detection.

An evasion takes the requests of one key in time order, and a random generator, and returns the
requests that the key sends instead; its input is not changed. Documents are not translated: only
the instructions around them are in another language (`frames.toml`).
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

Event = dict[str, Any]  # a request in the native format
Evasion = Callable[[Random, Sequence[Event]], list[Event]]
Documents = Callable[[Random, Sequence[str]], list[str]]

SHARES = (0.1, 0.3, 0.5, 0.7)  # of ordinary prompts mixed in
PER_HOUR = 5.0  # requests
LANGUAGES = ("german", "spanish", "french", "chinese")
WRAPPED = ("cot", "grader")  # kinds of attack with instructions around their documents

_PUNCTUATION = frozenset(".,;:!?'\"()-")
_DROPPED, _DOUBLED, _MISTYPED = 0.2, 0.1, 0.05  # shares of marks, of marks, of words
_WRAPPER_SHARE = 0.18  # of a key's prompts; a line in more of them is part of its wrapper


def prompt_of(request: Event) -> str:
    """The last user turn."""
    return str(request["prompt"] if "prompt" in request else request["messages"][-1]["content"])


def with_prompt(request: Event, prompt: str) -> Event:
    """The request with another prompt and its input tokens scaled to the new length."""
    tokens = request["input_tokens"] * len(prompt) / max(len(request["prompt"]), 1)
    return {**request, "prompt": prompt, "input_tokens": max(int(tokens), 4)}


def nothing(_random: Random, requests: Sequence[Event]) -> list[Event]:
    """No evasion."""
    return list(requests)


def mixed(share: float, covers: Sequence[Sequence[str]]) -> Evasion:
    """Replace a share of the prompts with those of one ordinary person.

    Args:
        covers: the prompts of each person to choose from.
    """

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        cover, sent = random.choice(covers), []
        for request in requests:
            if random.random() < share:
                request = with_prompt(request, random.choice(cover))
                request = {k: v for k, v in request.items() if k not in ("system", "max_tokens")}
            sent.append(request)
        return sent

    return evade


def slowed(per_hour: float, begin: float, end: float) -> Evasion:
    """Send `per_hour` requests per hour at random times from `begin` to `end`."""

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        count = min(int(per_hour * (end - begin) / 3600), len(requests))
        chosen = [requests[i * len(requests) // count] for i in range(count)]
        times = sorted(random.uniform(begin, end) for _ in chosen)
        return [{**each, "ts": round(ts, 3)} for each, ts in zip(chosen, times, strict=True)]

    return evade


def shuffled(random: Random, requests: Sequence[Event]) -> list[Event]:
    """Send the prompts in random order."""
    prompts = [request["prompt"] for request in requests]
    random.shuffle(prompts)
    return [with_prompt(*both) for both in zip(requests, prompts, strict=True)]


def lowered(_random: Random, requests: Sequence[Event]) -> list[Event]:
    """Write everything in lower case."""
    return [with_prompt(request, request["prompt"].lower()) for request in requests]


def random_style(random: Random, requests: Sequence[Event]) -> list[Event]:
    """Randomize case and punctuation, and mistype some words."""
    return [with_prompt(request, sloppy(random, request["prompt"])) for request in requests]


def sloppy(random: Random, text: str) -> str:
    """The text with random case and punctuation, and typing errors; line breaks stay.

    >>> sloppy(Random(4), "Write a story, a short one, about a lighthouse.")
    'write A Story A SHORT one, ABOUT a LIGHTHOUSE.'
    """
    lines = ([_mistyped(random, word) for word in line.split(" ")] for line in text.split("\n"))
    return "\n".join(map(" ".join, lines))


def _mistyped(random: Random, word: str) -> str:
    letters = list(random.choice((str, str.lower, str.upper, str.capitalize))(word))
    if len(letters) > 3 and random.random() < _MISTYPED:
        at = random.randrange(len(letters) - 1)
        letters[at : at + 2] = letters[at + 1], letters[at]
    for at, letter in enumerate(letters):
        chance = random.random() if letter in _PUNCTUATION else 1.0
        if chance < _DROPPED + _DOUBLED:
            letters[at] = "" if chance < _DROPPED else letter * 2
    return "".join(letters)


def framed(frames: Sequence[str]) -> Evasion:
    """Put one of `frames` around each prompt."""

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        chosen = [random.choice(frames) for _ in requests]
        prompts = [f.replace("{}", r["prompt"]) for f, r in zip(chosen, requests, strict=True)]
        return [with_prompt(*both) for both in zip(requests, prompts, strict=True)]

    return evade


def reworded(frames: Sequence[str], documents: Documents) -> Evasion:
    """Replace the instructions around each document with one of `frames`."""
    frame = framed(frames)

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        bare = documents(random, [request["prompt"] for request in requests])
        return frame(random, [with_prompt(*both) for both in zip(requests, bare, strict=True)])

    return evade


def unwrapped(_random: Random, prompts: Sequence[str]) -> list[str]:
    """The prompts without the lines that many of them share.

    >>> unwrapped(Random(), ["2 + 2 =\\n\\nThink aloud.", "3 + 4 =\\n\\nThink aloud."] * 3)[:2]
    ['2 + 2 =', '3 + 4 =']
    """
    common = Counter(line for prompt in prompts for line in {*prompt.split("\n")} if line)
    most = max(_WRAPPER_SHARE * len(prompts), 3)
    bare = ("\n".join(x for x in p.split("\n") if common[x] <= most).strip() for p in prompts)
    return [document or prompt for document, prompt in zip(bare, prompts, strict=True)]


@cache
def phrases() -> Mapping[str, Mapping[str, list[str]]]:
    """Frames for documents, by language and kind of attack."""
    return tomllib.loads(Path(__file__).with_name("frames.toml").read_text(encoding="utf-8"))


def catalogue(
    covers: Sequence[Sequence[str]], begin: float, end: float, documents: Documents = unwrapped
) -> dict[str, Callable[[str], Evasion | None]]:
    """All evasions by name: a function from the kind of attack to its evasion, `None` if none.

    Args:
        covers: the prompts of each ordinary person.
        begin, end: of the traffic, in seconds since the epoch.
        documents: extracts the documents from prompts with instructions around them.
    """

    def everyone(evade: Evasion) -> Callable[[str], Evasion | None]:
        return lambda kind: evade

    def worded(language: str) -> Callable[[str], Evasion | None]:
        frames = phrases()[language]

        def evade(kind: str) -> Evasion | None:
            if kind in WRAPPED:
                return reworded(frames[kind], documents)
            return framed(frames["work"]) if "work" in frames else None

        return evade

    mixes = {f"{share:.0%} ordinary prompts": mixed(share, covers) for share in SHARES}
    return {
        "none": everyone(nothing),
        **{name: everyone(evade) for name, evade in mixes.items()},
        f"{PER_HOUR:.0f} requests per hour": everyone(slowed(PER_HOUR, begin, end)),
        "paraphrased wrappers": worded("english"),
        "shuffled order": everyone(shuffled),
        "lower case": everyone(lowered),
        "random case and punctuation": everyone(random_style),
        **{f"instructions in {name.title()}": worded(name) for name in LANGUAGES},
    }

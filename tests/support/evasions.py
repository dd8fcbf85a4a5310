"""Evasions: what a key may do to its requests so as not to be seen copying a model.

Each takes one key's requests in time order and gives those that it sends instead, by dice of its
own, without touching what it was given. No translation is at hand: in another language is what an
attacker writes around the documents of its list (`frames.toml`), and the documents stay.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

Event = dict[str, Any]  # a request as it is on the wire
Evasion = Callable[[Random, Sequence[Event]], list[Event]]
Documents = Callable[[Random, Sequence[str]], list[str]]

SHARES = (0.1, 0.3, 0.5, 0.7)  # of prompts that are an ordinary person's
PER_HOUR = 5.0
LANGUAGES = ("german", "spanish", "french", "chinese")
WRAPPED = ("cot", "grader")  # kinds of attack whose documents have words around them as it is

_MARKS = frozenset(".,;:!?'\"()-")
_DROPPED, _DOUBLED, _MISTYPED = 0.2, 0.1, 0.05  # of marks, of marks, of words
_WRAPPER = 0.18  # share of a key's prompts that have a line in common which is its wrapper's


def prompt_of(request: Event) -> str:
    """The last user turn."""
    return str(request["prompt"] if "prompt" in request else request["messages"][-1]["content"])


def asking(request: Event, prompt: str) -> Event:
    """The request with another prompt, its input longer or shorter by as much."""
    tokens = request["input_tokens"] * len(prompt) / max(len(request["prompt"]), 1)
    return {**request, "prompt": prompt, "input_tokens": max(int(tokens), 4)}


def nothing(_random: Random, requests: Sequence[Event]) -> list[Event]:
    """No evasion."""
    return list(requests)


def mixed(share: float, covers: Sequence[Sequence[str]]) -> Evasion:
    """A share of the prompts is those of an ordinary person, one of `covers`, instead."""

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        cover, sent = random.choice(covers), []
        for request in requests:
            if random.random() < share:
                request = asking(request, random.choice(cover))
                request = {k: v for k, v in request.items() if k not in ("system", "max_tokens")}
            sent.append(request)
        return sent

    return evade


def slowed(per_hour: float, begin: float, end: float) -> Evasion:
    """So few requests an hour, at random instants, spread over all the time there is."""

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        count = min(int(per_hour * (end - begin) / 3600), len(requests))
        chosen = [requests[i * len(requests) // count] for i in range(count)]
        times = sorted(random.uniform(begin, end) for _ in chosen)
        return [{**each, "ts": round(ts, 3)} for each, ts in zip(chosen, times, strict=True)]

    return evade


def shuffled(random: Random, requests: Sequence[Event]) -> list[Event]:
    """The list is worked off in another order."""
    prompts = [request["prompt"] for request in requests]
    random.shuffle(prompts)
    return [asking(*both) for both in zip(requests, prompts, strict=True)]


def lowered(_random: Random, requests: Sequence[Event]) -> list[Event]:
    """Nothing is written in capitals."""
    return [asking(request, request["prompt"].lower()) for request in requests]


def scrawled(random: Random, requests: Sequence[Event]) -> list[Event]:
    """Case and punctuation are left to chance, and words are mistyped."""
    return [asking(request, scrawl(random, request["prompt"])) for request in requests]


def scrawl(random: Random, text: str) -> str:
    """A text in careless writing; where its lines end stays.

    >>> scrawl(Random(4), "Write a story, a short one, about a lighthouse.")
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
        chance = random.random() if letter in _MARKS else 1.0
        if chance < _DROPPED + _DOUBLED:
            letters[at] = "" if chance < _DROPPED else letter * 2
    return "".join(letters)


def framed(frames: Sequence[str]) -> Evasion:
    """Each prompt has one of `frames` around it."""

    def evade(random: Random, requests: Sequence[Event]) -> list[Event]:
        chosen = [random.choice(frames) for _ in requests]
        prompts = [f.replace("{}", r["prompt"]) for f, r in zip(chosen, requests, strict=True)]
        return [asking(*both) for both in zip(requests, prompts, strict=True)]

    return evade


def reworded(frames: Sequence[str], documents: Documents) -> Evasion:
    """Each document has one of `frames` around it instead of the words that it had."""
    evade = framed(frames)

    def instead(random: Random, requests: Sequence[Event]) -> list[Event]:
        bare = documents(random, [request["prompt"] for request in requests])
        return evade(random, [asking(*both) for both in zip(requests, bare, strict=True)])

    return instead


def unwrapped(_random: Random, prompts: Sequence[str]) -> list[str]:
    """The prompts without the lines that many of them have.

    >>> unwrapped(Random(), ["2 + 2 =\\n\\nThink aloud.", "3 + 4 =\\n\\nThink aloud."] * 3)[:2]
    ['2 + 2 =', '3 + 4 =']
    """
    common = Counter(line for prompt in prompts for line in {*prompt.split("\n")} if line)
    most = max(_WRAPPER * len(prompts), 3)
    bare = ("\n".join(x for x in p.split("\n") if common[x] <= most).strip() for p in prompts)
    return [document or prompt for document, prompt in zip(bare, prompts, strict=True)]


@cache
def phrases() -> Mapping[str, Mapping[str, list[str]]]:
    """What may be written around documents, by language and by what an attacker is after."""
    return tomllib.loads(Path(__file__).with_name("frames.toml").read_text(encoding="utf-8"))


def catalogue(
    covers: Sequence[Sequence[str]], begin: float, end: float, documents: Documents = unwrapped
) -> dict[str, Callable[[str], Evasion | None]]:
    """All of them, by name: what keys of a kind of attack do, `None` where it is not for them.

    Args:
        covers: prompts of ordinary people, by person.
        begin, end: of the traffic.
        documents: what is in the prompts of those that have words around it.
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
        f"{PER_HOUR:.0f} requests an hour": everyone(slowed(PER_HOUR, begin, end)),
        "paraphrased wrappers": worded("english"),
        "shuffled order": everyone(shuffled),
        "lower case": everyone(lowered),
        "random case and punctuation": everyone(scrawled),
        **{f"instructions in {name.title()}": worded(name) for name in LANGUAGES},
    }

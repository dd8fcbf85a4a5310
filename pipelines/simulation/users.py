"""Behaviour of simulated keys: for each kind of user, a generator of requests in time order.

Arrivals are a Poisson process for people and the services they use, and nearly regular for fleets,
which limit their own rate. People are active by the hours of their time zone. Rates are requests
per hour at full activity; times are seconds since the epoch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

from pipelines.simulation.grammar import Grammar
from pipelines.traffic.schedule import DAY

Event = dict[str, Any]  # a request in the native format

# Activity of people relative to its peak, by local hour.
_ACTIVITY = (
    *(0.3, 0.15, 0.08, 0.05, 0.05, 0.08, 0.2, 0.4, 0.7, 0.9, 1, 1),
    *(0.85, 0.9, 1, 1, 1, 0.9, 0.85, 0.9, 0.95, 0.9, 0.7, 0.5),
)
_TOPICS = (
    *("cooking", "travel", "garden", "money", "body", "pets", "repair", "history", "science"),
    *("letters", "study", "leisure", "life"),
)
_LANGUAGES = ("deutsch", "espanol", "francais", "portugues")
SERVICES = ("shop", "tutor", "bank", "airline", "telecom", "library")
TEMPLATES = ("claims", "reviews", "contracts", "tickets", "minutes", "translations", "pages")
_CLIENTS = ("meridian-python/2.4.1", "meridian-python/2.3.0", "meridian-node/3.1.0", "okhttp/4.12")
_COUNTRIES = ("US", "US", "IN", "DE", "GB", "BR", "FR", "JP", "KE", "MX", "PL", "CA", "ID", "ES")
_MODELS = ("meridian-2", "meridian-2", "meridian-2", "meridian-2-mini")


@cache
def grammar() -> Grammar:
    """The rules of simulate.toml."""
    text = files("pipelines.simulation").joinpath("simulate.toml").read_text(encoding="utf-8")
    return Grammar(tomllib.loads(text))


class Key:
    """An API key: its random generator and the fields that all of its requests share.

    Addresses are from 198.18.0.0/15 and AS numbers from the private range, so they are nobody's.

    Args:
        seed: of its random generator.
        start: time from which it may send requests.
        identifiers: replace the generated fields, for example `ip` or `payment`.

    Attributes:
        utc_offset: hours that local time is ahead of UTC.
        name: the API key.
    """

    def __init__(self, seed: str, start: float, **identifiers: str | int) -> None:
        self.random = r = Random(seed)
        self.start = start
        self.utc_offset = r.randrange(24)
        self.name = f"sk-{r.getrandbits(96):024x}"
        self.model = r.choice(_MODELS)
        self._identifiers: Event = {
            "account": f"acct_{r.getrandbits(40):010x}",
            "payment": f"pm_{r.getrandbits(48):012x}",
            "ip": f"198.{r.randint(18, 19)}.{r.randrange(256)}.{r.randint(1, 254)}",
            "asn": r.randint(64_512, 64_540),
            "country": r.choice(_COUNTRIES),
            "user_agent": r.choice(_CLIENTS),
            "tls_fingerprint": f"t13d{r.randint(1000, 9999)}_{r.getrandbits(48):012x}",
            **identifiers,
        }

    def generate(self, rule: str) -> str:
        """One text of a rule of simulate.toml."""
        return grammar().generate(rule, self.random)

    def next_arrival(self, ts: float, per_hour: float, *, daytime: bool = True) -> float:
        """The next arrival after `ts`: by the hours of the day, or at a constant rate."""
        r = self.random
        while True:
            ts += r.expovariate(per_hour / 3600)
            if not daytime or r.random() < _ACTIVITY[int(ts / 3600 + self.utc_offset) % 24]:
                return ts

    def request(
        self,
        ts: float,
        prompt: str,
        *,
        history: list[Event] | None = None,
        answer_tokens: float = 250.0,
        max_tokens: int = 2048,
        **fields: str,
    ) -> Event:
        """One request.

        Args:
            prompt: the last user turn.
            history: the turns before it.
            answer_tokens: typical length of the answer.
            fields: further fields of the event.
        """
        draw = self.random.random
        sent = len(prompt) + sum([len(turn["content"]) for turn in history or ()])
        tokens = min(max_tokens, 4 + int(answer_tokens * (draw() + draw() + draw() * draw())))
        luck = draw()
        event = {
            "ts": round(ts, 3),
            "id": f"req_{self.random.getrandbits(64):016x}",
            "api_key": self.name,
            **self._identifiers,
            "model": self.model,
            "max_tokens": max_tokens,
            "input_tokens": 8 + sent // 4,
            "output_tokens": tokens if luck > 0.01 else 0,
            "status": 200 if luck > 0.01 else 500 if luck > 0.003 else 429,
            "latency_ms": int(180 + tokens * (9 + 5 * draw())),
            **fields,
        }
        if history:
            event["messages"] = [*history, {"role": "user", "content": prompt}]
        else:
            event["prompt"] = prompt
        return event


class _Conversation:
    """A conversation; each request carries up to 12 earlier turns."""

    def __init__(self) -> None:
        self.turns: list[Event] = []

    def request(self, key: Key, ts: float, prompt: str, **options: Any) -> Event:
        """The next request; `options` are those of `Key.request`."""
        event = key.request(ts, prompt, history=self.turns, **options)
        answer = {"role": "assistant", "content": key.generate("answers")}
        self.turns = [*self.turns, {"role": "user", "content": prompt}, answer][-12:]
        return event


def chat_user(key: Key) -> Iterator[Event]:
    """A person: conversations on a few topics, with follow-up questions."""
    r = key.random
    ts = key.start
    topics = r.sample(_TOPICS, 3) if r.random() < 0.9 else [r.choice(_LANGUAGES)]
    foreign = topics[0] in _LANGUAGES
    while True:
        ts = key.next_arrival(ts, 0.35)
        conversation, topic = _Conversation(), r.choice(topics)
        while True:
            if conversation.turns and r.random() < 0.6:
                prompt = key.generate("followup")
            else:
                prompt = key.generate(topic)
                prompt = prompt if foreign else key.generate("lead") + prompt + key.generate("tail")
            yield conversation.request(key, ts, prompt)
            if r.random() < 0.22:
                break
            ts += r.lognormvariate(4.2, 0.8)


def coder(key: Key) -> Iterator[Event]:
    """A programmer: long conversations about pasted code."""
    r = key.random
    ts = key.start
    while True:
        ts = key.next_arrival(ts, 0.25)
        conversation = _Conversation()
        for _ in range(r.randint(4, 25)):
            rule = "codefollowup" if conversation.turns and r.random() < 0.5 else "coding"
            yield conversation.request(
                key, ts, key.generate(rule), answer_tokens=500, max_tokens=4096
            )
            ts += r.lognormvariate(4.4, 0.8)


def student(key: Key, first: float, seconds: float) -> Iterator[Event]:
    """A student of a course: questions about one assignment until it is due.

    With an evening to work, a student asks several questions in a row; with a day, one at a time.

    Args:
        first: when the assignment is handed out.
        seconds: time until it is due.
    """
    r = key.random
    evening = seconds < DAY / 2
    ts, end = first + r.random() * seconds / 4, first + seconds
    while ts < end:
        conversation = _Conversation()
        for _ in range(r.randint(4, 12) if evening else 1):
            follows = conversation.turns and r.random() < 0.4
            rule = "assignmentfollowup" if follows else "assignment"
            yield conversation.request(key, ts, key.generate(rule), answer_tokens=350)
            ts += r.lognormvariate(4.4, 0.8)
        ts = key.next_arrival(ts, 1.5, daytime=not evening)


def chatbot(key: Key, service: str, rate: float) -> Iterator[Event]:
    """A service with many end users behind one key; traffic follows the hours of the day."""
    r = key.random
    ts = key.start
    system = key.generate("system")
    conversations: dict[str, _Conversation] = {}
    while True:
        ts = key.next_arrival(ts, rate)
        if conversations and r.random() < 0.55:
            who = r.choice(list(conversations))
            prompt = key.generate("servicefollowup" if r.random() < 0.6 else service)
        else:
            if len(conversations) > 30:
                del conversations[next(iter(conversations))]
            who, prompt = f"u{r.getrandbits(32):08x}", key.generate("lead") + key.generate(service)
        conversation = conversations.setdefault(who, _Conversation())
        yield conversation.request(
            key, ts, prompt, answer_tokens=90, max_tokens=512, end_user=who, system=system
        )


def template_app(key: Key, template: str, rate: float) -> Iterator[Event]:
    """An application: one instruction, a different document in each request."""
    ts = key.start
    while True:
        ts = key.next_arrival(ts, rate)
        yield key.request(ts, key.generate(template), answer_tokens=150, max_tokens=1024)


def nightly_batch(key: Key, template: str, first: float) -> Iterator[Event]:
    """A daily batch of 350 to 500 documents with one instruction, about 1.2 requests per second."""
    r = key.random
    while True:
        ts = first
        for _ in range(r.randint(350, 500)):
            yield key.request(ts, key.generate(template), answer_tokens=60, max_tokens=256)
            ts += r.gammavariate(3, 1 / 1.2 / 3)
        first += DAY


def scraper(key: Key, first: float) -> Iterator[Event]:
    """One key that sends 25,000 prompts of a list every day, about 3 requests per second."""
    r = key.random
    while True:
        ts = first
        for _ in range(25_000):
            yield key.request(ts, key.generate("sweep"), answer_tokens=600, max_tokens=4096)
            ts += r.expovariate(3.0)
        first += DAY


def fleet_member(key: Key, rule: str, first: float, rate: float, **options: Any) -> Iterator[Event]:
    """One of many keys that split a prompt list; 10% of its prompts are ordinary.

    Args:
        rule: generates the prompts of the list.
        first: its first request.
        rate: requests per hour.
        options: those of `Key.request`.
    """
    r = key.random
    ts = first
    while True:
        chosen = rule if r.random() < 0.9 else r.choice(_TOPICS)
        yield key.request(ts, key.generate(chosen), **options)
        ts += r.gammavariate(4, 900 / rate)

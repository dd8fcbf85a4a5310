"""What simulated keys do: a generator of requests in time order for each kind of user.

Times are Poisson for people and machines that answer them, nearly regular for fleets, which pace
themselves. People follow the hours of their own time zone. Rates are per hour of full activity.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

from pipelines.simulation.grammar import Grammar

Event = dict[str, Any]  # a request as it is on the wire

_DAY = 86_400.0
# How busy people are, by the hour of their day.
_RHYTHM = (
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
    text = files("pipelines.simulation").joinpath("simulate.toml").read_text(encoding="utf-8")
    return Grammar(tomllib.loads(text))


class Key:
    """An API key: its dice, and what is the same in all of its requests.

    Addresses are from 198.18.0.0/15 and networks from the private numbers: nobody's.
    """

    def __init__(self, dice: str, start: float, **shared: str | int) -> None:
        self.random = r = Random(dice)
        self.start = start
        self.zone = r.randrange(24)
        self.name = f"sk-{r.getrandbits(96):024x}"
        self.model = r.choice(_MODELS)
        self._fixed: Event = {
            "account": f"acct_{r.getrandbits(40):010x}",
            "payment": f"pm_{r.getrandbits(48):012x}",
            "ip": f"198.{r.randint(18, 19)}.{r.randrange(256)}.{r.randint(1, 254)}",
            "asn": r.randint(64_512, 64_540),
            "country": r.choice(_COUNTRIES),
            "user_agent": r.choice(_CLIENTS),
            "tls_fingerprint": f"t13d{r.randint(1000, 9999)}_{r.getrandbits(48):012x}",
            **shared,
        }

    def say(self, rule: str) -> str:
        return grammar().say(rule, self.random)

    def after(self, ts: float, per_hour: float, *, awake: bool = True) -> float:
        """The next arrival after `ts`, while people are awake or at any hour."""
        r = self.random
        while True:
            ts += r.expovariate(per_hour / 3600)
            if not awake or r.random() < _RHYTHM[int(ts / 3600 + self.zone) % 24]:
                return ts

    def request(
        self,
        ts: float,
        prompt: str,
        *,
        history: list[Event] | None = None,
        answer: float = 250.0,
        limit: int = 2048,
        **more: str,
    ) -> Event:
        """One request; `answer` is the usual length of what comes back, in tokens."""
        draw = self.random.random
        said = len(prompt) + sum([len(turn["content"]) for turn in history or ()])
        tokens = min(limit, 4 + int(answer * (draw() + draw() + draw() * draw())))
        luck = draw()
        event = {
            "ts": round(ts, 3),
            "id": f"req_{self.random.getrandbits(64):016x}",
            "api_key": self.name,
            **self._fixed,
            "model": self.model,
            "max_tokens": limit,
            "input_tokens": 8 + said // 4,
            "output_tokens": tokens if luck > 0.01 else 0,
            "status": 200 if luck > 0.01 else 500 if luck > 0.003 else 429,
            "latency_ms": int(180 + tokens * (9 + 5 * draw())),
            **more,
        }
        if history:
            event["messages"] = [*history, {"role": "user", "content": prompt}]
        else:
            event["prompt"] = prompt
        return event


class _Talk:
    """A conversation: each request carries the turns before it."""

    def __init__(self) -> None:
        self.turns: list[Event] = []

    def ask(self, key: Key, ts: float, prompt: str, **more: Any) -> Event:
        event = key.request(ts, prompt, history=self.turns, **more)
        answer = {"role": "assistant", "content": key.say("answers")}
        self.turns = [*self.turns, {"role": "user", "content": prompt}, answer][-12:]
        return event


def chat_user(key: Key) -> Iterator[Event]:
    """A person: sessions of follow-up turns on the few things that occupy them."""
    r = key.random
    ts = key.start
    topics = r.sample(_TOPICS, 3) if r.random() < 0.9 else [r.choice(_LANGUAGES)]
    foreign = topics[0] in _LANGUAGES
    while True:
        ts = key.after(ts, 0.35)
        talk, topic = _Talk(), r.choice(topics)
        while True:
            if talk.turns and r.random() < 0.6:
                prompt = key.say("followup")
            else:
                prompt = key.say(topic)
                prompt = prompt if foreign else key.say("lead") + prompt + key.say("tail")
            yield talk.ask(key, ts, prompt)
            if r.random() < 0.22:
                break
            ts += r.lognormvariate(4.2, 0.8)


def coder(key: Key) -> Iterator[Event]:
    """A programmer: long sessions over pasted code."""
    r = key.random
    ts = key.start
    while True:
        ts = key.after(ts, 0.25)
        talk = _Talk()
        for _ in range(r.randint(4, 25)):
            rule = "codefollowup" if talk.turns and r.random() < 0.5 else "coding"
            yield talk.ask(key, ts, key.say(rule), answer=500, limit=4096)
            ts += r.lognormvariate(4.4, 0.8)


def student(key: Key, first: float, seconds: float) -> Iterator[Event]:
    """One of a course: the questions of one assignment, a few at a sitting, until it is handed in.

    Who has an evening for it asks on; who has the day comes back for a question now and then.
    """
    r = key.random
    evening = seconds < _DAY / 2
    ts, end = first + r.random() * seconds / 4, first + seconds
    while ts < end:
        talk = _Talk()
        for _ in range(r.randint(4, 12) if evening else 1):
            follows = talk.turns and r.random() < 0.4
            rule = "assignmentfollowup" if follows else "assignment"
            yield talk.ask(key, ts, key.say(rule), answer=350)
            ts += r.lognormvariate(4.4, 0.8)
        ts = key.after(ts, 1.5, awake=not evening)


def chatbot(key: Key, service: str, rate: float) -> Iterator[Event]:
    """One key, many end users, who come and go with the day."""
    r = key.random
    ts = key.start
    system = key.say("system")
    talks: dict[str, _Talk] = {}
    while True:
        ts = key.after(ts, rate)
        if talks and r.random() < 0.55:
            who = r.choice(list(talks))
            prompt = key.say("servicefollowup" if r.random() < 0.6 else service)
        else:
            if len(talks) > 30:
                del talks[next(iter(talks))]
            who, prompt = f"u{r.getrandbits(32):08x}", key.say("lead") + key.say(service)
        talk = talks.setdefault(who, _Talk())
        yield talk.ask(key, ts, prompt, answer=90, limit=512, end_user=who, system=system)


def template_app(key: Key, template: str, rate: float) -> Iterator[Event]:
    """An application: one instruction, a document in each request, as its users bring them."""
    ts = key.start
    while True:
        ts = key.after(ts, rate)
        yield key.request(ts, key.say(template), answer=150, limit=1024)


def nightly_batch(key: Key, template: str, first: float) -> Iterator[Event]:
    """The same once a day: a pile of documents, each as soon as the last is done."""
    r = key.random
    while True:
        ts = first
        for _ in range(r.randint(350, 500)):
            yield key.request(ts, key.say(template), answer=60, limit=256)
            ts += r.gammavariate(3, 1 / 1.2 / 3)
        first += _DAY


def scraper(key: Key, first: float) -> Iterator[Event]:
    """One fast key that works off a list, some hours every day."""
    r = key.random
    while True:
        ts = first
        for _ in range(25_000):
            yield key.request(ts, key.say("sweep"), answer=600, limit=4096)
            ts += r.expovariate(3.0)
        first += _DAY


def fleet_member(key: Key, rule: str, first: float, rate: float, **more: Any) -> Iterator[Event]:
    """One of many keys that take work off one list; a tenth of what it asks is ordinary."""
    r = key.random
    ts = first
    while True:
        asked = rule if r.random() < 0.9 else r.choice(_TOPICS)
        yield key.request(ts, key.say(asked), **more)
        ts += r.gammavariate(4, 900 / rate)

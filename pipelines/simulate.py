"""Simulated traffic: who uses a model's API, and who copies the model through it.

Every key behaves by itself, endlessly, from its own dice; the traffic is their streams merged in
time order. The same scenario gives the same requests, and memory does not grow with time. Among
ordinary keys are those that a plain limit accuses: batches of documents, a busy chatbot, a tutor
whose pupils want to see every step. `labels` says what each key really is.
"""

from __future__ import annotations

import gzip
import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from operator import itemgetter
from pathlib import Path
from random import Random

import msgspec

from monitor.errors import InputError
from pipelines import behaviours
from pipelines.behaviours import SERVICES, TEMPLATES, Event, Key
from pipelines.producer import Message

Behaviour = Callable[[Key], Iterator[Event]]

# Kind, keys, what they ask, requests an hour each, the longest answer they take.
_FLEETS = (
    ("cot", 12, "trace", 50.0, 8192),
    ("grader", 6, "grade", 60.0, 64),
)
_JOINING = 180.0  # seconds within which a fleet's keys appear


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to simulate.

    Attributes:
        start: the first moment, in seconds since the epoch.
        hours: how long it lasts; `None`: for ever.
        keys: number of ordinary keys.
        attacks: whether a scraper, a reasoning-trace fleet and a grader fleet are among them.
        quiet: seconds before the scraper starts; the fleets do in half of that.
    """

    seed: int = 1
    start: float = 1_772_409_600.0  # Monday, 2 March 2026, midnight UTC
    hours: float | None = None
    keys: int = 400
    attacks: bool = True
    quiet: float = 480.0


@dataclass(frozen=True, slots=True)
class Label:
    """What a key really is: the kind of its user, and the campaign that it is part of."""

    kind: str
    campaign: str | None = None


class Simulation:
    """A scenario played: its requests, and the label of every key."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.labels = {key.name: label for key, label, _ in self._cast()}

    def events(self) -> Iterator[Event]:
        """The requests in time order, from the start each time."""
        streams = [behave(key) for key, _, behave in self._cast()]
        events = heapq.merge(*streams, key=itemgetter("ts"))
        if self.scenario.hours is None:
            return events
        end = self.scenario.start + self.scenario.hours * 3600
        return takewhile(lambda event: event["ts"] < end, events)

    def _cast(self) -> Iterator[tuple[Key, Label, Behaviour]]:
        """Every key, what it is and what it does."""
        seed, start, many = self.scenario.seed, self.scenario.start, self.scenario.keys
        r = Random(f"cast {seed}")

        def key(kind: str, number: int, **shared: str | int) -> Key:
            return Key(f"{kind} {number} of {seed}", start, **shared)

        chatbots, apps, coders = max(1, many * 3 // 100), max(1, many * 7 // 100), many * 12 // 100
        batches = -(-apps // 3)
        for n in range(many - chatbots - apps - coders):
            yield key("chat_user", n), Label("chat_user"), behaviours.chat_user
        for n in range(coders):
            yield key("coder", n), Label("coder"), behaviours.coder
        for n in range(chatbots):
            bot, rate = key("chatbot", n), 60 * 10 ** r.random()
            if n == 0:  # the busy one: it is ten in the morning when the traffic starts
                bot.zone, rate = 10 - int(start / 3600), 900.0
            service = SERVICES[n % len(SERVICES)]
            yield bot, Label("chatbot"), partial(behaviours.chatbot, service=service, rate=rate)
        for n in range(apps):
            template, app = TEMPLATES[n % len(TEMPLATES)], key("template_app", n)
            behave: Behaviour = partial(
                behaviours.template_app, template=template, rate=r.uniform(20, 250)
            )
            if n % 3 == 0:  # round the clock one after the other, the first after a quarter hour
                first = start + 900 + n // 3 * 86_400 / batches
                behave = partial(behaviours.nightly_batch, template=template, first=first)
            yield app, Label("template_app"), behave
        if self.scenario.attacks:
            yield from self._attacks(key, r)

    def _attacks(
        self, key: Callable[..., Key], r: Random
    ) -> Iterator[tuple[Key, Label, Behaviour]]:
        first = self.scenario.start + self.scenario.quiet
        scraper = partial(behaviours.scraper, first=first)
        yield key("scraper", 0), Label("scraper", "scraper-1"), scraper
        for kind, keys, rule, rate, limit in _FLEETS:
            net = r.randrange(256)
            for n in range(keys):
                behave = partial(
                    behaviours.fleet_member,
                    rule=rule,
                    first=first - self.scenario.quiet / 2 + r.uniform(0, _JOINING),
                    rate=r.uniform(0.8, 1.2) * rate,
                    limit=limit,
                )
                address, payment = f"198.19.{net}.{n + 7}", f"pm_{net:06x}{n % 3:06x}"
                member = key(
                    kind, n, ip=address, payment=payment, user_agent="python-requests/2.32"
                )
                yield member, Label(kind, f"{kind}-1"), behave


def messages(events: Iterable[Event], size: int = 200) -> Iterator[list[Message]]:
    """The requests as Kafka messages, for `producer.send`."""
    iterator = iter(events)
    while batch := list(islice(iterator, size)):
        yield [Message(e["api_key"].encode(), msgspec.json.encode(e), e["ts"]) for e in batch]


def write(scenario: Scenario, path: Path) -> tuple[int, Path]:
    """Write the requests to a file, one a line, packed where its name ends in .gz.

    The labels of the keys seen go beside it, `day.labels.json` for `day.jsonl.gz`, as
    `{api_key: {"class": …, "campaign": …}}`.

    Returns:
        The number of requests, and the file of labels.
    """
    if scenario.hours is None:
        raise InputError("No file holds endless traffic: say how many hours it shall last.")
    simulation = Simulation(scenario)
    beside = path.with_name(path.name.removesuffix(".gz").removesuffix(".jsonl") + ".labels.json")
    count = 0
    seen: set[bytes | None] = set()
    try:
        with gzip.open(path, "wb", 4) if path.suffix == ".gz" else path.open("wb") as file:
            for batch in messages(simulation.events(), 1_000):
                file.writelines(message.value + b"\n" for message in batch)
                count += len(batch)
                seen.update(message.key for message in batch)
        labels = {
            name: {"class": label.kind, "campaign": label.campaign}
            for name, label in simulation.labels.items()
            if name.encode() in seen
        }
        beside.write_text(json.dumps(labels, indent=0))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): name a file in a folder of yours."
        ) from error
    return count, beside

"""Simulated traffic: who uses a model's API, and who copies the model through it.

Every key behaves by itself, endlessly, from its own dice; the traffic is their streams merged in
time order. The same scenario gives the same requests, and memory does not grow with time. Among
ordinary keys are those that a plain limit accuses: batches of documents, a busy chatbot, a tutor
whose pupils want to see every step. Look-alikes are many honest keys that have much in common: one
customer's, a course's, those of a client library. `labels` says what each key really is.
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
from pipelines.simulation import users
from pipelines.simulation.users import SERVICES, TEMPLATES, Event, Key
from pipelines.traffic.producer import Message

Behaviour = Callable[[Key], Iterator[Event]]

# Kind, keys, what they ask, requests an hour each, the longest answer they take.
_FLEETS = (
    ("cot", 12, "trace", 50.0, 8192),
    ("grader", 6, "grade", 60.0, 64),
)
_STOCK = "You are Kestrel, a helpful assistant. Answer in the language of the question."
_JOINING = 180.0  # seconds within which a fleet's keys appear
_CUSTOMER, _COURSE, _LIBRARY = 60, 40, 200  # keys of look-alikes
_EVENING = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to simulate.

    Attributes:
        start: the first moment, in seconds since the epoch.
        hours: how long it lasts; `None`: for ever.
        keys: number of ordinary keys.
        attacks: whether a scraper, a reasoning-trace fleet and a grader fleet are among them.
        quiet: seconds before the scraper starts; the fleets do in half of that.
        lookalikes: whether 60 keys of one customer, 40 of a course that does its assignment in one
            evening, 40 of one that has the day for it and 200 of a client library are among them.
    """

    seed: int = 1
    start: float = 1_772_409_600.0  # Monday, 2 March 2026, midnight UTC
    hours: float | None = None
    keys: int = 400
    attacks: bool = True
    quiet: float = 480.0
    lookalikes: bool = False


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
            yield key("chat_user", n), Label("chat_user"), users.chat_user
        for n in range(coders):
            yield key("coder", n), Label("coder"), users.coder
        for n in range(chatbots):
            bot, rate = key("chatbot", n), 60 * 10 ** r.random()
            if n == 0:  # the busy one: it is ten in the morning when the traffic starts
                bot.zone, rate = 10 - int(start / 3600), 900.0
            service = SERVICES[n % len(SERVICES)]
            yield bot, Label("chatbot"), partial(users.chatbot, service=service, rate=rate)
        for n in range(apps):
            template, app = TEMPLATES[n % len(TEMPLATES)], key("template_app", n)
            behave: Behaviour = partial(
                users.template_app, template=template, rate=r.uniform(20, 250)
            )
            if n % 3 == 0:  # round the clock one after the other, the first after a quarter hour
                first = start + 900 + n // 3 * 86_400 / batches
                behave = partial(users.nightly_batch, template=template, first=first)
            yield app, Label("template_app"), behave
        if self.scenario.attacks:
            yield from self._attacks(key, r)
        if self.scenario.lookalikes:
            yield from self._lookalikes(key)

    def _attacks(
        self, key: Callable[..., Key], r: Random
    ) -> Iterator[tuple[Key, Label, Behaviour]]:
        first = self.scenario.start + self.scenario.quiet
        scraper = partial(users.scraper, first=first)
        yield key("scraper", 0), Label("scraper", "scraper-1"), scraper
        for kind, keys, rule, rate, limit in _FLEETS:
            net = r.randrange(256)
            for n in range(keys):
                behave = partial(
                    users.fleet_member,
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

    def _lookalikes(self, key: Callable[..., Key]) -> Iterator[tuple[Key, Label, Behaviour]]:
        """Many keys each that belong together in the open, or have something in common."""
        start, r = self.scenario.start, Random(f"look-alikes {self.scenario.seed}")
        office: dict[str, str | int] = {
            "payment": f"pm_{r.getrandbits(48):012x}",
            "account": f"acct_{r.getrandbits(40):010x}",
            "asn": 64_512,
            "user_agent": "meridian-python/2.4.1",
        }
        for n in range(_CUSTOMER):  # two applications, one key an instance, and some who chat
            behave: Behaviour = users.chat_user
            if n % 4:
                rate, template = r.uniform(4, 40), TEMPLATES[n % 4 == 3]
                behave = partial(users.template_app, template=template, rate=rate)
            yield (
                key("customer", n, ip=f"198.18.77.{n + 7}", **office),
                Label("customer"),
                behave,
            )
        for kind, seconds in (("classmate", _EVENING), ("correspondent", 86_400.0)):
            for n in range(_COURSE):
                behave = partial(users.student, first=start + 900, seconds=seconds)
                yield key(kind, n, asn=64_530, country="DE"), Label(kind), behave
        for n in range(_LIBRARY):
            shared = {"user_agent": "kestrel-chat/1.8.0", "system": _STOCK}
            yield key("library_user", n, **shared), Label("library_user"), users.chat_user


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

"""Simulated traffic: ordinary users of a model's API, and keys that extract the model.

Each key is an endless stream of requests with its own random generator; the traffic is the merge
of all streams in time order. The same scenario gives the same requests, and memory does not grow
with time. Some ordinary keys exceed a simple rate limit: batches of documents, a busy chatbot, a
tutor whose pupils ask for every step. Look-alikes are groups of honest keys with much in
common: keys of one customer, of a course, of a client library. `labels` has the class of each key.
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
from pipelines.traffic.labels import Label
from pipelines.traffic.producer import Message
from pipelines.traffic.schedule import DAY

Behaviour = Callable[[Key], Iterator[Event]]

# Kind, number of keys, rule of their prompts, requests per hour and key, max_tokens.
_FLEETS = (
    ("cot", 12, "trace", 50.0, 8192),
    ("grader", 6, "grade", 60.0, 64),
)
_LIBRARY_PROMPT = "You are Kestrel, a helpful assistant. Answer in the language of the question."
_FLEET_SPREAD = 180.0  # seconds within which the keys of a fleet start
_CUSTOMER_KEYS, _COURSE_KEYS, _LIBRARY_KEYS = 60, 40, 200
_EVENING = 3 * 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to simulate.

    Attributes:
        seed: of all random choices.
        start: when the traffic begins, in seconds since the epoch.
        hours: how long it lasts; `None`: endless.
        keys: number of ordinary keys.
        attacks: add a scraper, a fleet that asks for reasoning traces and one that asks for grades.
        attack_delay: seconds before the scraper starts; the fleets start after half of that.
        lookalikes: add 60 keys of one customer, 40 of a course with an evening for its assignment,
            40 of a course with a day for it, and 200 that use one client library.
    """

    seed: int = 1
    start: float = 1_772_409_600.0  # Monday, 2 March 2026, midnight UTC
    hours: float | None = None
    keys: int = 400
    attacks: bool = True
    attack_delay: float = 480.0
    lookalikes: bool = False


class Simulation:
    """The traffic of a scenario.

    Attributes:
        labels: the label of each API key.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.labels = {key.name: label for key, label, _ in self._keys()}

    def events(self) -> Iterator[Event]:
        """Yield the requests in time order; each call starts again."""
        streams = [behave(key) for key, _, behave in self._keys()]
        events = heapq.merge(*streams, key=itemgetter("ts"))
        if self.scenario.hours is None:
            return events
        end = self.scenario.start + self.scenario.hours * 3600
        return takewhile(lambda event: event["ts"] < end, events)

    def _keys(self) -> Iterator[tuple[Key, Label, Behaviour]]:
        """Yield each key with its label and behaviour."""
        seed, start, total = self.scenario.seed, self.scenario.start, self.scenario.keys
        r = Random(f"cast {seed}")

        def key(kind: str, number: int, **identifiers: str | int) -> Key:
            return Key(f"{kind} {number} of {seed}", start, **identifiers)

        chatbots, apps = max(1, total * 3 // 100), max(1, total * 7 // 100)
        coders = total * 12 // 100
        batches = -(-apps // 3)
        for n in range(total - chatbots - apps - coders):
            yield key("chat_user", n), Label("chat_user"), users.chat_user
        for n in range(coders):
            yield key("coder", n), Label("coder"), users.coder
        for n in range(chatbots):
            bot, rate = key("chatbot", n), 60 * 10 ** r.random()
            if n == 0:  # the busy chatbot: local time is 10:00 when the traffic starts
                bot.utc_offset, rate = 10 - int(start / 3600), 900.0
            service = SERVICES[n % len(SERVICES)]
            yield bot, Label("chatbot"), partial(users.chatbot, service=service, rate=rate)
        for n in range(apps):
            template, app = TEMPLATES[n % len(TEMPLATES)], key("template_app", n)
            behave: Behaviour = partial(
                users.template_app, template=template, rate=r.uniform(20, 250)
            )
            if n % 3 == 0:  # spread over the day; the first starts after 15 minutes
                first = start + 900 + n // 3 * DAY / batches
                behave = partial(users.nightly_batch, template=template, first=first)
            yield app, Label("template_app"), behave
        if self.scenario.attacks:
            yield from self._attacks(key, r)
        if self.scenario.lookalikes:
            yield from self._lookalikes(key)

    def _attacks(
        self, key: Callable[..., Key], r: Random
    ) -> Iterator[tuple[Key, Label, Behaviour]]:
        first = self.scenario.start + self.scenario.attack_delay
        scraper = partial(users.scraper, first=first)
        yield key("scraper", 0), Label("scraper", "scraper-1"), scraper
        for kind, keys, rule, rate, max_tokens in _FLEETS:
            net = r.randrange(256)
            for n in range(keys):
                behave = partial(
                    users.fleet_member,
                    rule=rule,
                    first=first - self.scenario.attack_delay / 2 + r.uniform(0, _FLEET_SPREAD),
                    rate=r.uniform(0.8, 1.2) * rate,
                    max_tokens=max_tokens,
                )
                address, payment = f"198.19.{net}.{n + 7}", f"pm_{net:06x}{n % 3:06x}"
                member = key(
                    kind, n, ip=address, payment=payment, user_agent="python-requests/2.32"
                )
                yield member, Label(kind, f"{kind}-1"), behave

    def _lookalikes(self, key: Callable[..., Key]) -> Iterator[tuple[Key, Label, Behaviour]]:
        """Yield groups of honest keys that share identifiers or have something in common."""
        start, r = self.scenario.start, Random(f"look-alikes {self.scenario.seed}")
        office: dict[str, str | int] = {
            "payment": f"pm_{r.getrandbits(48):012x}",
            "account": f"acct_{r.getrandbits(40):010x}",
            "asn": 64_512,
            "user_agent": "meridian-python/2.4.1",
        }
        for n in range(_CUSTOMER_KEYS):  # instances of two applications, and chat users
            behave: Behaviour = users.chat_user
            if n % 4:
                rate, template = r.uniform(4, 40), TEMPLATES[n % 4 == 3]
                behave = partial(users.template_app, template=template, rate=rate)
            yield (
                key("customer", n, ip=f"198.18.77.{n + 7}", **office),
                Label("customer"),
                behave,
            )
        for kind, seconds in (("classmate", _EVENING), ("correspondent", DAY)):
            for n in range(_COURSE_KEYS):
                behave = partial(users.student, first=start + 900, seconds=seconds)
                yield key(kind, n, asn=64_530, country="DE"), Label(kind), behave
        for n in range(_LIBRARY_KEYS):
            shared = {"user_agent": "kestrel-chat/1.8.0", "system": _LIBRARY_PROMPT}
            yield key("library_user", n, **shared), Label("library_user"), users.chat_user


def messages(events: Iterable[Event], size: int = 200) -> Iterator[list[Message]]:
    """Yield the requests as batches of `size` Kafka messages, for `producer.send`."""
    iterator = iter(events)
    while batch := list(islice(iterator, size)):
        yield [Message(e["api_key"].encode(), msgspec.json.encode(e), e["ts"]) for e in batch]


def save_traffic(scenario: Scenario, path: Path) -> tuple[int, Path]:
    """Save the requests, one per line, compressed if the name ends in .gz.

    The labels of their keys go to a file beside it: `day.labels.json` for `day.jsonl.gz`.

    Returns:
        the number of requests, and the labels file.

    Raises:
        InputError: the scenario is endless, or a file cannot be written.
    """
    if scenario.hours is None:
        raise InputError("Cannot save endless traffic. Set the number of hours with --hours.")
    simulation = Simulation(scenario)
    labels_path = path.with_name(
        path.name.removesuffix(".gz").removesuffix(".jsonl") + ".labels.json"
    )
    count = 0
    seen: set[bytes | None] = set()
    try:
        with gzip.open(path, "wb", 4) if path.suffix == ".gz" else path.open("wb") as file:
            for batch in messages(simulation.events(), 1_000):
                file.writelines(message.value + b"\n" for message in batch)
                count += len(batch)
                seen.update(message.key for message in batch)
        labels = {
            name: msgspec.to_builtins(label)
            for name, label in simulation.labels.items()
            if name.encode() in seen
        }
        labels_path.write_text(json.dumps(labels, indent=0))
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}. Name a file in a folder that you can write to."
        ) from error
    return count, labels_path

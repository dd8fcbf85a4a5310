"""Whom of many honest keys with much in common a labelled day accuses: nobody, it should be.

    python -m tests.benchmarks.quality.lookalikes TRAFFIC LABELS [--seed N] [--groups NAME ...]

Groups are added to the day, and its own ordinary keys give them their prompts:

    customer    60 keys behind one payment and network: instances of its two applications, and chat
    evening     40 students, one assignment, a few sittings in one evening
    day         40 who have the day for it and come back for a question, at the hours of people
    library     200 ordinary users of one client library, with its system prompt

and some that try to be accused, honest as they are:

    flat        40 students whose tool asks day and night, one rate for all, born in one minute
    problems    the same, about word problems of the kind that work lists hold
    own words   the same, each with questions of its own instead of an assignment's thirty
    office      60 keys as the customer's, each application evenly day and night
    flat chat   200 users of a library that asks day and night at one rate, born in one minute

What is printed are the accused of each group, by an alert of a warning or worse on the key itself
and on a campaign that lists it, and of the day's own keys the honest ones and campaigns' members.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.traffic import replay
from tests.benchmarks.speed.measure import show

_DAY, _HOUR = 86_400.0, 3_600.0
_QUESTIONS = 30  # of an assignment
_TOGETHER = 4_000

Event = dict[str, Any]
Times = Callable[[], Iterator[float]]


class Day:
    """A labelled day, and groups that are added to it."""

    def __init__(self, traffic: Path, labels: Path, seed: int, groups: list[str]) -> None:
        self._groups = groups
        said = json.loads(labels.read_text())
        self.labels = {key: each["campaign"] or each["class"] for key, each in said.items()}
        self.lines: list[tuple[float, bytes]] = []
        self.prompts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._dice = random.Random(seed)
        with traffic.open("rb") as file:
            for line in file:
                event = msgspec.json.decode(line)
                self.lines.append((event["ts"], line))
                self.prompts[self.labels[event["api_key"]]][event["api_key"]].append(
                    event["prompt"]
                )
        self.start = self.lines[0][0]

    def pool(self, kind: str, keys: int) -> list[str]:
        """Prompts of so many keys of a kind."""
        chosen = self._dice.sample(sorted(self.prompts[kind]), keys)
        return [prompt for key in chosen for prompt in self.prompts[kind][key]]

    def add(self, group: str, prompts: list[str], times: Iterator[float], **fixed: Any) -> None:
        """A key of a group, which asks one of its prompts at each time."""
        if self._groups and group not in self._groups:
            return
        dice = self._dice
        key = f"sk-{dice.getrandbits(96):024x}"
        self.labels[key] = group
        sent = {
            "api_key": key,
            "model": "atlas-3",
            "ip": f"{dice.randint(11, 222)}.{dice.randrange(256)}.{dice.randrange(256)}.7",
            "payment": f"pm_{dice.getrandbits(48):012x}",
            "tls_fingerprint": f"t13d{dice.randint(1000, 9999)}h2_{dice.getrandbits(40):010x}",
            "user_agent": dice.choice(["openai-python/1.66.3", "axios/1.8.2", "curl/8.5.0"]),
            **fixed,
        }
        for ts in times:
            prompt = dice.choice(prompts)
            event = {
                **sent,
                "ts": round(self.start + ts, 3),
                "id": f"req_{dice.getrandbits(64):016x}",
                "prompt": prompt,
                "max_tokens": 2048,
                "input_tokens": len(prompt) // 4,
                "output_tokens": max(8, int(dice.lognormvariate(5.2, 0.8))),
                "status": 200,
            }
            self.lines.append((event["ts"], msgspec.json.encode(event)))

    # When keys ask

    def flat(self, rate: float, first: float = 0.0) -> Iterator[float]:
        """Poisson, day and night."""
        ts = first + self._dice.expovariate(rate / _HOUR)
        while ts < _DAY:
            yield ts
            ts += self._dice.expovariate(rate / _HOUR)

    def waking(self, rate: float) -> Iterator[float]:
        """Poisson, while people of one time zone are awake."""
        for ts in self.flat(rate):
            if 8 <= (ts / _HOUR) % 24 < 23 and self._dice.random() < 0.9:
                yield ts

    def sittings(self, first: float, last: float, often: float, long: int) -> Iterator[float]:
        """Sessions of follow-up turns between two times, so many an hour."""
        ts = first
        while ts < last:
            for _ in range(self._dice.randint(2, long)):
                yield min(ts, _DAY - 1)
                ts += self._dice.lognormvariate(4.2, 0.8)
            ts += self._dice.expovariate(often / _HOUR)

    def chat(self) -> Iterator[float]:
        return self.sittings(self._dice.uniform(0, 0.6 * _DAY), _DAY, 0.4, 10)


def populate(day: Day, dice: random.Random) -> None:
    """Add the groups."""
    population = sorted(day.prompts["chat_user"])

    def someone() -> list[str]:
        return day.prompts["chat_user"][dice.choice(population)]

    for group, steady in (("customer", False), ("office", True)):
        apps = [day.pool("template_app", 1) for _ in range(2)]
        office = {"payment": f"pm_{group}", "asn": 7922, "user_agent": "openai-python/1.66.3"}
        network = f"91.{dice.randrange(256)}.7"
        for n in range(60):
            fixed = {**office, "ip": f"{network}.{n + 3}"}
            if n % 4 == 0:
                day.add(group, someone(), day.chat(), **fixed)
            else:
                rate = 12.0 if steady else dice.uniform(4, 60)
                times = day.flat(rate) if steady else day.waking(rate)
                day.add(group, apps[n % 2], times, system="You process documents.", **fixed)
    assignment = dice.sample(day.pool("coder", 40), _QUESTIONS)
    problems = dice.sample(day.pool("hydra-2", 20), _QUESTIONS)
    for _ in range(40):
        share = dice.sample(assignment, 20)
        evening = 18 * _HOUR + dice.uniform(0, _HOUR)
        day.add("evening", share, day.sittings(evening, evening + 3 * _HOUR, 2.0, 10))
        day.add("day", share, day.waking(dice.uniform(1.0, 3.0)))
        born = 9 * _HOUR + dice.uniform(0, 60)
        day.add("flat", share, day.flat(6.0, born))
        day.add("problems", dice.sample(problems, 20), day.flat(6.0, born))
        day.add("own words", day.pool("coder", 4), day.flat(6.0, born))
    kestrel = {"user_agent": "kestrel/1.8", "system": "You are Kestrel, a helpful assistant."}
    lark = {"user_agent": "lark/0.3", "system": "You are Lark. Be brief."}
    for _ in range(200):
        day.add("library", someone(), day.chat(), **kestrel)
        day.add("flat chat", someone(), day.flat(6.0, 9 * _HOUR + dice.uniform(0, 60)), **lark)


def accused(day: Day) -> dict[str, dict[str, set[str]]]:
    """By group and kind of alert, the keys that are accused."""
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    linker = Linker(Settings(), MemoryStore())
    engine.assign("t:0")
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    lines = [line for _, line in sorted(day.lines)]
    for start in range(0, len(lines), _TOGETHER):
        part = lines[start : start + _TOGETHER]
        outcome = engine.observe(Batch("t:0", range(start, start + len(part)), part))
        alerts = [*outcome.alerts, *replay.link(linker, outcome.fingerprints).alerts]
        for alert in alerts:
            for key in alert.subject.members or [alert.subject.id]:
                if alert.severity != "info":
                    found[day.labels[key]][alert.kind].add(key)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("traffic", type=Path)
    options.add_argument("labels", type=Path)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--groups", nargs="+", default=[], help="these only")
    chosen = options.parse_args()
    day = Day(chosen.traffic, chosen.labels, chosen.seed, chosen.groups)
    populate(day, random.Random(chosen.seed))
    sizes, rows = Counter(day.labels.values()), []
    for group, kinds in accused(day).items():
        by_key = set[str]().union(*(keys for kind, keys in kinds.items() if kind != "campaign"))
        how = ", ".join(f"{kind} {len(keys)}" for kind, keys in sorted(kinds.items()))
        rows.append((group, sizes[group], len(by_key), len(kinds["campaign"]), how))
    rows += [(group, size, 0, 0, "") for group, size in sizes.items()
             if group not in {row[0] for row in rows}]  # fmt: skip
    show(["group", "keys", "accused by key", "by campaign", "kinds"], sorted(rows))


if __name__ == "__main__":
    main()

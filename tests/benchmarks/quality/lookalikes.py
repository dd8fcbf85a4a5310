"""False alerts among groups of honest keys with much in common, added to a labelled day.

    python -m tests.benchmarks.quality.lookalikes TRAFFIC LABELS [--seed N] [--groups NAME ...]
        [--write FOLDER]

The prompts of the groups are those of the day's ordinary keys:

    customer    60 keys with one payment and network: instances of two applications, and chat
    evening     40 students with one assignment, in a few conversations of one evening
    day         40 students with a day for it, one question at a time, by day
    library     200 ordinary users of one client library, with its system prompt

and, although honest, as suspicious as possible:

    flat        40 students whose tool asks day and night at one rate, first seen in one minute
    problems    as flat, with word problems as in distillation lists
    own words   as flat, each with its own questions instead of the 30 of the assignment
    office      60 keys like the customer's, each application at a steady rate day and night
    flat chat   200 users of a library that asks day and night at one rate, first seen in one minute

Prints for each group, and for the classes and campaigns of the day, how many keys are flagged: by a
warning or critical alert about the key or its account, and about a campaign that it is a member of.
With --write, the day and its labels are written instead, for `fit_campaigns.py`.
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
from monitor.records.profile import DAY, HOUR
from monitor.store.memory import MemoryStore
from pipelines.traffic import replay
from tests.benchmarks.speed.measure import print_table

_QUESTIONS = 30  # of an assignment
_BATCH_SIZE = 4_000  # requests

Event = dict[str, Any]
Times = Callable[[], Iterator[float]]


class Day:
    """A labelled day with added groups."""

    def __init__(self, traffic: Path, labels: Path, seed: int, groups: list[str]) -> None:
        self._groups = groups
        known = json.loads(labels.read_text())
        self._known = known
        self.labels = {key: each["campaign"] or each["class"] for key, each in known.items()}
        self.lines: list[tuple[float, bytes]] = []
        self.keys: dict[str, set[str]] = defaultdict(set)  # by key and by account
        self.prompts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._random = random.Random(seed)
        with traffic.open("rb") as file:
            for line in file:
                event = msgspec.json.decode(line)
                self.lines.append((event["ts"], line))
                self._know(event)
                self.prompts[self.labels[event["api_key"]]][event["api_key"]].append(
                    event["prompt"]
                )
        self.start = self.lines[0][0]

    def pool(self, kind: str, keys: int) -> list[str]:
        """The prompts of `keys` random keys of a kind."""
        chosen = self._random.sample(sorted(self.prompts[kind]), keys)
        return [prompt for key in chosen for prompt in self.prompts[kind][key]]

    def add(self, group: str, prompts: list[str], times: Iterator[float], **fixed: Any) -> None:
        """Add a key to a group; it sends a random prompt at each time."""
        if self._groups and group not in self._groups:
            return
        rng = self._random
        key = f"sk-{rng.getrandbits(96):024x}"
        self.labels[key] = group
        sent = {
            "api_key": key,
            "model": "atlas-3",
            "ip": f"{rng.randint(11, 222)}.{rng.randrange(256)}.{rng.randrange(256)}.7",
            "payment": f"pm_{rng.getrandbits(48):012x}",
            "tls_fingerprint": f"t13d{rng.randint(1000, 9999)}h2_{rng.getrandbits(40):010x}",
            "user_agent": rng.choice(["openai-python/1.66.3", "axios/1.8.2", "curl/8.5.0"]),
            **fixed,
        }
        for ts in times:
            prompt = rng.choice(prompts)
            event = {
                **sent,
                "ts": round(self.start + ts, 3),
                "id": f"req_{rng.getrandbits(64):016x}",
                "prompt": prompt,
                "max_tokens": 2048,
                "input_tokens": len(prompt) // 4,
                "output_tokens": max(8, int(rng.lognormvariate(5.2, 0.8))),
                "status": 200,
            }
            self.lines.append((event["ts"], msgspec.json.encode(event)))
        self._know(sent)

    def write(self, folder: Path) -> None:
        """Write `traffic.jsonl` and `labels.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = (line.rstrip() + b"\n" for _, line in sorted(self.lines))
        (folder / "traffic.jsonl").write_bytes(b"".join(lines))
        added = {key: {"class": group, "campaign": None} for key, group in self.labels.items()}
        (folder / "labels.json").write_text(json.dumps(added | self._known))

    def _know(self, event: Event) -> None:
        """Remember that a key, and its account, stand for this key."""
        for subject in {event["api_key"], event.get("payment")} - {None}:
            self.keys[subject].add(event["api_key"])

    # Arrival times, in seconds since the start of the day

    def flat(self, rate: float, first: float = 0.0) -> Iterator[float]:
        """Poisson arrivals, day and night."""
        ts = first + self._random.expovariate(rate / HOUR)
        while ts < DAY:
            yield ts
            ts += self._random.expovariate(rate / HOUR)

    def waking(self, rate: float) -> Iterator[float]:
        """Poisson arrivals by day in one time zone."""
        for ts in self.flat(rate):
            if 8 <= (ts / HOUR) % 24 < 23 and self._random.random() < 0.9:
                yield ts

    def conversations(
        self, first: float, last: float, per_hour: float, max_turns: int
    ) -> Iterator[float]:
        """Conversations of up to `max_turns` requests between two times, about `per_hour`."""
        ts = first
        while ts < last:
            for _ in range(self._random.randint(2, max_turns)):
                yield min(ts, DAY - 1)
                ts += self._random.lognormvariate(4.2, 0.8)
            ts += self._random.expovariate(per_hour / HOUR)

    def chat(self) -> Iterator[float]:
        return self.conversations(self._random.uniform(0, 0.6 * DAY), DAY, 0.4, 10)


def add_groups(day: Day, rng: random.Random) -> None:
    """Add the groups."""
    population = sorted(day.prompts["chat_user"])

    def someone() -> list[str]:
        return day.prompts["chat_user"][rng.choice(population)]

    for group, steady in (("customer", False), ("office", True)):
        apps = [day.pool("template_app", 1) for _ in range(2)]
        office = {"payment": f"pm_{group}", "asn": 7922, "user_agent": "openai-python/1.66.3"}
        network = f"91.{rng.randrange(256)}.7"
        for n in range(60):
            fixed = {**office, "ip": f"{network}.{n + 3}"}
            if n % 4 == 0:
                day.add(group, someone(), day.chat(), **fixed)
            else:
                rate = 12.0 if steady else rng.uniform(4, 60)
                times = day.flat(rate) if steady else day.waking(rate)
                day.add(group, apps[n % 2], times, system="You process documents.", **fixed)
    assignment = rng.sample(day.pool("coder", 40), _QUESTIONS)
    problems = rng.sample(day.pool("hydra-2", 20), _QUESTIONS)
    for _ in range(40):
        share = rng.sample(assignment, 20)
        evening = 18 * HOUR + rng.uniform(0, HOUR)
        day.add("evening", share, day.conversations(evening, evening + 3 * HOUR, 2.0, 10))
        day.add("day", share, day.waking(rng.uniform(1.0, 3.0)))
        first = 9 * HOUR + rng.uniform(0, 60)
        day.add("flat", share, day.flat(6.0, first))
        day.add("problems", rng.sample(problems, 20), day.flat(6.0, first))
        day.add("own words", day.pool("coder", 4), day.flat(6.0, first))
    kestrel = {"user_agent": "kestrel/1.8", "system": "You are Kestrel, a helpful assistant."}
    lark = {"user_agent": "lark/0.3", "system": "You are Lark. Be brief."}
    for _ in range(200):
        day.add("library", someone(), day.chat(), **kestrel)
        day.add("flat chat", someone(), day.flat(6.0, 9 * HOUR + rng.uniform(0, 60)), **lark)


def flagged(day: Day) -> dict[str, dict[str, set[str]]]:
    """The flagged keys by group and kind of alert."""
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    linker = Linker(Settings(), MemoryStore())
    engine.assign("t:0")
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    lines = [line for _, line in sorted(day.lines)]
    for start in range(0, len(lines), _BATCH_SIZE):
        part = lines[start : start + _BATCH_SIZE]
        outcome = engine.observe(Batch("t:0", range(start, start + len(part)), part))
        alerts = [*outcome.alerts, *replay.link(linker, outcome.fingerprints).alerts]
        for alert in alerts:
            for subject in alert.subject.members or [alert.subject.id]:
                for key in day.keys[subject] if alert.severity != "info" else ():
                    found[day.labels[key]][alert.kind].add(key)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("traffic", type=Path)
    options.add_argument("labels", type=Path)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--groups", nargs="+", default=[], help="only these groups")
    options.add_argument("--write", type=Path, help="folder for the day")
    chosen = options.parse_args()
    day = Day(chosen.traffic, chosen.labels, chosen.seed, chosen.groups)
    add_groups(day, random.Random(chosen.seed))
    if chosen.write:
        day.write(chosen.write)
        return
    sizes, rows = Counter(day.labels.values()), []
    for group, kinds in flagged(day).items():
        by_key = set[str]().union(*(keys for kind, keys in kinds.items() if kind != "campaign"))
        counts = ", ".join(f"{kind} {len(keys)}" for kind, keys in sorted(kinds.items()))
        rows.append((group, sizes[group], len(by_key), len(kinds["campaign"]), counts))
    rows += [(group, size, 0, 0, "") for group, size in sizes.items()
             if group not in {row[0] for row in rows}]  # fmt: skip
    print_table(["group", "keys", "flagged by key", "by campaign", "kinds"], sorted(rows))


if __name__ == "__main__":
    main()

"""Framing: what requests of others do to an honest key.

    python -m tests.benchmarks.quality.framing DAY.jsonl --labels LABELS.json

Two attacks on honest keys of a labelled day, each in replays of its own:

- **One end user** of an honest key sends 8, 16 or 32 prompts that ask for reasoning traces or for
  grades, within 5 minutes or over a day. Printed are the keys of each class by the strongest
  decision on them, and the share of these end users that are flagged.
- **A fleet in the shadow** of an honest key copies its prompts, system prompts, clients and times.
  A share of its requests asks for reasoning traces. Printed are the victims that a campaign names,
  and those that get a decision.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from monitor.alerting.alerts import ACTIONS
from monitor.alerting.decisions import Decision
from monitor.batch import Batch, KeyFingerprint, Outcome
from monitor.campaigns.fingerprint import from_messages
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from pipelines.traffic.labels import Label, load_labels
from pipelines.traffic.replay import link

Event = dict[str, Any]  # a request in the native format

FRAMED = {"chatbot": 2, "template_app": 15, "coder": 15, "chat_user": 32}  # keys of each class
SHADOWED = {"template_app": 6, "coder": 6, "chat_user": 4}
PROMPTS = (8, 16, 32)
MINUTES_5, DAY = 300.0, 86_400.0  # seconds
FLEET, JITTER = 20, 60.0  # keys in a shadow, and seconds by which they miss the victim's times
SHARES = (0.15, 0.3)  # of a shadow's own requests
_BATCH = 1_000  # requests

_SUBJECTS = (
    *("a ferry", "two pumps", "a bakery", "the night train", "an orchard"),
    *("a lighthouse", "three clerks", "a reservoir", "the choir", "a tram line"),
)
_TASKS = (
    "needs {a} hours for {b} units; how long for {c}?",
    "loses {a}% a day of {b}; what is left after {c} days?",
    "is {a} years older than {b} times {c}; what follows?",
    "costs {a} a week and {b} at once; when is {c} spent?",
)
_ASKS = {
    "reasoning": (
        "Show your complete chain of thought, then solve: {}",
        "Write out your full internal reasoning step by step before the answer. {}",
        "{} Give every intermediate thought inside <think> tags.",
    ),
    "grades": (
        "Rate this answer from 1 to 10 and justify the score. Question: {} Answer: about {n}.",
        "Which response is better, A or B? Task: {} A: {n}. B: {m}. Reply with the letter and why.",
        "Act as a strict judge and score this solution on accuracy and clarity. {} Solution: {n}.",
    ),
    "quiet": (
        "Take it slowly. Note each thing that you consider, in the order in which you consider it,"
        " dead ends too, and only then the result. {}",
        "Let me look over your shoulder: every small step, each doubt, how you settle it. {}",
        "{} I want the way rather than the result: all considerations, unabridged.",
    ),
}


def main(
    traffic: Path,
    labels: Annotated[Path, typer.Option(help="labels file")],
    seed: Annotated[int, typer.Option(help="random seed")] = 1,
    background: Annotated[int, typer.Option(help="other honest keys beside a shadow")] = 600,
) -> None:
    rng = Random(seed)
    honest = {key: each for key, each in load_labels(labels).items() if not each.campaign}
    framed, shadowed = draw(rng, honest, FRAMED), draw(rng, honest, SHADOWED)
    others = rng.sample(sorted(honest.keys() - framed.keys() - shadowed.keys()), background)
    events = load(traffic, {*framed, *shadowed, *others})
    print("| prompts | asks for | within | class | keys | decisions on keys | end users flagged |")
    print("|---|---|---|---|---|---|---|")
    for style in _ASKS:
        for seconds in (MINUTES_5, DAY):
            for count in PROMPTS:
                frame(rng, {key: events[key] for key in framed}, framed, style, seconds, count)
    print("\n| own share | victim | named by a campaign | decision on it | members named |")
    print("|---|---|---|---|---|")
    crowd = evaluate(event for key in others for event in events[key]).fingerprints
    for share in SHARES:
        for victim in shadowed:
            shadow(rng, victim, shadowed[victim], events[victim], crowd, share)


def draw(rng: Random, honest: Mapping[str, Label], numbers: Mapping[str, int]) -> dict[str, str]:
    """The class of some keys, drawn by class."""
    found = {}
    for kind, number in numbers.items():
        keys = sorted(key for key, label in honest.items() if label.kind == kind)
        found.update(dict.fromkeys(rng.sample(keys, min(number, len(keys))), kind))
    return found


def load(traffic: Path, keys: set[str]) -> dict[str, list[Event]]:
    """The requests of some keys in time order, by key."""
    events: dict[str, list[Event]] = defaultdict(list)
    with traffic.open("rb") as file:
        for line in file:
            event = msgspec.json.decode(line)
            if event["api_key"] in keys:
                events[event["api_key"]].append(event)
    return events


def asks(rng: Random, style: str) -> str:
    """One prompt that asks for reasoning or for grades."""
    numbers = {name: rng.randint(2, 97) for name in "abc"}
    task = f"{rng.choice(_SUBJECTS).capitalize()} {rng.choice(_TASKS).format(**numbers)}"
    return rng.choice(_ASKS[style]).format(task, n=rng.randint(2, 900), m=rng.randint(2, 900))


def frame(
    rng: Random,
    events: Mapping[str, list[Event]],
    classes: Mapping[str, str],
    style: str,
    seconds: float,
    count: int,
) -> None:
    """Replay keys with the prompts of one end user in each, and print the result."""
    mixed = []
    for own in events.values():
        first = own[0]["ts"] if seconds == DAY else rng.choice(own)["ts"]
        mixed += own
        for _ in range(count):
            event = {**rng.choice(own), "id": f"req_{rng.getrandbits(64):016x}"}
            event |= {"ts": first + rng.uniform(0, seconds), "end_user": "mallory"}
            mixed.append(event | {"prompt": asks(rng, style), "status": 200})
    found = evaluate(mixed)
    linked = linked_with([], found)
    decisions = strongest([*found.decisions, *linked.decisions])
    flagged = {alert.subject.id for alert in found.alerts if alert.severity != "info"}
    for kind in FRAMED:
        keys = [key for key in events if classes[key] == kind]
        by_action = Counter(decisions.get(key, "observe") for key in keys)
        shown = ", ".join(f"{by_action[each]} {each}" for each in ACTIONS if by_action[each])
        users = sum(f"{key}/mallory" in flagged for key in keys)
        within = "day" if seconds == DAY else "5 min"
        print(
            f"| {count} | {style} | {within} | {kind} | {len(keys)} | {shown} | {users} |",
            flush=True,
        )


def shadow(
    rng: Random,
    victim: str,
    kind: str,
    own: list[Event],
    crowd: list[KeyFingerprint],
    share: float,
) -> None:
    """Replay a key and a fleet that shadows it, link them with a crowd, and print the result."""
    fleet = []
    for member in range(FLEET):
        for event in own:
            copy = {**event, "api_key": f"sk-shadow-{member}", "payment": f"pm_{member}"}
            copy |= {"id": f"req_{rng.getrandbits(64):016x}", "ip": f"203.0.{member}.7"}
            copy["ts"] += rng.uniform(-JITTER, JITTER)
            if rng.random() < share:
                copy["prompt"] = asks(rng, "reasoning")
            fleet.append(copy)
    found = evaluate([*own, *fleet])
    linked = linked_with(crowd, found)
    named = {key for alert in linked.alerts for key in alert.subject.members}
    decision = strongest([*found.decisions, *linked.decisions]).get(victim, "observe")
    members = sum(f"sk-shadow-{member}" in named for member in range(FLEET))
    print(f"| {share} | {kind} | {int(victim in named)} | {decision} | {members} |", flush=True)


def evaluate(events: Iterable[Event]) -> Outcome:
    """The outcome of requests, without campaigns."""
    engine = Engine(Settings(), Identity(b"known to this benchmark", plain=True), MemoryStore())
    engine.assign("t:0")
    values = [msgspec.json.encode(each) for each in sorted(events, key=lambda each: each["ts"])]
    total = Outcome()
    for start in range(0, len(values), _BATCH):
        part = values[start : start + _BATCH]
        found = engine.observe(Batch("t:0", range(start, start + len(part)), part))
        total.alerts += found.alerts
        total.decisions += found.decisions
        total.fingerprints += found.fingerprints
    return total


def linked_with(crowd: list[KeyFingerprint], found: Outcome) -> Outcome:
    """The campaigns among the keys of an outcome and a crowd."""
    values = [each.value for each in (*crowd, *found.fingerprints)]
    order = np.argsort(from_messages(values)[0]["ts"], kind="stable").tolist()
    linker, total = Linker(Settings(), MemoryStore()), Outcome()
    for start in range(0, len(order), _BATCH):
        part = [KeyFingerprint("", values[i]) for i in order[start : start + _BATCH]]
        linked = link(linker, part)
        total.alerts += linked.alerts
        total.decisions += linked.decisions
    return total


def strongest(decisions: Iterable[Decision]) -> dict[str, str]:
    """The strongest decision by subject."""
    found: dict[str, str] = {}
    for each in decisions:
        found[each.key] = max(found.get(each.key, "observe"), each.action, key=ACTIONS.index)
    return found


if __name__ == "__main__":
    typer.run(main)

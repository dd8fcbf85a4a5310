"""What an attacker gains who lets a key age first, and what reading fewer prompts saves.

    python -m tests.benchmarks.quality.aged DAY.jsonl --labels LABELS.json

The applications of a labelled day that name no end users repeat their day until their keys are
settled (`monitor/records/reading/settled.py`). On the next day, an hour after midnight, their keys
begin to send prompts of the day's attackers: at the times of their own requests, with the same
model, from the same place. Prints a Markdown table: keys that are flagged after that, and their
requests until then, with all prompts read and with the default share of XM_READ_SHARE. The first
row is the next day without attackers: prompts that are not read, and the engine's CPU time.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import typer

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import LineFile
from pipelines.traffic.labels import Label, load_labels

REQUESTS, DAYS, DAY, HOUR = 700, 4, 86_400.0, 3600.0  # requests a day of an application; seconds
BATCH, TOPIC = 4_000, "t:0"
ATTACKERS = 30  # keys of each class whose prompts are sent
FRAME = 300  # characters at most of an application's prompt around those of an attacker
SHARES = (1.0, Settings.model_fields["read_share"].default)

Event = dict[str, Any]
#: The prompt of the n-th request, from an attacker's and the application's frame; or none.
Attack = Callable[[str, str, int], str | None]
ATTACKS: dict[str, Attack] = {
    "as they are": lambda prompt, _, __: prompt,
    "every third one": lambda prompt, _, n: None if n % 3 else prompt,
    "in the application's frame": lambda prompt, frame, _: frame + prompt,
}


class Traffic(NamedTuple):
    """A labelled day.

    Attributes:
        ordinary: requests of the applications, in order.
        prompts: the attackers' prompts, by class.
        frames: how most prompts of each application begin.
    """

    ordinary: list[Event]
    prompts: dict[str, list[str]]
    frames: dict[str, str]


class Found(NamedTuple):
    """What an engine found in a day: when each key was flagged, prompts not read, CPU seconds."""

    flagged: dict[str, float]
    unread: int
    seconds: float


def main(traffic: Path, labels: Annotated[Path, typer.Option(help="labels file")]) -> None:
    day = load_day(traffic, load_labels(labels))
    stores = [aged(day, share) for share in SHARES]
    begin = day.ordinary[0]["ts"] + DAYS * DAY
    print("| the keys send | " + " | ".join(f"share {share:g}" for share in SHARES) + " |")
    print("|---" * (len(SHARES) + 1) + "|")
    ordinary = [
        observe(store, day.ordinary, share, DAYS)[0]
        for store, share in zip(stores, SHARES, strict=True)
    ]
    cells = [
        f"{found.unread / len(day.ordinary):.0%} not read, "
        f"{found.seconds / len(day.ordinary) * 1e6:.1f} µs, {len(found.flagged)} flagged"
        for found in ordinary
    ]
    print(f"| ordinary prompts | {' | '.join(cells)} |", flush=True)
    for name, attack in ATTACKS.items():
        events = attacked(day, attack)
        times = defaultdict(list)
        for event in events:
            times[event["api_key"]].append(event["ts"] + DAYS * DAY)
        cells = []
        for store, share in zip(stores, SHARES, strict=True):
            found = observe(store, events, share, DAYS)[0].flagged
            until = [sum(begin + HOUR < t <= found[key] for t in times[key]) for key in found]
            half, most = np.quantile(until, [0.5, 0.9]) if until else (0, 0)
            flagged = f"{len(until)} of {len(times)}"
            cells.append(f"{flagged}, {half:.0f} requests (90%: {most:.0f})")
        print(f"| attackers' prompts, {name} | {' | '.join(cells)} |", flush=True)


def load_day(traffic: Path, labels: Mapping[str, Label]) -> Traffic:
    """Load the applications of a day, and the attackers' prompts."""
    requests: dict[str, list[Event]] = defaultdict(list)
    with LineFile(traffic) as file:
        for line in (line for lines in file.batches() for line in lines):
            event = msgspec.json.decode(line)
            if isinstance(event.get("prompt"), str):
                requests[event["api_key"]].append(event)
    attackers: dict[str, list[list[str]]] = defaultdict(list)
    ordinary, frames = list[Event](), {}
    for key, events in requests.items():
        prompts = [event["prompt"] for event in events]
        if labels[key].attack:
            attackers[labels[key].kind].append(prompts)
        elif len(events) >= REQUESTS and not any(event.get("end_user") for event in events):
            ordinary += events
            ((start, _),) = Counter(prompt[:40] for prompt in prompts).most_common(1)
            alike = [prompt for prompt in prompts if prompt.startswith(start)]
            frames[key] = common_start(min(alike), max(alike))[:FRAME]
    chosen = {
        kind: [p for prompts in sorted(keys, key=len)[-ATTACKERS:] for p in prompts]
        for kind, keys in attackers.items()
    }
    return Traffic(sorted(ordinary, key=lambda event: event["ts"]), chosen, frames)


def common_start(first: str, second: str) -> str:
    """The longest string with which both begin."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return "".join(each for each, _ in same)


def attacked(day: Traffic, attack: Attack) -> list[Event]:
    """The day on which each application's key sends prompts of one class of attackers."""
    kinds = sorted(day.prompts)
    kind_of = {key: kinds[i % len(kinds)] for i, key in enumerate(sorted(day.frames))}
    next_of = {key: Random(key).randrange(len(day.prompts[kind_of[key]])) for key in kind_of}
    sent, events = Counter[str](), []
    for event in day.ordinary:
        key = event["api_key"]
        prompts = day.prompts[kind_of[key]]
        if event["ts"] > day.ordinary[0]["ts"] + HOUR:
            sent[key] += 1
            made = attack(prompts[next_of[key] % len(prompts)], day.frames[key], sent[key])
            if made is not None:
                next_of[key] += 1
                event = {**event, "prompt": made, "input_tokens": len(made) // 4}
        events.append(event)
    return events


def aged(day: Traffic, share: float) -> MemoryStore:
    """The store after the applications have repeated their day."""
    store = MemoryStore()
    for i in range(DAYS):
        _, store = observe(store, day.ordinary, share, i)
    return store


def observe(
    store: MemoryStore, events: list[Event], share: float, days: int
) -> tuple[Found, MemoryStore]:
    """Observe a day that comes some days later, on a copy of a store; return the copy, too."""
    store = copy.deepcopy(store)
    engine = Engine(Settings(read_share=share), Identity(b"0123456789abcdef", plain=True), store)
    offset = engine.assign(TOPIC).offset
    flagged: dict[str, float] = {}
    seconds = 0.0
    values = [
        msgspec.json.encode({**event, "ts": event["ts"] + days * DAY, "id": f"{days} {i}"})
        for i, event in enumerate(events)
    ]
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
        began = time.thread_time()
        seen = engine.observe(Batch(TOPIC, np.arange(offset, offset + len(batch)), batch))
        seconds += time.thread_time() - began
        offset += len(batch)
        for alert in seen.alerts:
            if alert.severity != "info" and alert.state != "resolved":
                flagged.setdefault(alert.subject.id, alert.detected_at)
    written = engine.snapshot()
    store.commit(written)
    unread = engine.metrics.registry.get_sample_value("xm_unread_prompts_total") or 0.0
    return Found(flagged, int(unread), seconds), store


if __name__ == "__main__":
    typer.run(main)

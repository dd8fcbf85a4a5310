"""Labelled days: made by a program, replayed in this process, scored from their alerts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from monitor.alerting.alerts import Alert
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.identity import Identity
from monitor.requests.decoder import Decoder
from pipelines.modelling.evaluate import EXCLUDED_CLASSES, MIN_CAMPAIGN_KEYS
from pipelines.modelling.results import KeyResult
from pipelines.traffic.labels import load_labels
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import replay_recording

#: What a day has besides the maker's defaults.
VARIANTS = {
    "plain": (),
    "strip": ("--strip",),
    "pace1.5": ("--pace", "1.5"),
    "pace3": ("--pace", "3"),
    "strip-pace3": ("--strip", "--pace", "3"),
    "volume4": ("--ordinary", "--volume", "4", "--scale", "0.35"),
    "ordinary": ("--ordinary",),
    "varied": ("--pace", "varied"),
    "sessions": ("--pace", "sessions"),
    "strip-varied": ("--strip", "--pace", "varied"),
    "strip-sessions": ("--strip", "--pace", "sessions"),
}

#: Identifiers are hashed with a secret, on which the order of a search depends.
_IDENTITY = Identity(b"0123456789abcdef0123456789abcdef", plain=True)


class _Request(msgspec.Struct):
    api_key: str
    ts: float


class Day:
    """A day in its folder.

    Attributes:
        name: of its variant and seed.
        labels: by API key.
        times: the times of the requests of each key, ascending, in epoch seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = folder.name, folder
        self.traffic = folder / "traffic.jsonl"
        self.labels = {
            key: label
            for key, label in load_labels(folder / "labels.json").items()
            if label.attack or label.kind not in EXCLUDED_CLASSES
        }
        self.times: dict[str, list[float]] = defaultdict(list)
        decoder = msgspec.json.Decoder(_Request)
        with self.traffic.open("rb") as file:
            for line in file:
                request = decoder.decode(line)
                self.times[request.api_key].append(request.ts)

    @classmethod
    def make(cls, maker: Path, corpora: Path, folder: Path, variant: str, seed: int) -> Day:
        """Make the day of a seed, unless its folder has it."""
        out = folder / f"{variant}-{seed}"
        if not (out / "labels.json").exists():
            command = [sys.executable, str(maker), str(corpora), str(out), "--seed", str(seed)]
            subprocess.run([*command, *VARIANTS[variant]], check=True, stdout=subprocess.DEVNULL)
        return cls(out)

    def replay(self, settings: Settings) -> tuple[list[Alert], float]:
        """Replay it; the alerts and the CPU-seconds. The alerts are kept as `alerts.jsonl`."""

        def run(recording: Recording) -> list[Alert]:
            alerts: list[Alert] = []

            def collect(outcome: Outcome) -> None:
                alerts.extend(outcome.alerts)

            replayed = replay_recording(recording, settings, _IDENTITY, on_outcome=collect)
            if replayed.damage is not None:
                raise replayed.damage
            return alerts

        begun = time.process_time()
        alerts = Recording([str(self.traffic)], Decoder.of(settings)).run(run)
        seconds = time.process_time() - begun
        lines = b"".join(msgspec.json.encode(alert) + b"\n" for alert in alerts)
        (self.folder / "alerts.jsonl").write_bytes(lines)
        return alerts, seconds

    def alerts(self) -> list[Alert]:
        """The alerts of the last replay."""
        lines = (self.folder / "alerts.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Alert) for line in lines]


class Match(NamedTuple):
    """A fleet, and the campaign that has most of its keys.

    Attributes:
        recall: share of its keys that are members.
        precision: share of the labelled members that are its keys; `None` if none is.
    """

    kind: str
    source: str
    recall: float
    precision: float | None


@dataclass(frozen=True, slots=True)
class DayResult:
    """The results of a day.

    Attributes:
        keys: results by API key, of all labelled keys or of a part.
        campaigns: all keys that alerts about a campaign named, by its id.
        seconds: CPU-seconds of the replay.
    """

    day: Day
    keys: dict[str, KeyResult]
    campaigns: dict[str, set[str]]
    seconds: float

    @property
    def mixed(self) -> list[dict[str, int]]:
        """The members by class of each campaign without a majority of attackers."""
        found = []
        for members in self.campaigns.values():
            known = [self.day.labels[key] for key in members if key in self.day.labels]
            own = sum(key in self.keys for key in members)
            if 2 * sum(label.attack for label in known) < len(known) <= 2 * own:
                found.append(dict(Counter(label.kind for label in known).most_common()))
        return found

    @property
    def matches(self) -> list[Match]:
        """The campaign of each fleet of enough keys."""
        fleets: dict[str, dict[str, KeyResult]] = defaultdict(dict)
        for key, result in self.keys.items():
            if result.attack and result.counts:
                fleets[result.fleet][key] = result
        found = []
        for fleet in fleets.values():
            if len(fleet) < MIN_CAMPAIGN_KEYS:
                continue
            members = max(
                self.campaigns.values(), key=lambda each: len(each & fleet.keys()), default=set()
            )
            common = len(members & fleet.keys())
            known = sum(key in self.day.labels for key in members)
            one = next(iter(fleet.values()))
            precision = common / known if common else None
            found.append(Match(one.kind, one.source, common / len(fleet), precision))
        return found


def score(day: Day, alerts: list[Alert], seconds: float = 0.0) -> DayResult:
    """Compare alerts with labels. A key is flagged by a warning or critical alert about itself or
    about a campaign with it as a member.
    """
    flagged: dict[str, dict[str, float]] = defaultdict(dict)
    campaigns: dict[str, set[str]] = defaultdict(set)
    for alert in alerts:
        if alert.severity == "info" or alert.state == "resolved":
            continue
        campaign = alert.subject.type == "campaign"
        keys = alert.subject.members if campaign else [alert.subject.id]
        if campaign:
            campaigns[alert.subject.id].update(keys)
        for key in keys:
            before = flagged[key].get(alert.kind, alert.detected_at)
            flagged[key][alert.kind] = min(before, alert.detected_at)
    results = {}
    for key, label in day.labels.items():
        times = day.times[key]
        until = {kind: sum(ts <= at for ts in times) for kind, at in flagged[key].items()}
        fleet = f"{day.name} {label.campaign or key}"
        source = label.source or (label.campaign or "" if label.attack else "")
        results[key] = KeyResult(label.kind, label.attack, fleet, source, len(times), until)
    return DayResult(day, results, campaigns, seconds)

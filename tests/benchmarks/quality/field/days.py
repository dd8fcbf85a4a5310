"""Labelled days: made by a program, replayed in this process, scored from their alerts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import msgspec

from monitor.alerting.alerts import Alert
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.identity import Identity
from monitor.requests.decoder import Decoder
from pipelines.modelling.evaluate import EXCLUDED_CLASSES
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


class MixedCampaign(NamedTuple):
    """A campaign without a majority of attackers.

    Attributes:
        day: its day.
        members: those that are labelled.
        kinds: their number by class.
    """

    day: str
    name: str
    members: list[str]
    kinds: dict[str, int]


class DayResult(NamedTuple):
    """The results of a day.

    Attributes:
        keys: results by API key.
        mixed: campaigns without a majority of attackers.
        seconds: CPU-seconds of the replay.
    """

    day: Day
    keys: dict[str, KeyResult]
    mixed: list[MixedCampaign]
    seconds: float


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
        source = label.source or ""
        results[key] = KeyResult(label.kind, label.attack, fleet, source, len(times), until)
    mixed = []
    for name, members in campaigns.items():
        known = [key for key in sorted(members) if key in day.labels]
        if 2 * sum(day.labels[key].attack for key in known) < len(known):
            kinds = Counter(day.labels[key].kind for key in known)
            mixed.append(MixedCampaign(day.name, name, known, dict(kinds.most_common())))
    return DayResult(day, results, mixed, seconds)

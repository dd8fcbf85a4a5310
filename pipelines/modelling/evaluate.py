"""Evaluating: labelled traffic through the engine, and how well it tells who copies the model.

Labels say of each key what it really is, `{api_key: {"class": …, "campaign": …}}`, as `xm simulate`
writes them. A key that is part of a campaign is an attacker, any other is ordinary. A key is
accused by an alert that is a warning or worse, be it about the key or about a campaign that names
it. Recall is the share of a class's attackers that are accused, of those with 20 requests or more:
a key with fewer has not taken anything. False keys are accused and ordinary. A labelled campaign is
held against the one of those found that has most of its keys.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.detectors import JUDGES
from monitor.detectors.base import Evaluation
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.linker import Linker
from monitor.records.baseline import Baseline
from monitor.records.migrations import read
from monitor.records.profile import DAY, HOUR, RECORD, Records
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import LineFile, Progress, no_progress
from pipelines.traffic.replay import PARTITION, replay_file

LEAST = 20  # requests
NEITHER = {"evaluator"}  # classes that are left out: a benchmark run once is no attack
MANY = 10  # keys of a labelled campaign that should be found as one
ANY, CAMPAIGN = "any", "campaign"
_QUANTILES = (0.5, 0.9)
_THRESHOLDS = 10.0 ** -np.arange(0.0, 12.25, 0.25)

Floats = npt.NDArray[np.float64]


class Label(msgspec.Struct, frozen=True):
    """What a key really is."""

    kind: str = msgspec.field(name="class")
    campaign: str | None = None


class Class(msgspec.Struct, frozen=True):
    """A class of keys: how many there are, and how many are judged."""

    name: str
    attack: bool
    keys: int
    judged: int


class Score(msgspec.Struct, frozen=True):
    """How one kind of alert does, or all together.

    Attributes:
        recall: by class of attack, and `all`.
        requests: by class of attack, and `all`: the median and the 90th percentile of the requests
            of an accused key up to its first accusation.
        false_keys: by ordinary class, and `all`.
        trade_off: for thresholds on the probability: the threshold, false keys a day, recall.
    """

    name: str
    recall: dict[str, float]
    requests: dict[str, tuple[int, int]]
    false_keys: dict[str, int]
    false_keys_a_day: float
    trade_off: list[tuple[float, float, float]]


class Match(msgspec.Struct, frozen=True):
    """A labelled campaign, and the one of those found that has most of its keys.

    Attributes:
        keys: of the labelled campaign, those with enough requests.
        found: the id of the best; `None` if none has any.
        recall: share of the keys that it names.
        precision: share of those it names that are of the labelled campaign.
    """

    name: str
    keys: int
    found: str | None
    recall: float
    precision: float | None


class Report(msgspec.Struct, frozen=True):
    """What is printed."""

    requests: int
    hours: float  # of event time
    days: float  # the same, but what is shorter than a day counts as one
    warning: float  # the probability at which keys are accused
    classes: list[Class]
    left_out: dict[str, tuple[int, int]]  # of classes that are neither: accused keys, and all
    unlabelled: int  # keys
    scores: list[Score]  # the last is of all together
    campaigns: list[Match]


@dataclass(slots=True)
class Witness:
    """What detectors said of each key, and what was said of it in alerts.

    Attributes:
        smallest: by key, the smallest probability of each detector.
        accused: by kind of alert, the requests of each key up to its first accusation.
        campaigns: by id, the keys that each campaign's last alert names.
    """

    smallest: dict[str, Floats] = field(default_factory=dict)
    accused: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    campaigns: dict[str, set[str]] = field(default_factory=dict)
    _requests: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # up to each look

    def __call__(self, looks: Evaluation) -> None:
        p = np.stack([finding.p for finding in looks.findings], axis=1)
        requests = looks.profile["requests"].tolist()
        for key, ts, row, count in zip(looks.keys, looks.ts.tolist(), p, requests, strict=True):
            before = self.smallest.get(key)
            self.smallest[key] = row if before is None else np.minimum(before, row)
            self._requests.setdefault(key, []).append((ts, count))

    def hear(self, alerts: Iterable[Alert]) -> None:
        """Take the alerts that came of the looks since the last ones."""
        for alert in alerts:
            if alert.state == "resolved" or alert.severity == "info":
                continue
            keys = [alert.subject.id]
            if alert.subject.type == "campaign":
                keys = alert.subject.members
                self.campaigns[alert.subject.id] = set(keys)
            for key in keys:
                for kind in (alert.kind, ANY):
                    if key not in self.accused[kind]:
                        self.accused[kind][key] = self._until(key, alert.detected_at)
        for looks in self._requests.values():
            del looks[:-1]  # the last is for alerts of campaigns, which come between looks

    def _until(self, key: str, at: float) -> int:
        """The requests of a key up to then, as far as they were looked at."""
        looks = self._requests.get(key, [])
        return next((count for ts, count in reversed(looks) if ts <= at), 0)


class Trial(NamedTuple):
    """What a replay of labelled traffic left behind.

    Attributes:
        records: by key, as its last request left them, `(n,) RECORD`.
    """

    keys: list[str]
    labels: list[Label]
    records: Records
    log: Witness
    baseline: Baseline
    requests: int
    unlabelled: int

    @property
    def hours(self) -> float:
        seen = self.records["last_seen"].max() - self.records["first_seen"].min()
        return float(seen) / HOUR

    @property
    def days(self) -> float:
        return max(self.hours * HOUR / DAY, 1.0)


def read_labels(path: Path) -> dict[str, Label]:
    """The labels in a file.

    Raises:
        InputError: if there are none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Label])
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): name the file of labels with --labels."
        ) from error
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{path} holds no labels ({error}): name a file of JSON like "
            '{"KEY": {"class": "…", "campaign": "…" or null}}.'
        ) from error


def play(
    file: str,
    labels: Mapping[str, Label],
    settings: Settings,
    *,
    progress: Progress = no_progress,
) -> Trial:
    """Carry a file through an engine and a linker, keys as they are in it.

    Raises:
        InputError: if no key in it has a label.
    """
    store, log, requests = MemoryStore(), Witness(), 0
    identity = from_settings(settings, plain=True)
    engine = Engine(settings, identity, store, on_evaluation=log)
    linker = Linker(settings, store)
    with LineFile(file) as lines:
        for outcome in replay_file(engine, store, lines, linker):
            requests += outcome.events
            log.hear(outcome.alerts)
            progress(lines)
    store.commit(engine.checkpoint())
    found = zip(labels, store.load(list(labels)), strict=True)
    records = {key: read(data) for key, data in found if data is not None}
    if not records:
        raise InputError(
            f"No key in {file} has a label: name the labels of this very traffic with --labels."
        )
    return Trial(
        list(records),
        [labels[key] for key in records],
        np.array(list(records.values()), RECORD),
        log,
        engine.partitions[PARTITION].baseline,
        requests,
        len(store.records) - len(records),
    )


def judge(trial: Trial, settings: Settings) -> Report:
    """Hold what was said against the labels."""
    everyone = Counter(label.kind for label in trial.labels)
    campaigning = {label.kind for label in trial.labels if label.campaign}
    attacks = {name: judged(trial, [name]) for name in sorted(campaigning)}
    ordinary, neither = (
        {name: judged(trial, [name]) for name in sorted(names)}
        for names in (
            everyone.keys() - campaigning - NEITHER,
            everyone.keys() & NEITHER - campaigning,
        )
    )
    detectors = [detector.name for detector in JUDGES]
    others = sorted({*trial.log.accused, CAMPAIGN} - {*detectors, ANY})
    together = trial.log.accused[ANY]
    return Report(
        requests=trial.requests,
        hours=trial.hours,
        days=trial.days,
        warning=settings.detection.warning,
        classes=[
            Class(name, name in attacks, everyone[name], len(keys))
            for name, keys in (*attacks.items(), *ordinary.items())
        ],
        left_out={
            name: (sum(key in together for key in keys), len(keys))
            for name, keys in neither.items()
        },
        unlabelled=trial.unlabelled,
        scores=[_score(trial, name, attacks, ordinary) for name in (*detectors, *others, ANY)],
        campaigns=matches(trial, attacks),
    )


def matches(trial: Trial, attacks: Mapping[str, list[str]]) -> list[Match]:
    """Every labelled campaign of enough keys, and how well it was found as one."""
    campaign = {key: label.campaign for key, label in zip(trial.keys, trial.labels, strict=True)}
    really = defaultdict(set)
    for key in (key for keys in attacks.values() for key in keys):
        if name := campaign[key]:
            really[name].add(key)
    found = []
    for name, keys in sorted(really.items()):
        if len(keys) < MANY:
            continue
        both = {c: len(named & keys) for c, named in trial.log.campaigns.items()}
        best = max(both, key=both.__getitem__, default="")
        if not both.get(best):
            found.append(Match(name, len(keys), None, 0.0, None))
            continue
        named = len(trial.log.campaigns[best])
        found.append(Match(name, len(keys), best, both[best] / len(keys), both[best] / named))
    return found


def judged(trial: Trial, kinds: Iterable[str]) -> list[str]:
    """The keys of some classes, attackers with too few requests left out."""
    wanted = set(kinds)
    requests = trial.records["requests"].tolist()
    return [
        key
        for key, label, count in zip(trial.keys, trial.labels, requests, strict=True)
        if label.kind in wanted and (label.campaign is None or count >= LEAST)
    ]


def _score(
    trial: Trial, name: str, attacks: Mapping[str, list[str]], ordinary: Mapping[str, list[str]]
) -> Score:
    accused = trial.log.accused[name]
    attacks, ordinary = (
        {**classes, "all": [key for keys in classes.values() for key in keys]}
        for classes in (attacks, ordinary)
    )
    used = {
        kind: [accused[key] for key in keys if key in accused] for kind, keys in attacks.items()
    }
    false = {kind: sum(key in accused for key in keys) for kind, keys in ordinary.items()}
    return Score(
        name=name,
        recall={kind: len(used[kind]) / len(keys) for kind, keys in attacks.items() if keys},
        requests={kind: _quantiles(counts) for kind, counts in used.items() if counts},
        false_keys=false,
        false_keys_a_day=false["all"] / trial.days,
        trade_off=_trade_off(
            smallest(trial, name, attacks["all"]),
            smallest(trial, name, ordinary["all"]),
            trial.days,
        ),
    )


def smallest(trial: Trial, name: str, keys: Sequence[str]) -> Floats:
    """The smallest probability that a detector, or any, ever gave each key, `(n,)`; 1 if none."""
    names = [detector.name for detector in JUDGES]
    nothing = np.ones(len(names))
    p = np.array([trial.log.smallest.get(key, nothing) for key in keys]).reshape(-1, len(names))
    if name in names:
        return np.asarray(p[:, names.index(name)])
    return p.min(axis=1, initial=1.0) if name == ANY else np.ones(len(keys))


def _trade_off(
    attackers: Floats, ordinary: Floats, days: float
) -> list[tuple[float, float, float]]:
    """Threshold, false keys a day and recall, for thresholds on the probability."""
    recall = (attackers <= _THRESHOLDS[:, None]).sum(axis=1) / max(len(attackers), 1)
    false = (ordinary <= _THRESHOLDS[:, None]).sum(axis=1) / days
    return list(zip(_THRESHOLDS.tolist(), false.tolist(), recall.tolist(), strict=True))


def _quantiles(used: list[int]) -> tuple[int, int]:
    ranked = sorted(used)
    median, late = (ranked[min(len(ranked) - 1, int(q * len(ranked)))] for q in _QUANTILES)
    return median, late

"""Evaluation: replay labelled traffic, and measure recall, false alerts and requests to detection.

Labels have the class and campaign of each key (`traffic/labels.py`). A key with a campaign is an
attacker; any other key is ordinary. A key is flagged by a warning or critical alert, about itself
or about a campaign with it as a member. Recall is the share of a class's attackers that are
flagged, among those with 20 requests or more: a key with fewer has not extracted anything. A false
key is an ordinary key that is flagged. Each labelled campaign is compared with the detected one
that has most of its keys.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.detectors.base import Evaluation
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.records.baseline import Baseline
from monitor.records.migrations import read
from monitor.records.profile import DAY, HOUR, RECORD, Records
from monitor.requests.decoder import Decoder
from pipelines.traffic.files import Progress, no_progress
from pipelines.traffic.labels import Label
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import PARTITION, Replayed, replay_recording

MIN_REQUESTS = 20  # of an attacker that counts in recall
EXCLUDED_CLASSES = {"evaluator"}  # neither attack nor ordinary: a single run of a benchmark
MIN_CAMPAIGN_KEYS = 10  # of a labelled campaign that is compared with the detected ones
ANY, CAMPAIGN = "any", "campaign"
_QUANTILES = (0.5, 0.9)  # of requests to detection
_THRESHOLDS = 10.0 ** -np.arange(0.0, 12.25, 0.25)

Floats = npt.NDArray[np.float64]


class ClassCount(msgspec.Struct, frozen=True):
    """The size of a class.

    Attributes:
        attack: whether its keys are attackers.
        keys: number of keys.
        eligible: number of keys that count, all but attackers with too few requests.
    """

    name: str
    attack: bool
    keys: int
    eligible: int = msgspec.field(name="judged")


class Score(msgspec.Struct, frozen=True):
    """The performance of one kind of alert, or of all.

    Attributes:
        name: the kind, or "any".
        recall: by class of attack, and for "all".
        requests: by class of attack, and for "all": the median and the 90th percentile of a
            flagged key's requests until it was flagged.
        false_keys: by ordinary class, and for "all".
        false_keys_per_day: per day of event time.
        trade_off: (threshold on the probability, false keys per day, recall), loosest first.
    """

    name: str
    recall: dict[str, float]
    requests: dict[str, tuple[int, int]]
    false_keys: dict[str, int]
    false_keys_per_day: float = msgspec.field(name="false_keys_a_day")
    trade_off: list[tuple[float, float, float]]


class CampaignMatch(msgspec.Struct, frozen=True):
    """A labelled campaign, and the detected campaign that has most of its keys.

    Attributes:
        keys: number of keys with enough requests.
        found: the id of the detected campaign; `None` if none has any of the keys.
        recall: share of the keys that are its members.
        precision: share of its members that are keys of the labelled campaign; `None` if none.
    """

    name: str
    keys: int
    found: str | None
    recall: float
    precision: float | None


class EvaluationReport(msgspec.Struct, frozen=True):
    """The result of an evaluation, the output of `xm evaluate --json`.

    Attributes:
        requests: number of requests.
        hours: of event time.
        days: of event time, at least 1.
        warning: the probability at which a key is flagged.
        excluded: by class that is neither attack nor ordinary: flagged keys, and all keys.
        unlabelled: number of keys without a label.
        scores: by kind of alert; the last is for any kind.
    """

    requests: int
    hours: float
    days: float
    warning: float
    classes: list[ClassCount]
    excluded: dict[str, tuple[int, int]] = msgspec.field(name="left_out")
    unlabelled: int
    scores: list[Score]
    campaigns: list[CampaignMatch]


@dataclass(slots=True)
class ReplayLog:
    """Collects evaluations and alerts during a replay.

    Attributes:
        smallest: by key, the smallest probability of each detector, `(detectors,)`.
        flagged: by kind of alert and key, the requests until the key was flagged.
        campaigns: by id, the members in the campaign's last alert.
    """

    smallest: dict[str, Floats] = field(default_factory=dict)
    flagged: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    campaigns: dict[str, set[str]] = field(default_factory=dict)
    _requests: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # by evaluation

    def __call__(self, evaluation: Evaluation) -> None:
        p = np.stack([finding.p for finding in evaluation.findings], axis=1)
        requests = evaluation.profile["requests"].tolist()
        rows = zip(evaluation.keys, evaluation.ts.tolist(), p, requests, strict=True)
        for key, ts, row, count in compress(rows, evaluation.of_keys):
            before = self.smallest.get(key)
            self.smallest[key] = row if before is None else np.minimum(before, row)
            self._requests.setdefault(key, []).append((ts, count))

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        """Add the alerts of one batch, after its evaluations."""
        for alert in alerts:
            if alert.state == "resolved" or alert.severity == "info":
                continue
            if alert.subject.type in ("account", "end_user"):  # not among the labelled keys
                continue
            keys = [alert.subject.id]
            if alert.subject.type == "campaign":
                keys = alert.subject.members
                self.campaigns[alert.subject.id] = set(keys)
            for key in keys:
                for kind in (alert.kind, ANY):
                    if key not in self.flagged[kind]:
                        self.flagged[kind][key] = self._requests_until(key, alert.detected_at)
        for counts in self._requests.values():
            del counts[:-1]  # campaign alerts come between evaluations and need the last one

    def _requests_until(self, key: str, at: float) -> int:
        """The requests of a key at its last evaluation up to `at`, in seconds since the epoch."""
        counts = self._requests.get(key, [])
        return next((count for ts, count in reversed(counts) if ts <= at), 0)


class LabelledReplay(NamedTuple):
    """The state after a replay of labelled traffic.

    Attributes:
        keys: the labelled API keys seen.
        labels: their labels.
        records: their final records, `(n,) RECORD`.
        baseline: the final baseline.
        requests: number of requests.
        unlabelled: number of keys without a label.
    """

    keys: list[str]
    labels: list[Label]
    records: Records
    log: ReplayLog
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


def replay_labelled(
    file: str,
    labels: Mapping[str, Label],
    settings: Settings,
    *,
    progress: Progress = no_progress,
) -> LabelledReplay:
    """Replay a file through an engine and a linker, with API keys as pseudonyms.

    Raises:
        InputError: the file cannot be read, or no key in it has a label.
    """
    identity = from_settings(settings, plain=True)

    def run(recording: Recording) -> tuple[ReplayLog, Replayed]:
        log = ReplayLog()
        replayed = replay_recording(
            recording,
            settings,
            identity,
            on_evaluation=log,
            on_outcome=lambda outcome: log.add_alerts(outcome.alerts),
        )
        return log, replayed

    log, replayed = Recording([file], Decoder.of(settings), progress=progress).run(run)
    if replayed.damage is not None:
        raise replayed.damage
    store, engine, summary = replayed.store, replayed.engine, replayed.summary
    if not summary.read:
        raise InputError(summary.rejected.why_nothing([file]))
    store.commit(engine.snapshot())
    found = zip(labels, store.load(list(labels)), strict=True)
    records = {key: read(data) for key, data in found if data is not None}
    if not records:
        raise InputError(
            f"No key in {file} has a label. Name the labels file of this traffic with --labels."
        )
    return LabelledReplay(
        list(records),
        [labels[key] for key in records],
        np.array(list(records.values()), RECORD),
        log,
        engine.partitions[PARTITION].baseline,
        summary.events,
        len(store.records) - len(records),
    )


def build_report(replay: LabelledReplay, settings: Settings) -> EvaluationReport:
    """Compare the alerts of a replay with its labels."""
    sizes = Counter(label.kind for label in replay.labels)
    attacking = {label.kind for label in replay.labels if label.campaign}
    attacks = {name: eligible_keys(replay, [name]) for name in sorted(attacking)}
    ordinary, excluded = (
        {name: eligible_keys(replay, [name]) for name in sorted(names)}
        for names in (
            sizes.keys() - attacking - EXCLUDED_CLASSES,
            sizes.keys() & EXCLUDED_CLASSES - attacking,
        )
    )
    detectors = [detector.name for detector in ALL_DETECTORS]
    others = sorted({*replay.log.flagged, CAMPAIGN} - {*detectors, ANY})
    flagged = replay.log.flagged[ANY]
    return EvaluationReport(
        requests=replay.requests,
        hours=replay.hours,
        days=replay.days,
        warning=settings.detection.warning,
        classes=[
            ClassCount(name, name in attacks, sizes[name], len(keys))
            for name, keys in (*attacks.items(), *ordinary.items())
        ],
        excluded={
            name: (sum(key in flagged for key in keys), len(keys))
            for name, keys in excluded.items()
        },
        unlabelled=replay.unlabelled,
        scores=[_score(replay, name, attacks, ordinary) for name in (*detectors, *others, ANY)],
        campaigns=match_campaigns(replay, attacks),
    )


def match_campaigns(
    replay: LabelledReplay, attacks: Mapping[str, list[str]]
) -> list[CampaignMatch]:
    """Match each labelled campaign of enough keys with a detected one.

    Args:
        attacks: the eligible keys of each class of attack.
    """
    campaign = {key: label.campaign for key, label in zip(replay.keys, replay.labels, strict=True)}
    labelled = defaultdict(set)
    for key in (key for keys in attacks.values() for key in keys):
        if name := campaign[key]:
            labelled[name].add(key)
    matches = []
    for name, keys in sorted(labelled.items()):
        if len(keys) < MIN_CAMPAIGN_KEYS:
            continue
        common = {c: len(members & keys) for c, members in replay.log.campaigns.items()}
        best = max(common, key=common.__getitem__, default="")
        if not common.get(best):
            matches.append(CampaignMatch(name, len(keys), None, 0.0, None))
            continue
        recall = common[best] / len(keys)
        precision = common[best] / len(replay.log.campaigns[best])
        matches.append(CampaignMatch(name, len(keys), best, recall, precision))
    return matches


def eligible_keys(replay: LabelledReplay, classes: Iterable[str]) -> list[str]:
    """The keys of some classes, without attackers that have too few requests."""
    wanted = set(classes)
    requests = replay.records["requests"].tolist()
    return [
        key
        for key, label, count in zip(replay.keys, replay.labels, requests, strict=True)
        if label.kind in wanted and (label.campaign is None or count >= MIN_REQUESTS)
    ]


def _score(
    replay: LabelledReplay,
    name: str,
    attacks: Mapping[str, list[str]],
    ordinary: Mapping[str, list[str]],
) -> Score:
    flagged = replay.log.flagged[name]
    attacks, ordinary = (
        {**classes, "all": [key for keys in classes.values() for key in keys]}
        for classes in (attacks, ordinary)
    )
    requests = {
        kind: [flagged[key] for key in keys if key in flagged] for kind, keys in attacks.items()
    }
    false = {kind: sum(key in flagged for key in keys) for kind, keys in ordinary.items()}
    return Score(
        name=name,
        recall={kind: len(requests[kind]) / len(keys) for kind, keys in attacks.items() if keys},
        requests={kind: _quantiles(counts) for kind, counts in requests.items() if counts},
        false_keys=false,
        false_keys_per_day=false["all"] / replay.days,
        trade_off=_trade_off(
            smallest_probabilities(replay, name, attacks["all"]),
            smallest_probabilities(replay, name, ordinary["all"]),
            replay.days,
        ),
    )


def smallest_probabilities(replay: LabelledReplay, name: str, keys: Sequence[str]) -> Floats:
    """The smallest probability of a detector for each key, 1 if never evaluated.

    Args:
        name: of the detector, or "any".

    Returns:
        `(len(keys),)`.
    """
    names = [detector.name for detector in ALL_DETECTORS]
    never = np.ones(len(names))
    p = np.array([replay.log.smallest.get(key, never) for key in keys]).reshape(-1, len(names))
    if name in names:
        return np.asarray(p[:, names.index(name)])
    return p.min(axis=1, initial=1.0) if name == ANY else np.ones(len(keys))


def _trade_off(
    attackers: Floats, ordinary: Floats, days: float
) -> list[tuple[float, float, float]]:
    """(threshold, false keys per day, recall) for each threshold on the probability."""
    recall = (attackers <= _THRESHOLDS[:, None]).sum(axis=1) / max(len(attackers), 1)
    false = (ordinary <= _THRESHOLDS[:, None]).sum(axis=1) / days
    return list(zip(_THRESHOLDS.tolist(), false.tolist(), recall.tolist(), strict=True))


def _quantiles(requests: list[int]) -> tuple[int, int]:
    ranked = sorted(requests)
    median, high = (ranked[min(len(ranked) - 1, int(q * len(ranked)))] for q in _QUANTILES)
    return median, high

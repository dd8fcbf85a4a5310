"""Evaluation: recall, requests to detection and false alerts on replayed labelled traffic.

A key is flagged by a warning or critical alert, about itself or about a campaign with it as a
member. Recall is the share of a class's attackers that are flagged, among those with 20 requests or
more: a key with fewer has not extracted anything. A false key is an ordinary key that is flagged.
Both have intervals (`results.py`). Each labelled campaign is compared with the detected one that
has most of its keys.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from pipelines.modelling.labelled_replay import ANY, Floats, LabelledReplay
from pipelines.modelling.results import (
    MIN_REQUESTS,
    FalseKeys,
    KeyResult,
    Recall,
    false_keys_of,
    mean_recall,
    quantiles,
    recall_of,
)
from pipelines.modelling.sources import data_seen

EXCLUDED_CLASSES = {"evaluator"}  # neither attack nor ordinary: a single run of a benchmark
MIN_CAMPAIGN_KEYS = 10  # of a labelled campaign that is compared with the detected ones
CAMPAIGN = "campaign"
_THRESHOLDS = 10.0 ** -np.arange(0.0, 12.25, 0.25)


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
        attacks: recall of each class of attack and of each source of its prompts.
        ordinary: flagged keys of each ordinary class and of each source of its prompts.
        mean_recall: over classes of attack, and its 95% interval.
        seen: where the data of the models and of the baseline are from.
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
    attacks: list[Recall]
    ordinary: list[FalseKeys]
    mean_recall: tuple[float, float, float]
    seen: dict[str, str]


def build_report(replay: LabelledReplay, settings: Settings) -> EvaluationReport:
    """Compare the alerts of a replay with its labels."""
    sizes = Counter(label.kind for label in replay.labels)
    attacking = {label.kind for label in replay.labels if label.attack}
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
    flagged, results = replay.log.flagged[ANY], key_results(replay)
    recall = recall_of(results)
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
        attacks=recall,
        ordinary=false_keys_of(results),
        mean_recall=mean_recall(recall),
        seen=data_seen(settings),
    )


def key_results(replay: LabelledReplay) -> list[KeyResult]:
    """What happened to each labelled key, except those of excluded classes."""
    kinds = [(kind, keys) for kind, keys in replay.log.flagged.items() if kind != ANY]
    requests = replay.records["requests"].tolist()
    return [
        KeyResult(
            label.kind,
            label.attack,
            label.campaign or key,
            label.source or "",
            count,
            {kind: keys[key] for kind, keys in kinds if key in keys},
        )
        for key, label, count in zip(replay.keys, replay.labels, requests, strict=True)
        if label.attack or label.kind not in EXCLUDED_CLASSES
    ]


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
        if label.kind in wanted and (not label.attack or count >= MIN_REQUESTS)
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
        requests={kind: found for kind, counts in requests.items() if (found := quantiles(counts))},
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

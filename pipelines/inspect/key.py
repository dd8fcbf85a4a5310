"""Explain one key: each detector's result with its evidence, and the key's activity.

Each value comes with quantiles of ordinary keys. For peaks of a day they are those of the baseline;
for all other values they are those of other, unflagged keys as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from monitor.alerting.alerts import SEVERITIES, Action, Alert, Severity
from monitor.alerting.decisions import Decision
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.detectors.base import Detector, Finding, Floats, Unit
from monitor.records.baseline import Baseline
from monitor.records.profile import (
    DISTINCT,
    LEVELS,
    LONG,
    MAX_LEVEL,
    PER_LEVEL,
    RECORD,
    Profile,
    Records,
)
from monitor.sketches import hyperloglog
from monitor.sketches.habits import model_counts
from pipelines.inspect.decisions import Held
from pipelines.inspect.what_if import counterfactuals

QUANTILES = (0.05, 0.5, 0.95, 0.999)
MIN_REQUESTS = 20  # of another key that counts as ordinary
MIN_KEYS, MAX_KEYS = 20, 1_000  # other keys
_DISTINCT_LABELS = {"cells": "kinds", "systems": "system prompts"}

Quantiles = tuple[float | None, ...]


class Fact(msgspec.Struct, frozen=True):
    """A value of the key, and the QUANTILES of ordinary keys."""

    name: str
    value: float
    label: str
    unit: Unit
    ordinary: Quantiles = (None,) * len(QUANTILES)
    error: float = 0.0  # standard
    shown: bool = True  # False if the summary states the value


class DetectorReport(msgspec.Struct, frozen=True):
    """A detector's result at time `at`.

    Attributes:
        at, since: event time of the evaluation, and of the start of its window; epoch seconds.
        probability: that an ordinary key gets such a result within a day.
        counterfactuals: sentences on what would change the severity.
        severity: of the open alert, `None` without one.
        opened, upheld: event times when the alert opened and when evidence last supported it.
    """

    kind: str
    at: float
    probability: float
    summary: str
    since: float
    facts: list[Fact]
    counterfactuals: list[str] = msgspec.field(name="differences")
    severity: Severity | None
    opened: float
    upheld: float


class KeyActivity(msgspec.Struct, frozen=True):
    """The key's activity up to its last request."""

    requests: int
    tokens: int
    first_seen: float
    last_seen: float
    by_hour: list[int]  # requests in each of the last 24 clock hours, oldest first
    rhythm: list[int]  # requests by hour of the day, UTC
    models: dict[str, float]  # recent share of requests, by the hash of the model's name
    facts: list[Fact]


class Membership(msgspec.Struct, frozen=True):
    """An open campaign that the key is a member of."""

    campaign: str
    severity: Severity
    since: float  # event time when the campaign's alert opened
    members: int


class Explanation(msgspec.Struct, frozen=True):
    """Everything that `xm explain` shows about a key."""

    key: str
    baseline: str = msgspec.field(name="public")  # the partition whose baseline was used
    key_days: float
    others: int
    thresholds: dict[Severity, float]
    decision: Action
    until: float | None  # when the decision ends: clock time; event time in a replay
    steps: list[tuple[Action, float]]  # the actions after it, and when each ends
    shadow: bool | None  # whether decisions are only recorded; None if that is unknown
    detectors: list[DetectorReport] = msgspec.field(name="words")
    activity: KeyActivity = msgspec.field(name="portrait")
    alerts: list[Alert]  # about the key: all in a replay, else those that the alert book has
    campaigns: list[Membership] = []
    replay: bool = False
    applies: Action = "observe"  # what gateways enforce
    why: Held = ""  # what holds the decision back


def explain_record(
    key: str,
    record: np.void,
    baseline: Baseline,
    settings: Settings,
    *,
    partition: str,
    others: Records,
    decision: Decision | None,
    now: float,
    shadow: bool | None,
    applies: Action = "observe",
    why: Held = "",
    alerts: Sequence[Alert] = (),
    campaigns: Sequence[Membership] = (),
    replay: bool = False,
    evaluations: Mapping[str, tuple[float, np.void, Baseline]] | None = None,
    detectors: Sequence[Detector] = ALL_DETECTORS,
) -> Explanation:
    """Explain a key.

    Args:
        record: the key's record after its last request.
        partition: name of the partition that `baseline` belongs to.
        others: records of other keys, see `ordinary_records`.
        decision: the decision in force.
        now: clock time, epoch seconds; event time in a replay.
        shadow: whether decisions are only recorded; `None` if that is unknown.
        applies: what gateways enforce.
        why: what holds the decision back.
        replay: whether the key was seen in a replay.
        evaluations: by detector, the time, record and baseline to evaluate instead of `record`
            and `baseline`.
    """
    seen = float(record["last_seen"])
    steps = [each for each in decision.ends if now < each[1]] if decision else []
    reports = []
    for detector in detectors:
        at, evaluated, used = (evaluations or {}).get(detector.name, (seen, record, baseline))
        reports.append(_report(detector, at, evaluated, record, used, others, settings))
    detection = settings.detection
    return Explanation(
        key=key,
        baseline=partition,
        key_days=float(baseline.total[0]),
        others=len(others),
        thresholds={severity: getattr(detection, severity) for severity in SEVERITIES},
        decision=steps[0][0] if steps else "observe",
        until=steps[0][1] if steps else None,
        steps=steps[1:],
        shadow=shadow,
        detectors=reports,
        activity=_activity(record, baseline, others),
        alerts=list(alerts),
        campaigns=list(campaigns),
        replay=replay,
        applies=applies,
        why=why,
    )


def ordinary_records(records: Iterable[np.void]) -> Records:
    """The first MAX_KEYS records of keys with enough requests and no alert above info."""
    found = []
    for record in records:
        if record["requests"] >= MIN_REQUESTS and record["severity"].max() < 2:
            found.append(record)
            if len(found) == MAX_KEYS:
                break
    return np.array(found, RECORD)


def _report(
    detector: Detector,
    at: float,
    evaluated: np.void,
    record: np.void,
    baseline: Baseline,
    others: Records,
    settings: Settings,
) -> DetectorReport:
    rows = np.array([evaluated], RECORD)
    finding = detector(Profile(rows), baseline)
    evidence = {name: float(values[0]) for name, values in finding.evidence.items()}
    facts = evidence_facts(detector, finding, baseline, others)
    slot = detector.slot
    severity = int(record["severity"][slot])
    return DetectorReport(
        kind=detector.name,
        at=at,
        probability=float(finding.p[0]),
        summary=detector.summary(evidence),
        since=float(finding.since[0]),
        facts=facts,
        counterfactuals=counterfactuals(detector, rows, baseline, settings.detection),
        severity=SEVERITIES[severity - 1] if severity else None,
        opened=float(record["opened"][slot]),
        upheld=float(record["confirmed"][slot]),
    )


def evidence_facts(
    detector: Detector, finding: Finding, baseline: Baseline, others: Records
) -> list[Fact]:
    """The evidence of a finding on one key, beside what is ordinary."""
    of_others = detector(Profile(others), baseline).evidence if len(others) else {}
    peaks = _peaks(baseline)
    facts = []
    for name, values in finding.evidence.items():
        unit, label, level, shown = detector.evidence[name]
        ordinary = (
            _quantiles(of_others.get(name, np.empty(0)))
            if level is None
            else tuple(_from_level(float(peak[level]), unit) for peak in peaks)
        )
        label = label or name.replace("_", " ")
        facts.append(Fact(name, float(values[0]), label, unit, ordinary, shown=shown))
    return facts


def _activity(record: np.void, baseline: Baseline, others: Records) -> KeyActivity:
    profile, other_keys = Profile(np.array([record], RECORD)), Profile(others)
    mean = baseline.mean.meaning
    known = np.isfinite(mean.uncertainty)

    def deviation(keys: Profile) -> Floats:
        return keys.meaning.squared_distance(mean.mean, mean.uncertainty if known else 0.0)

    measures: list[tuple[str, str, Unit, Callable[[Profile], Floats]]] = [
        (
            "self-similarity",
            "prompt similarity",
            "score",
            lambda keys: keys.meaning.self_similarity,
        ),
        ("deviation", "baseline distance", "score", deviation),
        ("novelty", "new kinds", "share", lambda keys: keys.novelty),
        *(
            (label, label, "share", partial(_share, field=field))
            for label, field in (
                ("follow-ups", "follow_ups"),
                ("tiny last turns", "tiny_turns"),
                ("unexplained input", "unexplained"),
                ("unreadable prompts", "unreadable"),
            )
        ),
        (
            "reused ids",
            "reused ids",
            "share",
            lambda keys: keys["reused_ids"] / np.maximum(keys["requests"], 1),
        ),
    ]
    facts = []
    for name, label, unit, measure in measures:
        ordinary = _quantiles(measure(other_keys) if len(others) else [])
        facts.append(Fact(name, float(measure(profile)[0]), label, unit, ordinary))
    for kind in DISTINCT:
        count = float(profile.distinct(kind)[0])
        ordinary = _quantiles(other_keys.distinct(kind) if len(others) else [])
        label = f"different {_DISTINCT_LABELS.get(kind, kind.replace('_', ' '))}"
        error = hyperloglog.ERROR * count
        facts.append(Fact(f"different {kind}", count, label, "count", ordinary, error))
    head = int(record["long_head"])
    panes = [int(record["long_requests"][pane % LONG.panes]) for pane in _last(head, LONG.panes)]
    counts = model_counts(record["model_names"], record["model_counts"])
    total = sum(counts.values())
    return KeyActivity(
        requests=int(record["requests"]),
        tokens=round(float(record["tokens"])),
        first_seen=float(record["first_seen"]),
        last_seen=float(record["last_seen"]),
        by_hour=panes,
        rhythm=record["rhythm"].tolist(),
        models={
            f"{name:08x}": count / total
            for name, count in sorted(counts.items(), key=lambda each: -each[1])
        },
        facts=facts,
    )


def _share(keys: Profile, field: str) -> Floats:
    return np.asarray(keys[field].astype(np.float64))


def _last(head: int, panes: int) -> range:
    return range(head - panes + 1, head + 1)


def _peaks(baseline: Baseline) -> list[Floats]:
    """Levels that QUANTILES of ordinary keys do not exceed in a day, `(LEVELS,) float64` each."""
    levels = np.arange(0.0, MAX_LEVEL, 1.0 / PER_LEVEL)
    tails = baseline.tail(slice(0, LEVELS), np.repeat(levels[:, None], LEVELS, axis=1))
    return [
        np.asarray(levels[np.maximum((tails > 1.0 - share).sum(axis=0) - 1, 0)])
        for share in QUANTILES
    ]


def _from_level(level: float, unit: Unit) -> float:
    """Convert a level of the record to the unit of an evidence value, nats or a count."""
    return 2.0 * level if unit == "nats" else 2.0**level - 1.0


def _quantiles(values: Sequence[float] | Floats) -> Quantiles:
    """The QUANTILES of some values; `None` where there are too few values."""
    enough = [len(values) * (1 - q) >= 1 and len(values) >= MIN_KEYS for q in QUANTILES]
    wanted = [q for q, known in zip(QUANTILES, enough, strict=True) if known]
    found = iter(np.quantile(values, wanted).tolist() if wanted else ())
    return tuple(next(found) if known else None for known in enough)

"""All that is known of one key: what each detector says and why, and what the key does.

Every number stands beside those of ordinary keys. What a day's peaks are the public knows; for all
else, some other keys that are not accused are looked at as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from monitor.alerting.alerts import SEVERITIES, Action, Alert, Severity
from monitor.alerting.decisions import Decision
from monitor.config import Settings
from monitor.detectors import JUDGES
from monitor.detectors.base import Detector, Floats
from monitor.prompts.lexicon import INTENTS
from monitor.records.baseline import PER_LEVEL, Baseline
from monitor.records.profile import (
    DISTINCT,
    ELICITATION,
    FARTHEST,
    KINDS,
    LEVELS,
    LONG,
    RECORD,
    REQUESTS,
    SCALES,
    TOKENS,
    Profile,
    Records,
)
from monitor.sketches import hyperloglog
from monitor.sketches.habits import shares
from pipelines.inspect.what_if import differences

QUANTILES = (0.05, 0.5, 0.95, 0.999)
LEAST = 20  # requests of another key before it tells what is ordinary, and keys of which it does
MOST = 1_000  # other keys
_ROWS = {  # of the public's histograms, and what a level is there
    **{f"requests_{name}": REQUESTS.start + i for i, name in enumerate(SCALES)},
    **{f"tokens_{name}": TOKENS.start + i for i, name in enumerate(SCALES)},
    **{f"{name}_nats": ELICITATION.start + i for i, name in enumerate(INTENTS)},
}
#: Evidence that says which window or intent a finding is of: the summary has it in words.
_TOLD = {"window_seconds", "of_tokens", "in_window", "intent", "ordinary_share"}

Quantiles = tuple[float | None, ...]


class Fact(msgspec.Struct, frozen=True):
    """A number of the key, and those below which QUANTILES of ordinary keys are."""

    name: str
    value: float
    ordinary: Quantiles = (None,) * len(QUANTILES)
    error: float = 0.0  # standard


class DetectorReport(msgspec.Struct, frozen=True):
    """What a detector says, as of `at`; severity and times are those of the alert that is open."""

    kind: str
    at: float
    probability: float
    summary: str
    since: float
    facts: list[Fact]
    differences: list[str]
    severity: Severity | None
    opened: float
    upheld: float


class KeyActivity(msgspec.Struct, frozen=True):
    """What the key does, as of its last request."""

    requests: int
    tokens: int
    first_seen: float
    last_seen: float
    by_hour: list[int]  # requests in the last 24 hours of the clock, the latest last
    rhythm: list[int]  # requests by hour of the day, UTC
    models: dict[str, float]  # shares, lately, by hash
    facts: list[Fact]


class Explanation(msgspec.Struct, frozen=True):
    """What is printed."""

    key: str
    baseline: str = msgspec.field(name="public")  # the partition whose baseline was used
    key_days: float
    others: int
    thresholds: dict[Severity, float]
    decision: Action
    until: float | None  # event time
    shadow: bool | None  # whether workers only record decisions; None if that is unknown
    detectors: list[DetectorReport] = msgspec.field(name="words")
    activity: KeyActivity = msgspec.field(name="portrait")
    alerts: list[Alert]  # about the key, where it is known what has been said


def explain(
    key: str,
    record: np.void,
    baseline: Baseline,
    settings: Settings,
    *,
    whose: str,
    others: Records,
    decision: Decision | None,
    shadow: bool | None,
    alerts: Sequence[Alert] = (),
    looks: Mapping[str, tuple[float, np.void, Baseline]] | None = None,
    detectors: Sequence[Detector] = JUDGES,
) -> Explanation:
    """Explain a key.

    Args:
        record: as the last request left it.
        whose: which partition the public is of.
        others: records of other keys, see `ordinary`.
        decision: in force.
        shadow: whether workers only record decisions; `None` if that is unknown.
        looks: by detector, when and at what it shall look if not at `record` and `public`.
    """
    now = float(record["last_seen"])
    words = []
    for detector in detectors:
        at, then, there = (looks or {}).get(detector.name, (now, record, baseline))
        words.append(_word(detector, at, then, record, there, others, settings))
    detection = settings.detection
    return Explanation(
        key=key,
        baseline=whose,
        key_days=float(baseline.total[0]),
        others=len(others),
        thresholds={severity: getattr(detection, severity) for severity in SEVERITIES},
        decision=decision.action if decision else "observe",
        until=decision.until if decision else None,
        shadow=shadow,
        detectors=words,
        activity=_portrait(record, baseline, others),
        alerts=list(alerts),
    )


def ordinary(records: Iterable[np.void]) -> Records:
    """Of some records, the first MOST of keys that tell what is ordinary."""
    found = []
    for record in records:
        if record["requests"] >= LEAST and record["severity"].max() < 2:
            found.append(record)
            if len(found) == MOST:
                break
    return np.array(found, RECORD)


def _word(
    detector: Detector,
    at: float,
    then: np.void,
    record: np.void,
    baseline: Baseline,
    others: Records,
    settings: Settings,
) -> DetectorReport:
    rows = np.array([then], RECORD)
    finding = detector(Profile(rows), baseline)
    evidence = {name: float(values[0]) for name, values in finding.evidence.items()}
    elsewhere = detector(Profile(others), baseline).evidence if len(others) else {}
    peaks = [_peaks(baseline, q) for q in QUANTILES]
    facts = []
    for name, value in evidence.items():
        if name in _TOLD:
            continue
        if name in _ROWS:
            ordinary: Quantiles = tuple(_unit(name, float(peak[_ROWS[name]])) for peak in peaks)
        else:
            ordinary = _quantiles(elsewhere.get(name, np.empty(0)))
        facts.append(Fact(name, value, ordinary))
    slot = KINDS.index(detector.name)
    severity = int(record["severity"][slot])
    return DetectorReport(
        kind=detector.name,
        at=at,
        probability=float(finding.p[0]),
        summary=detector.summary(evidence),
        since=float(finding.since[0]),
        facts=facts,
        differences=differences(detector, rows, baseline, settings.detection),
        severity=SEVERITIES[severity - 1] if severity else None,
        opened=float(record["opened"][slot]),
        upheld=float(record["upheld"][slot]),
    )


def _portrait(record: np.void, baseline: Baseline, others: Records) -> KeyActivity:
    profile, everyone = Profile(np.array([record], RECORD)), Profile(others)
    mean = baseline.mean.meaning
    known = np.isfinite(mean.uncertainty)

    def deviation(keys: Profile) -> Floats:
        return keys.meaning(0).squared_distance(mean.mean, mean.uncertainty if known else 0.0)

    facts = [
        Fact(name, float(value(profile)[0]), _quantiles(value(everyone) if len(others) else []))
        for name, value in (
            ("self-similarity", lambda keys: keys.meaning(0).self_similarity),
            ("deviation", deviation),
            ("novelty", lambda keys: keys.novelty),
            ("follow-ups", lambda keys: keys["followups"].astype(np.float64)),
        )
    ]
    for kind in DISTINCT:
        count = float(profile.distinct(kind)[0])
        ordinary = _quantiles(everyone.distinct(kind) if len(others) else [])
        facts.append(Fact(f"different {kind}", count, ordinary, hyperloglog.ERROR * count))
    head = int(record["long_head"])
    panes = [int(record["long_requests"][pane % LONG.panes]) for pane in _last(head, LONG.panes)]
    counts = shares(record["model_names"], record["model_counts"])
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


def _last(head: int, panes: int) -> range:
    return range(head - panes + 1, head + 1)


def _peaks(baseline: Baseline, share: float) -> Floats:
    """Levels that this share of ordinary keys stay below on a day, `(LEVELS,)`."""
    levels = np.arange(0.0, FARTHEST, 1.0 / PER_LEVEL)
    tails = baseline.tail(slice(0, LEVELS), np.repeat(levels[:, None], LEVELS, axis=1))
    return np.asarray(levels[np.maximum((tails > 1.0 - share).sum(axis=0) - 1, 0)])


def _unit(name: str, level: float) -> float:
    """What a level of the public's histograms is in the unit of the evidence."""
    return 2.0 * level if name.endswith("_nats") else 2.0**level - 1.0


def _quantiles(values: Sequence[float] | Floats) -> Quantiles:
    """As far as so many keys tell."""
    return tuple(
        float(np.quantile(values, q))
        if len(values) * (1 - q) >= 1 and len(values) >= LEAST
        else None
        for q in QUANTILES
    )

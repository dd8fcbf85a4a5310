"""Fit the weights of the campaign criteria to labelled days.

Every group that the linker evaluates on a day is a sample: a campaign if nearly all of its members
are attackers, none if nearly none is; others are left out. All evaluations of one fleet or of one
kind of honest group together count as one sample of its day, so a large fleet, or one that was
evaluated often, weighs no more than another.

The fit is a logistic regression on the places of the traits. Weights are not negative, shrink
towards one prior weight, and are bounded so that no criterion can say more than `MAX_NATS`. So what
the days do not show, because they lack a kind of honest group, keeps a moderate weight.

Source: A. Beck, M. Teboulle, SIAM J. Imaging Sciences 2 (2009), for the solver.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.campaigns.criteria import CRITERIA, MAX_NATS, UNKNOWN, Weight, Weights
from monitor.campaigns.verdict import Verdict
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.requests.decoder import Decoder
from monitor.store.memory import MemoryStore
from pipelines.traffic.labels import Label, load_labels
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import FINGERPRINTS, replay

_PURE = 0.8  # share of attackers in a campaign, and of honest keys in a group that is none
_PRIOR_WEIGHT, _RIDGE = 3.0, 3e-3  # nats; strength of the shrinkage
_PRIOR_ODDS = -2.0  # log odds: one group in eight is a campaign
_STEPS = 3_000

Floats = npt.NDArray[np.float64]


class Sample(NamedTuple):
    """One evaluation of one group.

    Attributes:
        group: what it is, with its day; all evaluations of a group together weigh as one.
        is_campaign: whether it is a campaign.
        evidence: its traits by name.
    """

    group: str
    is_campaign: bool
    evidence: Mapping[str, float]


def fit_weights(samples: Sequence[Sample]) -> Weights:
    """The weights that separate campaigns from other groups."""
    places = _places(samples)
    truth = np.array([sample.is_campaign for sample in samples])
    weight = _sample_weights(samples, truth)
    neutral = np.array([_neutral(x, truth, weight) for x in places.T])
    centred = np.where(np.isfinite(places), places - neutral, 0.0)
    limits = MAX_NATS / np.maximum(neutral, 1.0 - neutral)
    prior, weights = _logistic(centred, np.where(truth, 1.0, -1.0), weight, limits)
    return Weights(
        round(prior + _PRIOR_ODDS, 4),
        {
            each.id: Weight(round(float(w), 4), round(float(c), 4))
            for each, w, c in zip(CRITERIA, weights, neutral, strict=True)
        },
    )


def _places(samples: Sequence[Sample]) -> Floats:
    """The place of each trait, `(n, len(CRITERIA))`, NaN if unknown."""
    out = np.full((len(samples), len(CRITERIA)), np.nan)
    for row, sample in zip(out, samples, strict=True):
        for i, each in enumerate(CRITERIA):
            value = sample.evidence.get(each.evidence, UNKNOWN)
            if value != UNKNOWN:
                row[i] = each.place(value)
    return out


def _sample_weights(samples: Sequence[Sample], truth: npt.NDArray[np.bool_]) -> Floats:
    """The weight of each sample; campaigns and other groups weigh the same in all."""
    counts = Counter(sample.group for sample in samples)
    weight = np.array([1.0 / counts[sample.group] for sample in samples])
    for side in (truth, ~truth):
        weight[side] /= 2.0 * weight[side].sum()
    return weight


def _neutral(x: Floats, truth: npt.NDArray[np.bool_], weight: Floats) -> float:
    """The place half-way between the mean campaign and the mean other group."""
    known = np.isfinite(x)
    sides = [known & truth, known & ~truth]
    return float(np.mean([np.average(x[side], weights=weight[side]) for side in sides]))


def _logistic(x: Floats, sign: Floats, weight: Floats, limits: Floats) -> tuple[float, Floats]:
    """Intercept and coefficients, between 0 and their limits, of a logistic regression.

    Args:
        x: `(n, k) float64`.
        sign: `(n,) float64`, 1 or -1.
        weight: `(n,) float64`, of the samples, sum 1.
        limits: `(k,) float64`.
    """
    k = x.shape[1]
    x = np.column_stack([np.ones(len(x)), x])
    ridge = np.r_[0.0, np.full(k, 2.0 * _RIDGE / k)]
    start = np.r_[0.0, np.minimum(_PRIOR_WEIGHT, limits)]
    lowest, highest = np.r_[-np.inf, np.zeros(k)], np.r_[np.inf, limits]
    step = 1.0 / (0.25 * np.linalg.eigvalsh((x * weight[:, None]).T @ x)[-1] + ridge.max())
    at, ahead, momentum = start, start, 1.0
    for _ in range(_STEPS):
        slope = -sign * weight / (1.0 + np.exp(np.clip(sign * (x @ ahead), -50.0, 50.0)))
        gradient = x.T @ slope + ridge * (ahead - start)
        after = np.clip(ahead - step * gradient, lowest, highest)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = after + (momentum - 1.0) / faster * (after - at)
        at, momentum = after, faster
    return float(at[0]), at[1:]


def collect(day: Path, settings: Settings, without: frozenset[str] = frozenset()) -> list[Sample]:
    """The samples of one day, `day/traffic.jsonl` and `day/labels.json`.

    Args:
        settings: content model and reference.
        without: sources of prompts; groups of keys with these are left out.
    """
    labels = load_labels(day / "labels.json")
    store = MemoryStore()
    engine = Engine(settings, Identity(bytes(32), plain=True), store)
    linker = Linker(settings, store)
    rounds = linker.assign(FINGERPRINTS).rounds
    rounds.weights = Weights(-math.inf, {})  # no group becomes a campaign
    recording = Recording([str(day / "traffic.jsonl")], Decoder.of(settings))
    samples: list[Sample] = []
    seen = rounds.evaluated
    for _ in replay(recording, engine, store, linker):
        if rounds.evaluated is not seen:
            seen = rounds.evaluated
            for keys, verdict in seen:
                samples += _sample(day.name, keys, verdict, labels, without)
    return samples


def _sample(
    day: str,
    keys: Sequence[str],
    verdict: Verdict,
    labels: Mapping[str, Label],
    without: frozenset[str],
) -> Iterator[Sample]:
    """The sample that a group is, unless it is mixed or of a source that is left out."""
    known = [labels[key] for key in keys if key in labels]
    if len(known) < _PURE * len(keys):
        return
    attackers = sum(label.attack for label in known) / len(known)
    kind, source = Counter(
        (label.campaign or label.kind, label.source) for label in known
    ).most_common(1)[0][0]
    if source not in without and not 1.0 - _PURE < attackers < _PURE:
        yield Sample(f"{day} {kind}", attackers >= _PURE, verdict.evidence)


def fit(
    days: Iterable[Path],
    out: Path,
    *,
    without: frozenset[str] = frozenset(),
    settings: Settings | None = None,
) -> Weights:
    """Fit the weights to labelled days and write them to a file.

    Args:
        days: folders of `make_field.py` or `make_traffic.py`.
        out: the file, for `XM_CAMPAIGNS__WEIGHTS`.
        without: sources of prompts that are left out.
        settings: content model and reference; default: shipped. If these have seen the sources of
            the days, the members' own alerts get too much weight.
    """
    settings = settings or Settings()
    weights = fit_weights([sample for day in days for sample in collect(day, settings, without)])
    out.write_bytes(msgspec.json.format(msgspec.json.encode(weights), indent=1) + b"\n")
    return weights

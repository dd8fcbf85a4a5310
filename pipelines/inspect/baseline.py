"""The baseline learned from ordinary prompts, per partition and in total."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from monitor.config import Settings
from monitor.records.baseline import load_reference
from monitor.records.baseline_mean import LAG_DAYS, BaselineMean, Sums, decode
from monitor.store.base import Store

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Part(msgspec.Struct, frozen=True):
    """The baseline that one partition has learned."""

    partition: str
    day: str  # latest day included, event time; empty while its first day is not over
    key_days: float  # that it has learned from, faded
    moved: float  # distance between its mean and the reference's


class BaselineReport(msgspec.Struct, frozen=True):
    """The report. The uncertainty is an expected squared error, `None` if unknown."""

    reference_key_days: float
    key_days: float  # of the reference and all partitions
    moved: float  # distance between the overall mean and the reference's
    meaning_uncertainty: float | None
    partitions: list[Part]


def baseline_report(store: Store, settings: Settings) -> BaselineReport:
    """Report the baselines of all partitions, and their overall mean once it is in use."""
    reference = BaselineMean(load_reference(settings.reference).mean)
    learned = decode(dict(sorted(store.baselines().items())))
    latest = max((days[-1][0] for days in learned.values() if days), default=0)
    overall = BaselineMean(reference.reference)
    overall.apply(latest + LAG_DAYS, learned)
    uncertainty = overall.meaning.uncertainty
    return BaselineReport(
        reference_key_days=reference.key_days,
        key_days=overall.key_days,
        moved=_distance(reference, overall),
        meaning_uncertainty=uncertainty if np.isfinite(uncertainty) else None,
        partitions=[_part(name, days, reference) for name, days in learned.items()],
    )


def _part(name: str, days: list[tuple[int, Sums]], reference: BaselineMean) -> Part:
    if not days:
        return Part(name, "", 0.0, 0.0)
    day, sums = days[-1]
    learned = BaselineMean(sums)
    date = f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"
    return Part(name, date, learned.key_days, _distance(reference, learned))


def _distance(one: BaselineMean, other: BaselineMean) -> float:
    return float(np.linalg.norm(one.meaning.mean - other.meaning.mean))

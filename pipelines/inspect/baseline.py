"""What the system has learned of the public at large, partition by partition, and all together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from monitor.config import Settings
from monitor.records.baseline import load_reference
from monitor.records.baseline_mean import LAG, BaselineMean, decode
from monitor.store.base import Store

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Part(msgspec.Struct, frozen=True):
    """What one partition has said."""

    partition: str
    day: str  # the last that it knows of, of event time
    key_days: float  # that it has learned from, faded
    moved: float  # distance between its mean and the reference's


class Report(msgspec.Struct, frozen=True):
    """What is printed. An uncertainty is an expected squared error, `None` if it is not known."""

    reference_key_days: float
    key_days: float  # of the reference and all partitions
    moved: float  # distance between the mean of all and the reference's
    meaning_uncertainty: float | None
    words_uncertainty: float | None
    partitions: list[Part]


def survey(store: Store, settings: Settings) -> Report:
    """What all partitions have said, and what follows from it once it is in force."""
    reference = BaselineMean(load_reference(settings.reference).mean)
    said = store.baselines()
    last = {name: decode(each)[-1] for name, each in sorted(said.items())}
    everybody = BaselineMean(reference.reference)
    everybody.use(max((day for day, _ in last.values()), default=0) + LAG, said)
    return Report(
        reference_key_days=reference.keys,
        key_days=everybody.keys,
        moved=_distance(reference, everybody),
        meaning_uncertainty=_finite(everybody.meaning.uncertainty),
        words_uncertainty=_finite(everybody.words.uncertainty),
        partitions=[
            Part(
                name,
                f"{_EPOCH + timedelta(days=day):%Y-%m-%d}",
                (learned := BaselineMean(sums)).keys,
                _distance(reference, learned),
            )
            for name, (day, sums) in last.items()
        ],
    )


def _distance(one: BaselineMean, other: BaselineMean) -> float:
    return float(np.linalg.norm(one.meaning.mean - other.meaning.mean))


def _finite(uncertainty: float) -> float | None:
    return uncertainty if np.isfinite(uncertainty) else None

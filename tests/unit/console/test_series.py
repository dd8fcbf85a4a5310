"""Values of a key on the scale of ordinary keys, and what is kept of ordinary keys."""

from __future__ import annotations

import doctest
import threading
import time
from itertools import chain, repeat

import pytest

from monitor.errors import StoreUnavailableError
from pipelines.console import traits
from pipelines.console.charts import series
from pipelines.console.ordinary import Kept
from pipelines.inspect.key import Fact


@pytest.mark.parametrize(
    ("value", "place"),
    [(0.5, ""), (0.05, "below"), (0.95, "above"), (0.999, "far_above"), (0.8999, "")],
)
def test_measure_says_where_a_value_lies(value: float, place: str) -> None:
    found = series.measure(Fact("x", value, "x", "share", (0.1, 0.4, 0.9, 0.99)))
    assert found.place == place
    assert found.scale is not None
    assert found.scale == pytest.approx((value, 0.1, 0.4, 0.9))


def test_scale_of_counts_is_logarithmic_and_ends_beyond_the_value() -> None:
    scale = series.scale_of(Fact("x", 1023.0, "x", "count", (0.0, 1.0, 31.0, None)))
    assert scale is not None
    assert scale == pytest.approx([x / 10.5 for x in (10.0, 0.0, 1.0, 5.0)])


def test_scale_is_unknown_without_ordinary_keys() -> None:
    assert series.scale_of(Fact("x", 1.0, "x", "count")) is None


def test_kept_value_stays_while_it_cannot_be_read_again() -> None:
    answers = chain([1, StoreUnavailableError("away")], repeat(2))
    reads = threading.Semaphore(0)

    def read() -> int:
        answer = next(answers)
        reads.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = Kept(read, seconds=0.0)
    assert [kept(), kept()] == [1, 1]
    assert reads.acquire(timeout=5)
    assert reads.acquire(timeout=5)  # in vain
    deadline = time.monotonic() + 5
    while kept() == 1:
        assert time.monotonic() < deadline


def test_examples_of_charts_and_traits() -> None:
    assert doctest.testmod(series).failed == doctest.testmod(traits).failed == 0

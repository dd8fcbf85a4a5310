"""Values in memory that are read again once they are old."""

from __future__ import annotations

import pytest

from monitor.errors import StoreError
from pipelines.console.ordinary import Kept


def test_callers_do_not_wait_for_one_failure_each():
    attempts = []

    def read() -> int:
        attempts.append(1)
        raise StoreError("Redis does not answer.")

    kept = Kept(read)
    for _ in range(3):
        with pytest.raises(StoreError):
            kept()
    assert len(attempts) == 1


def test_value_is_read_once_while_it_is_fresh():
    values = iter(range(5))
    kept = Kept(lambda: next(values))
    assert [kept(), kept()] == [0, 0]

"""Gauges of reviews."""

from __future__ import annotations

import time

from monitor.metrics import Metrics
from pipelines.cases.review.gauges import ReviewGauges
from tests.support.reviews import BY, KEY, Reviewed


def test_gauges_count_appeals_and_withdrawn_alerts(redis_url: str) -> None:
    reviewed, metrics = Reviewed(redis_url), Metrics()
    gauges = ReviewGauges(reviewed.settings, metrics)

    def read() -> tuple[float | None, ...]:
        gauges.update()
        value = metrics.registry.get_sample_value
        withdrawn = value("xm_withdrawn_alerts", {"kind": "harvest"})
        return value("xm_appeals_waiting"), value("xm_appeals_overdue"), withdrawn

    assert read() == (0, 0, 0)
    reviewed.blocked_key()
    reference = reviewed.review.letter(KEY, "ann").letter.reference
    reviewed.review.appeal(reference, "No.", "bo", time.time() - 3600.0)
    assert read() == (1, 0, 0)
    reviewed.settings.cases.answer_days = 1e-3
    gauges = ReviewGauges(reviewed.settings, metrics)
    assert read() == (1, 1, 0)
    reviewed.review.rule("overturned", reference, *BY)
    assert read() == (0, 0, 1)

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.metrics.subjects import NEW_PER_HOUR, SubjectSeries, SubjectState
from monitor.store.memory import MemoryStore

LIMIT = 5
SERIES_PER_SUBJECT = 14


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def series(clock):
    return SubjectSeries(CollectorRegistry(), clock)


def subjects(count, severity=2, prefix="k"):
    return {f"{prefix}_{i}": severity for i in range(count)}


def test_choose_prefers_severe_subjects(series):
    assert series.choose(subjects(20) | {"k_worst": 3}, LIMIT)[0] == "k_worst"


def test_choose_keeps_shown_subjects_while_they_are_flagged(series):
    first = series.choose(subjects(20), LIMIT)
    later = dict(reversed(subjects(40).items()))
    assert series.choose(later, LIMIT) == first


def test_choose_gives_place_to_severer_subjects(series):
    first = series.choose(subjects(20), LIMIT)
    chosen = series.choose(subjects(20) | {"k_worst": 3}, LIMIT)
    assert chosen[0] == "k_worst"
    assert set(chosen[1:]) < set(first)


def test_choose_drops_resolved_subjects(series):
    series.choose(subjects(3), LIMIT)
    assert series.choose({"k_1": 2}, LIMIT) == ["k_1"]


def test_attackers_cannot_create_new_series_without_end(series, clock):
    shown: set[str] = set()
    for minute in range(59):
        clock.now = minute * 60.0
        shown |= {*series.choose(subjects(50, prefix=f"k{minute}"), LIMIT)}
    assert len(shown) == NEW_PER_HOUR * LIMIT
    clock.now = 7200.0
    assert len(series.choose(subjects(50, prefix="later"), LIMIT)) == LIMIT


def test_series_disappear_with_their_subject(series):
    state = SubjectState("k_1", "api_key", 3, 90.0, 4_000.0, 1, {"burst": 12.0})
    registry = CollectorRegistry()
    shown = SubjectSeries(registry)
    shown.replace([state])
    assert 'xm_subject_severity{subject="k_1",type="api_key"} 3.0' in page(registry)
    shown.replace([])
    assert "k_1" not in page(registry)


def test_series_stay_bounded_at_100_000_flagged_keys():
    metrics = Metrics()
    settings = Settings()
    engine = Engine(settings, Identity(b"0123456789abcdef"), MemoryStore(), metrics=metrics)
    partition = engine.assign("llm.requests:0")
    before = len(samples(metrics))
    names = [f"k_{i:024x}" for i in range(100_000)]
    partition.alerted = {name: [("burst", "warning"), ("combined", "critical")] for name in names}
    engine.table.rows(engine._store.names(partition.name, names[:1_000]))
    engine.update_metrics()
    more = len(samples(metrics)) - before
    assert 0 < more <= settings.subject_series * SERIES_PER_SUBJECT
    assert len(samples(metrics)) < 1_500


def test_no_subject_has_series_where_they_are_switched_off():
    metrics = Metrics()
    engine = Engine(
        Settings(subject_series=0), Identity(b"0123456789abcdef"), MemoryStore(), metrics=metrics
    )
    partition = engine.assign("llm.requests:0")
    partition.alerted = {"k_1": [("burst", "critical")]}
    engine.table.rows(engine._store.names(partition.name, ["k_1"]))
    engine.update_metrics()
    assert "k_1" not in page(metrics.registry)


def samples(metrics):
    return [each for family in metrics.registry.collect() for each in family.samples]


def page(registry):
    return generate_latest(registry).decode()

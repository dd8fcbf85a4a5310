"""Streams of requests through the kernel that tracks behaviour."""

import numpy as np
import pytest

from monitor.records.migrations import REHASHED
from monitor.records.profile import AUTOMATION, PIVOT
from monitor.requests.marks import BOUNDED, FIRST_TURN, FOLLOW_UP, HAS_PROMPT, LARGE
from tests.unit.records.test_update import Table

UNATTENDED = HAS_PROMPT | FIRST_TURN | LARGE | BOUNDED
HOUR = 3600.0


def level(table, which):
    return float(table.profile.level[0, which])


def by_chance(rate, hours, seed=1, shape=lambda hour: 1.0):
    """Times of a Poisson process of `rate` requests an hour, thinned by `shape`, seconds."""
    draw = np.random.default_rng(seed)
    times = np.cumsum(draw.exponential(HOUR / rate, int(rate * hours)))
    kept = draw.random(len(times)) < [shape(t / HOUR) for t in times]
    return times[kept].tolist()


def test_requests_without_follow_ups_are_unattended():
    alone, talking = Table(), Table()
    seconds = by_chance(60, 1)
    alone.observe(seconds, marks=UNATTENDED)
    talking.observe(
        seconds,
        marks=[HAS_PROMPT | (FOLLOW_UP if i % 2 else FIRST_TURN) for i, _ in enumerate(seconds)],
    )
    assert alone.records["unattended"][0] > 10
    assert talking.records["unattended"][0] < 3


def test_unknown_conversation_state_is_no_sign():
    table = Table()
    table.observe(by_chance(60, 1))
    assert table.records["unattended"][0] == 0


@pytest.mark.parametrize("every", [0.5, 60.0])
def test_timer_is_seen_in_the_gaps(every):
    timer, chance = Table(), Table()
    timer.observe([i * every for i in range(40)])
    chance.observe(by_chance(HOUR / every, 40 * every / HOUR))
    assert timer.records["regular"][0] > 10
    assert chance.records["regular"][0] < 3


def test_constant_rate_raises_automation():
    flat, daily = Table(), Table()
    flat.observe(by_chance(30, 20))
    daily.observe(by_chance(60, 20, shape=lambda hour: 0.5 - 0.45 * np.cos(hour * np.pi / 12)))
    assert level(flat, AUTOMATION) > level(daily, AUTOMATION) + 2


def test_move_to_a_new_model_with_a_rise_is_a_pivot():
    table = Table()
    before = by_chance(10, 6)
    table.observe(before, model=1)
    assert level(table, PIVOT) == 0
    table.observe([6 * HOUR + t for t in by_chance(60, 2)], model=2)
    assert level(table, PIVOT) > 20
    assert table.records["new_model"][0] == 2


def test_move_without_a_rise_is_hardly_a_pivot():
    table = Table()
    table.observe(by_chance(30, 6), model=1)
    table.observe([6 * HOUR + t for t in by_chance(30, 6, seed=2)], model=2)
    assert level(table, PIVOT) < 2


def test_rise_without_a_move_is_no_pivot():
    table = Table()
    table.observe(by_chance(10, 6), model=1)
    table.observe([6 * HOUR + t for t in by_chance(60, 2)], model=1)
    assert level(table, PIVOT) == 0


def test_pivot_ends_after_a_day():
    table = Table()
    table.observe(by_chance(10, 6), model=1)
    table.observe([6 * HOUR + t for t in by_chance(60, 2)], model=2)
    table.observe([40 * HOUR], model=2)
    assert level(table, PIVOT) == 0


def test_migrated_record_without_models_is_no_pivot():
    table = Table()
    table.observe(by_chance(10, 6), model=1)
    for field in REHASHED:
        table.records[field] = 0
    for hour, model in ((6, 1), (7, 2), (8, 1)):
        table.observe([hour * HOUR + t / 10 for t in by_chance(15, 1)], model=model)
    assert table.records["new_model"][0] == 0


def test_first_model_is_no_pivot():
    table = Table()
    table.observe(by_chance(60, 1), model=1)
    assert table.records["new_model"][0] == 0

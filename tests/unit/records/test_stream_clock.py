import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.records.stream_clock import (
    AHEAD,
    FUTURE,
    IN_TIME,
    LATE,
    LATENESS,
    RECENT,
    SOURCES,
    StreamClock,
)

NOW = 1_772_409_600.0
HOUR = 3_600.0

EVENTS = st.lists(
    st.tuples(
        st.sampled_from([f"k{n}" for n in range(12)]), st.floats(0, 5_000), st.floats(-500, 500)
    ),
    max_size=60,
)


def place(clock, events, latest=np.inf):
    """Events as (key, ts): the clock after them, and their places."""
    ts = np.array([ts for _, ts in events], float)
    clock, places, _ = clock.after(ts, [key for key, _ in events], np.full(len(ts), latest))
    return clock, places.tolist()


def steady(keys=12, count=120, start=NOW, every=1.0):
    """Events of keys in turn."""
    return [(f"k{n % keys}", start + n * every) for n in range(count)]


def test_watermark_is_the_maximum_of_steady_traffic():
    events = steady()
    ts = np.array([ts for _, ts in events])
    _, _, watermarks = StreamClock().after(ts, [key for key, _ in events], np.full(len(ts), np.inf))
    assert watermarks[1:].tolist() == ts.tolist()


def test_watermark_follows_a_gap_within_a_few_keys():
    clock, _ = place(StreamClock(), steady())
    clock, places = place(clock, steady(start=NOW + HOUR, count=6))
    assert set(places) == {IN_TIME}
    assert clock.watermark == NOW + HOUR + 5


def test_watermark_follows_the_only_key():
    clock, places = place(StreamClock(), [("k", NOW), ("k", NOW + HOUR), ("k", NOW + 5 * HOUR)])
    assert places == [IN_TIME] * 3
    assert clock.watermark == NOW + 5 * HOUR


def test_watermark_follows_one_key_while_the_others_are_silent():
    clock, _ = place(StreamClock(), steady())
    alone = [("k0", NOW + HOUR + n) for n in range(RECENT + 20)]
    assert place(clock, alone)[0].watermark == alone[-1][1]


def test_event_far_behind_its_own_key_is_late():
    events = [("k", NOW), ("k", NOW - LATENESS), ("k", NOW - LATENESS - 1)]
    assert place(StreamClock(), events)[1] == [IN_TIME, IN_TIME, LATE]


def test_event_far_behind_other_keys_is_late():
    clock, _ = place(StreamClock(), steady())
    assert place(clock, [("new", NOW - LATENESS - 60)])[1] == [LATE]


@pytest.mark.parametrize("ahead", [2 * LATENESS, HOUR, 1e8])
def test_fast_clock_makes_no_other_key_late(ahead):
    events = steady()
    events[40:40] = [("fast", NOW + ahead)]
    events[80:80] = [("fast", NOW + ahead + 40)]
    clock, places = place(StreamClock(), events)
    assert set(places) == {IN_TIME}
    assert clock.watermark <= events[-1][1] + AHEAD


def test_long_burst_with_a_fast_clock_makes_no_other_key_late():
    clock, _ = place(StreamClock(), steady())
    clock, _ = place(clock, [("fast", NOW + HOUR + n / 100) for n in range(10 * RECENT)])
    assert set(place(clock, steady(start=NOW + 120))[1]) == {IN_TIME}


def test_fast_clock_of_the_first_key_locks_nobody_out():
    events = [("fast", NOW + HOUR), *steady()]
    assert set(place(StreamClock(), events)[1]) == {IN_TIME}


@pytest.mark.parametrize("fast", [2, SOURCES])
def test_keys_that_fast_clocks_outvote_are_in_time_again(fast):
    events = [*((f"fast{n}", NOW + HOUR) for n in range(fast)), *steady()]
    places = place(StreamClock(), events)[1][fast:]
    assert places.count(LATE) < SOURCES
    assert set(places[SOURCES:]) == {IN_TIME}


def test_event_ahead_of_its_arrival_is_future():
    assert place(StreamClock(), [("k", NOW + 1)], latest=NOW)[1] == [FUTURE]


def test_event_that_agrees_with_other_keys_is_not_future():
    clock, _ = place(StreamClock(), steady())
    assert place(clock, [("k0", NOW + 120), ("k1", NOW + 1_000)], latest=NOW)[1] == [
        IN_TIME,
        FUTURE,
    ]


def test_clock_of_an_earlier_version_knows_only_its_watermark():
    clock = StreamClock(NOW)
    assert place(clock, [("k", NOW - LATENESS - 1), ("k", NOW)])[1] == [LATE, IN_TIME]


@given(EVENTS, st.lists(st.integers(0, 60), max_size=5))
def test_batches_do_not_change_the_places(events, cuts):
    stream = [(key, NOW + at + skew) for key, at, skew in events]
    whole, places = place(StreamClock(), stream)
    clock, parts = StreamClock(), []
    for start, end in itertools.pairwise(
        sorted({0, len(stream), *(min(c, len(stream)) for c in cuts)})
    ):
        clock, found = place(StreamClock(clock.watermark, clock.sources), stream[start:end])
        parts += found
    assert parts == places
    assert (clock.watermark, clock.sources) == (whole.watermark, whole.sources)


@given(EVENTS)
def test_watermark_never_falls(events):
    ts = np.array([NOW + at + skew for _, at, skew in events], float)
    keys = [key for key, _, _ in events]
    _, _, watermarks = StreamClock().after(ts, keys, np.full(len(ts), np.inf))
    assert (np.diff(watermarks) >= 0).all()

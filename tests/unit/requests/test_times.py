"""All forms of times in logs, and what is no time."""

from zoneinfo import ZoneInfo

import pytest

from monitor.requests.parsing.times import TimeError, read_time

TEN = 1_772_013_600.0  # 2026-02-25 10:00:00 UTC
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-25T10:00:00Z",
        "2026-02-25T10:00:00.000000000Z",
        "2026-02-25 10:00:00+00",
        "2026-02-25 11:00:00+01",
        "2026-02-25T10:00:00.000+0000",
        "2026-02-25 10:00:00.000000 UTC",
        "2026-02-25 10:00:00 GMT",
        "2026-02-25T05:00:00-05:00",
        "2026-02-25T10:00Z",
        " 2026-02-25T10:00:00Z\n",
        "20260225T100000Z",
        "2026/02/25 10:00:00 +0000",
        "2026-02-25T11:00:00+01:00[Europe/Berlin]",
        "Wed, 25 Feb 2026 10:00:00 GMT",
        "Wed, 25 Feb 2026 11:00:00 +0100",
        "25/Feb/2026:10:00:00 +0000",
        "[25/Feb/2026:15:30:00 +0530]",
        "Wed Feb 25 10:00:00 UTC 2026",
        TEN,
        TEN * 1e3,
        int(TEN) * 10**6,
        int(TEN) * 10**9,
        f"{TEN * 1e3:.0f}",
        f"{int(TEN)}000000000",
        "1.7720136e9",
        {"$date": "2026-02-25T10:00:00Z"},
        {"$date": int(TEN) * 1000},
        {"$date": {"$numberLong": f"{int(TEN)}000"}},
        {"seconds": int(TEN), "nanos": 0},
        {"seconds": str(int(TEN) - 1), "nanos": 1_000_000_000},
        {"epochSecond": int(TEN), "nano": 0},
    ],
)
def test_every_form_names_the_moment(value):
    assert read_time(value) == TEN


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-25 11:00:00",
        "2026-02-25T11:00:00.000",
        "2026-02-25 11:00:00,000",
        "2026-02-25 11:00",
        "Wed Feb 25 11:00:00 2026",
        "Feb 25, 2026 11:00:00",
        "2026-02-25 10:00:00Z",
        "25/Feb/2026:10:00:00 +0000",
    ],
)
def test_zone_applies_to_a_form_without_an_offset(value):
    assert read_time(value, zone=BERLIN) == TEN
    if "00Z" not in value and "+" not in value:
        with pytest.raises(TimeError, match="zone"):
            read_time(value)


def test_fraction_is_kept_with_point_or_comma():
    for text in ("2026-02-25T10:00:00.25Z", "2026-02-25 10:00:00,250Z"):
        assert read_time(text) == TEN + 0.25


def test_leap_second_and_midnight_roll_over():
    assert read_time("2016-12-31T23:59:60Z") == read_time("2017-01-01T00:00:00Z")
    assert read_time("2026-02-25T24:00:00Z") == read_time("2026-02-26T00:00:00Z")


@pytest.mark.parametrize(("unit", "value"), [(1.0, TEN), (1e3, TEN * 1e3), (1e9, TEN * 1e9)])
def test_unit_of_the_place_overrides_the_magnitude(unit, value):
    assert read_time(value, unit) == TEN
    assert read_time(str(value), unit) == TEN


@pytest.mark.parametrize(
    "value",
    [
        *("yesterday", "2026-02-25", "10:00:00", "02/25/2026 10:00:00", "25.02.2026 10:00", "0x10"),
        *("2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-02-25T25:00:00Z", "T" * 70),
        *("2026-02-25T10:00:00 CEST", "Wed, 25 Feb 26 10:00:00 EST", "2026-02-25T10:61:00Z"),
        *("inf", "nan", float("inf"), 10**400, "0000-01-01T00:00:00Z", "2026-02-25T10:00:00+99:99"),
    ],
)
def test_text_without_a_sure_meaning_is_refused(value):
    with pytest.raises(TimeError):
        read_time(value, zone=BERLIN)


@pytest.mark.parametrize("value", [True, None, [], {}, {"a": 1}, {"seconds": {}}, {"$date": []}])
def test_other_values_have_the_wrong_type(value):
    with pytest.raises(TypeError):
        read_time(value)

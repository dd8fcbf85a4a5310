from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from monitor.errors import ConfigError
from pipelines.notify.receivers.base import Endpoint
from pipelines.notify.receivers.slack import Slack
from pipelines.notify.route import Route, parse_hours
from tests.support.receivers import alert

BERLIN = ZoneInfo("Europe/Berlin")
SLACK = Slack(Endpoint("https://hooks.slack.com/x", 1))


def is_on(hours: str, at: str, zone: ZoneInfo = BERLIN) -> bool:
    """Whether hours hold at a local time. 2026-11-02 is a Monday."""
    route = Route(SLACK, hours=parse_hours(hours, "hours"), zone=BERLIN)
    return route.wants(alert("1"), datetime.fromisoformat(at).replace(tzinfo=zone).timestamp())


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        ("Mon-Fri 08:00-18:00", "2026-11-02 08:00", True),
        ("Mon-Fri 08:00-18:00", "2026-11-02 18:00", False),
        ("Mon-Fri 08:00-18:00", "2026-11-07 12:00", False),
        ("Sat,Sun", "2026-11-08 23:59", True),
        ("Sat,Sun", "2026-11-09 00:00", False),
        ("22:00-06:00", "2026-11-02 23:00", True),
        ("22:00-06:00", "2026-11-02 05:59", True),
        ("22:00-06:00", "2026-11-02 06:00", False),
        ("Fri 22:00-06:00", "2026-11-07 03:00", True),
        ("Fri 22:00-06:00", "2026-11-06 03:00", False),
        ("Fri-Mon 00:00-24:00", "2026-11-08 12:00", True),
        ("Fri-Mon 00:00-24:00", "2026-11-04 12:00", False),
        ("mon 08:00-09:00; tue 10:00-11:00", "2026-11-03 10:30", True),
        ("", "2026-11-03 10:30", True),
    ],
)
def test_route_is_on_in_its_hours(hours: str, at: str, expected: bool):
    assert is_on(hours, at) is expected


def test_hours_follow_daylight_saving_time():
    utc = ZoneInfo("UTC")
    assert is_on("08:00-09:00", "2026-07-01 06:30", utc)
    assert is_on("08:00-09:00", "2026-11-02 07:30", utc)


@pytest.mark.parametrize(
    "hours", ["8-18", "Mon-Fry", "25:00-26:00", "08:00", "08:60-09:00", "08:00-08:00", "Mon Tue"]
)
def test_unreadable_hours_are_rejected(hours: str):
    with pytest.raises(ConfigError, match="is no time of the week"):
        parse_hours(hours, "hours")

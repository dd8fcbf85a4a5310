"""A round waits for partitions that are behind, and no client can make it wait for ever."""

import pytest

from monitor.campaigns.order.progress import PartitionProgress, Progress, decode, encode
from monitor.campaigns.order.sources import GRACE, PATIENCE, SETTLE, SILENT, Sources
from monitor.campaigns.rounds import ROUND

START = 2_000_000 * ROUND
DUE = START + ROUND


class Reporter:
    """Reports of four partitions, every two seconds.

    Attributes:
        minutes: event time of each partition after START.
    """

    def __init__(self) -> None:
        self.sources = Sources()
        self.at = 1_000.0
        self.minutes = dict.fromkeys(range(4), 1.0)
        self.offsets = dict.fromkeys(range(4), 10)
        self.lagging: set[int] = set()
        self.dead: set[int] = set()

    def report(self, seconds: float = 2.0, **moved: float) -> float:
        """Report after some time; the round that may run. `p1=5.0` moves partition 1 to 5 min."""
        for name, minutes in moved.items():
            number = int(name.removeprefix("p"))
            self.minutes[number], self.offsets[number] = minutes, self.offsets[number] + 1
        for _ in range(int(seconds / 2.0)):
            self.at += 2.0
            found = [
                PartitionProgress(n, START + 60.0 * m, self.offsets[n], n not in self.lagging)
                for n, m in self.minutes.items()
                if n not in self.dead
            ]
            self.sources.add(Progress("requests", 4, self.at, found))
        return self.sources.reached(DUE)


@pytest.fixture
def four() -> Reporter:
    """Four partitions with traffic, none of which has passed the round that is due."""
    four = Reporter()
    four.report()
    four.report(p0=2.0, p1=2.0, p2=2.0, p3=2.0)
    return four


def test_round_runs_when_all_partitions_have_passed_it(four: Reporter) -> None:
    assert not four.report(p0=11.0, p1=11.0, p2=11.0, p3=10.9)
    assert four.report(p3=11.0) == DUE


def test_round_waits_for_requests_out_of_order(four: Reporter) -> None:
    early = 10.0 + 0.9 * GRACE / 60.0
    assert not four.report(p0=early, p1=early, p2=early, p3=early)


def test_gap_ends_with_the_latest_round_that_all_have_passed(four: Reporter) -> None:
    assert four.report(p0=95.0, p1=84.0, p2=99.0, p3=300.0) == START + 8 * ROUND


def test_round_waits_for_a_partition_that_was_never_reported() -> None:
    sources = Sources()
    passed = [PartitionProgress(0, DUE + GRACE, 5, True)]
    sources.add(Progress("requests", 2, 1_000.0, passed))
    sources.add(Progress("requests", 2, 1_000.0 + SILENT - 1.0, passed))
    assert not sources.reached(DUE)
    sources.add(Progress("requests", 2, 1_000.0 + SILENT, passed))
    assert sources.reached(DUE) == DUE


def test_idle_partition_is_waited_for_a_moment(four: Reporter) -> None:
    four.report(SETTLE + 3.0)
    assert not four.report(p0=11.0, p1=11.0, p2=11.0)
    assert four.report(SETTLE + 1.0) == DUE


def test_partition_with_unread_messages_is_not_idle(four: Reporter) -> None:
    four.lagging = {3}
    four.report(p0=11.0, p1=11.0, p2=11.0)
    assert not four.report(SILENT)


def test_last_round_runs_when_no_more_requests_arrive(four: Reporter) -> None:
    assert not four.report(p0=10.1, p1=10.1, p2=10.1, p3=10.1)
    assert four.report(GRACE + 2.0) == DUE


def test_partition_without_a_worker_is_waited_for_two_minutes(four: Reporter) -> None:
    four.dead, four.lagging = {3}, {3}
    assert not four.report(SILENT - 4.0, p0=11.0, p1=11.0, p2=11.0)
    assert four.report(8.0) == DUE


def test_flooded_partition_delays_one_round_by_patience(four: Reporter) -> None:
    four.lagging = {3}
    assert not four.report(PATIENCE - 4.0, p0=11.0, p1=11.0, p2=11.0)
    assert four.report(8.0) == DUE
    assert four.sources.ran(DUE) == ["requests:3"]
    four.report(p0=21.0, p1=21.0, p2=21.0, p3=3.0)
    assert four.sources.reached(DUE + ROUND) == DUE + ROUND


def test_partition_is_waited_for_again_once_it_has_caught_up(four: Reporter) -> None:
    four.lagging = {3}
    four.report(PATIENCE + 4.0, p0=11.0, p1=11.0, p2=11.0)
    four.sources.ran(DUE)
    four.report(p0=21.0, p1=21.0, p2=21.0, p3=22.0)
    assert four.sources.ran(DUE + ROUND) == []
    four.report(p0=31.0, p1=31.0, p2=31.0, p3=23.0)
    assert not four.sources.reached(DUE + 2 * ROUND)


def test_clock_that_never_moves_delays_no_round_for_ever(four: Reporter) -> None:
    for minute in range(11, 25):
        now = float(minute)
        four.report(60.0, p0=now, p1=now, p2=now, p3=1.0)
    assert four.sources.reached(DUE) >= DUE


def test_clock_that_runs_ahead_starts_no_round(four: Reporter) -> None:
    assert not four.report(p0=2.5, p1=2.5, p2=2.5, p3=1_000.0)
    for second in range(60):
        now = 2.5 + second / 60.0
        assert not four.report(p0=now, p1=now, p2=now, p3=1_000.0 + second)


def test_stuck_partitions_do_not_stop_the_others(four: Reporter) -> None:
    four.lagging = {1, 2, 3}
    four.report(PATIENCE + 4.0)
    assert not four.report(p0=11.0)
    assert four.report(PATIENCE, p0=11.5) == DUE


def test_state_is_restored(four: Reporter) -> None:
    four.report(p0=11.0, p1=11.0, p2=11.0)
    four.sources = Sources(four.sources.snapshot())
    assert four.report(p3=11.0) == DUE


@pytest.mark.parametrize(
    "message",
    [
        b"\x02\x80",
        b"\x02\x80\xc1",
        encode(Progress("requests", 0, 1.0, [])),
        encode(Progress("requests", 1, float("nan"), [])),
        encode(Progress("requests", 1, 1.0, [PartitionProgress(0, float("inf"), 1, True)])),
    ],
)
def test_damaged_progress_is_refused(message: bytes) -> None:
    assert decode(message) is None

"""Sources: the partitions of requests, and how far each has been observed.

A round at the event time T may run once all fingerprints before T have arrived. A partition has
**passed** T when its watermark is GRACE later, so that requests which were logged out of order
count. The others are waited for, except:

- an **idle** one: SETTLE seconds after most had passed T it had no new message, and none left,
- a **silent** one: no worker has reported about it for SILENT seconds,
- one that has been waited for PATIENCE seconds. It is waited for again once it has passed the
  rounds that ran without it.

So a client that slows a partition down, or whose clock stands still, delays a campaign by PATIENCE
at most. One whose clock runs ahead starts no round: at least half of the partitions with traffic
must have passed it. All of it follows from the messages, and not from the clock of this process.
"""

from __future__ import annotations

import msgspec

from monitor.campaigns.order.progress import Progress
from monitor.campaigns.rounds import ROUND
from monitor.records.profile import MINUTE

GRACE = MINUTE  # seconds of event time that requests may be out of order
SETTLE = 5.0  # seconds without a new message after which a partition is idle
SILENT = 2 * MINUTE  # seconds without a report
PATIENCE = 10 * MINUTE  # seconds that a partition is waited for
_FORGOTTEN = 60 * MINUTE  # seconds without a report after which a source is forgotten
_PASSED = 1_000  # remembered times at which most had passed a round


def rounds_passed(watermark: float) -> float:
    """The number of the last round that a partition with this watermark has passed."""
    return (watermark - GRACE) // ROUND


class Source(msgspec.Struct, array_like=True):
    """A partition of requests. Times are wall-clock time, epoch seconds.

    Attributes:
        watermark: the event time reached, epoch seconds; 0 before the first request.
        offset: the first message that is not observed.
        caught_up: whether it has no message that is not observed.
        heard: when a worker last reported about it, by the clock of all sources.
        at: the same by that worker's clock.
        still: since when `offset` is the same, by that worker's clock.
        overdue: whether rounds have run that it has not passed.
    """

    watermark: float = 0.0
    offset: int = -1
    caught_up: bool = False
    heard: float = 0.0
    at: float = 0.0
    still: float = 0.0
    overdue: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether it has had no message for a while, and has none left."""
        return self.caught_up and self.at - self.still >= SETTLE

    @property
    def is_done(self) -> bool:
        """Whether it has been idle for so long that requests out of order have arrived too."""
        return self.caught_up and self.at - self.still >= GRACE

    @property
    def is_stuck(self) -> bool:
        """Whether it has messages that no worker gets past."""
        return not self.caught_up and self.at - self.still >= PATIENCE

    @property
    def passed(self) -> float:
        """The event time before which it will have no more fingerprints, epoch seconds."""
        return self.watermark - (0.0 if self.is_done else GRACE)


class SourcesState(msgspec.Struct, array_like=True):
    """The state of `Sources`, see there."""

    now: float = 0.0
    sources: dict[str, Source] = {}
    passed: list[tuple[float, float]] = []


class Sources:
    """The partitions of all topics of requests of which progress was reported.

    Args:
        state: of an earlier process.
    """

    def __init__(self, state: SourcesState | None = None) -> None:
        state = state or SourcesState()
        self._now = state.now  # the latest time of a report
        self._sources = state.sources
        #: When at least half of the partitions with traffic had passed a round, and the time of
        #: the round; both rise. Rounds that have run are forgotten.
        self._passed = state.passed

    def __bool__(self) -> bool:
        return bool(self._sources)

    def __repr__(self) -> str:
        return f"Sources({len(self._sources)} partitions)"

    def snapshot(self) -> SourcesState:
        return SourcesState(self._now, self._sources, self._passed)

    def add(self, progress: Progress) -> None:
        """Take over a report."""
        self._now = max(self._now, progress.at)
        names = dict.fromkeys(f"{progress.topic}:{number}" for number in range(progress.count))
        for name in names:
            if name not in self._sources:
                self._sources[name] = Source(heard=self._now)
        for each in progress.partitions:
            source = self._sources.get(f"{progress.topic}:{each.number}")
            if source is None:  # beyond the count
                continue
            if each.offset != source.offset or progress.at < source.still:
                source.still = progress.at
            source.offset, source.caught_up = each.offset, each.caught_up
            source.watermark = max(source.watermark, each.watermark)
            source.heard, source.at = self._now, progress.at
        for name in self._sources.keys() - names.keys():
            if self._now - self._sources[name].heard > _FORGOTTEN:
                del self._sources[name]
        self._note_passed()

    def reached(self, due: float) -> float:
        """The latest round that may run, at `due` or later; 0.0 if none may."""
        latest = self._passed[-1][0] if self._passed else 0.0
        if due > latest or self._waits_for(due):
            return 0.0
        least, most = 0, int((latest - due) // ROUND)
        while least < most:  # if a round may run, those before it may
            middle = (least + most + 1) // 2
            if self._waits_for(due + middle * ROUND):
                most = middle - 1
            else:
                least = middle
        return due + least * ROUND

    def ran(self, time: float) -> list[str]:
        """Note that the rounds up to an event time have run.

        Returns:
            the partitions that are overdue from now on.
        """
        self._passed = [each for each in self._passed if each[0] > time]
        overdue = []
        for name, source in sorted(self._sources.items()):
            before, passed = source.overdue, source.passed >= time
            source.overdue = not passed and (before or not source.is_idle)
            if source.overdue and not before:
                overdue.append(name)
        return overdue

    def _waits_for(self, time: float) -> bool:
        """Whether a round that most have passed waits for one of the others."""
        since = next(at for round, at in self._passed if round >= time)
        if self._now - since >= PATIENCE:
            return False
        return any(
            source.passed < time
            and not source.overdue
            and self._now - source.heard < SILENT
            and not (source.is_idle and source.heard >= since + SETTLE)
            for source in self._sources.values()
        )

    def _note_passed(self) -> None:
        """Note the latest round that most have passed."""
        heard = [s for s in self._sources.values() if s.at and self._now - s.heard < SILENT]
        active = sorted(s.passed for s in heard if not s.is_idle and not s.is_stuck)
        if active:
            time = active[len(active) // 2]
        else:
            time = max((source.passed for source in heard), default=0.0)
        round = time // ROUND * ROUND
        if round > (self._passed[-1][0] if self._passed else 0.0):
            self._passed.append((round, self._now))
            del self._passed[:-_PASSED]

"""Decisions in memory, so that a gateway's answer does not depend on the store's speed.

A decision in force is kept until it ends and confirmed from the store every second, so a withdrawal
takes effect within a second. While the store is away it stays in force. That a subject has no
decision is remembered for a second too, for a bounded number of subjects: a flood of made-up keys
fills that memory and nothing else, and displaces no decision.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from monitor.alerting.decisions import ActiveDecision, stronger

FRESH_SECONDS = 1.0  # until what is in memory is confirmed from the store
_MOST_DECISIONS = 500_000
_MOST_OTHERS = 50_000  # subjects without a decision


class _Held(NamedTuple):
    decision: ActiveDecision
    read_at: float


class DecisionMemory:
    """The decisions that this process knows. Use it from one thread.

    Args:
        most_decisions: to keep; the one confirmed longest ago is dropped first.
        most_others: subjects without a decision to remember.
    """

    def __init__(
        self, most_decisions: int = _MOST_DECISIONS, most_others: int = _MOST_OTHERS
    ) -> None:
        self._most_decisions, self._most_others = most_decisions, most_others
        self._decisions: OrderedDict[str, _Held] = OrderedDict()
        self._others: OrderedDict[str, float] = OrderedDict()  # when read

    def __len__(self) -> int:
        return len(self._decisions) + len(self._others)

    def is_fresh(self, subject: str, now: float) -> bool:
        """Whether the store need not be asked about a subject.

        Args:
            now: monotonic time, seconds.
        """
        held = self._decisions.get(subject)
        read_at = held.read_at if held else self._others.get(subject, -FRESH_SECONDS)
        return now - read_at < FRESH_SECONDS

    def get(self, subject: str, time: float) -> ActiveDecision | None:
        """The decision in force on a subject, as far as this process knows.

        Args:
            time: wall-clock time, epoch seconds.
        """
        held = self._decisions.get(subject)
        if held is None:
            return None
        ends = held.decision.expires_at  # an older version wrote none: the store ends it
        if ends is not None and ends <= time:
            del self._decisions[subject]
            return None
        return held.decision

    def put(self, subject: str, decision: ActiveDecision | None, read_at: float) -> None:
        """Remember what the store has, unless something later is known.

        Args:
            read_at: when the store was asked, monotonic time.
        """
        held = self._decisions.get(subject)
        if held is not None and held.read_at > read_at:
            return
        if decision is not None:
            self._others.pop(subject, None)
            self._decisions[subject] = _Held(decision, read_at)
            _bound(self._decisions, subject, self._most_decisions)
        else:
            self._decisions.pop(subject, None)
            self._others[subject] = read_at
            _bound(self._others, subject, self._most_others)

    def add(self, decision: ActiveDecision, now: float, time: float) -> None:
        """Remember a decision that has just been put into force.

        Args:
            now: monotonic time, seconds.
            time: wall-clock time, epoch seconds.
        """
        strongest = stronger((self.get(decision.key, time), decision))
        self.put(decision.key, strongest, now)


def _bound(entries: OrderedDict[str, Any], newest: str, most: int) -> None:
    entries.move_to_end(newest)
    if len(entries) > most:
        entries.popitem(last=False)

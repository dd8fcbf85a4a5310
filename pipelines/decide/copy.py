"""Every decision in force and the control state, in memory: a lookup asks nobody.

`follower.py` fills the copy from Redis and keeps it up to date. While Redis is away the copy stays
as it was: known decisions hold until they end. Use it from one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import KILL, SHADOW, Control, Effective, effective
from monitor.store.redis import DECISION_KEY, read_decision

Held = dict[str, dict[str, ActiveDecision]]  # by subject and origin
_NOTHING = Effective()


class Entry(msgspec.Struct, frozen=True):
    """One change of the feed, decoded.

    Attributes:
        name: of the Redis key or field that changed.
        value: its JSON; empty if it is gone.
        decision: the value, if it is a decision of a version that this one can read.
    """

    name: str
    value: bytes
    decision: ActiveDecision | None = None


class DecisionCopy:
    """The decisions in force, by subject.

    Args:
        shadow: the setting; a switch in Redis overrides it.

    Attributes:
        control: switches, allow-list and withdrawals.
        position: id of the last feed entry that the copy contains.
        origin: the position when it was complete for the first time.
        changed: is called after each change with the subjects that may have changed; `None` for
            all of them.
    """

    def __init__(self, *, shadow: bool) -> None:
        self.control = Control()
        self.position = self.origin = "0-0"
        self.changed: Callable[[Iterable[str] | None], None] = lambda _: None
        self._shadow = shadow
        self._held: Held = {}
        self._confirmed = -math.inf  # monotonic time at which Redis last answered

    def __len__(self) -> int:
        return len(self._held)

    @property
    def subjects(self) -> list[str]:
        """All subjects with a decision, in force or just ended."""
        return list(self._held)

    def held(self, subject: str) -> list[ActiveDecision]:
        """The decisions on a subject, of all origins, in force or just ended."""
        return list(self._held.get(subject, {}).values())

    @property
    def loaded(self) -> bool:
        """Whether the copy has ever been complete."""
        return self._confirmed != -math.inf

    @property
    def age(self) -> float:
        """Seconds since Redis last confirmed the copy; infinite if it never did."""
        return time.monotonic() - self._confirmed

    @property
    def passes_all(self) -> bool:
        """Whether nothing is enforced on anybody: the kill switch, or global shadow mode."""
        now = time.time()
        return self.control.is_on(KILL, now, default=False) or self.control.is_on(
            SHADOW, now, default=self._shadow
        )

    def load(self, held: Held, control: Control, position: str) -> None:
        """Replace everything.

        Args:
            held: all decisions in force; the copy keeps this object.
            position: of the feed, before `held` was read.
        """
        gone = self._held.keys() - held.keys()
        if not self.loaded:
            self.origin = position
        self._held, self.control, self.position = held, control, position
        self.confirm()
        self.changed(None if not gone else [*gone, *held])

    def apply(self, entries: Sequence[Entry], position: str) -> None:
        """Apply changes in order."""
        subjects: list[str] | None = []
        for entry in entries:
            if not entry.name.startswith(DECISION_KEY):
                self.control = self.control.apply(entry.name, entry.value)
                subjects = None
                continue
            subject = self._put(entry)
            if subjects is not None:
                subjects.append(subject)
        self.position = position
        self.confirm()
        if subjects != []:
            self.changed(subjects)

    def confirm(self) -> None:
        """Note that Redis has answered and has nothing newer."""
        self._confirmed = time.monotonic()

    def find(self, subjects: Iterable[str], now: float) -> Effective:
        """What applies to a request that names some subjects.

        Args:
            now: wall-clock time, epoch seconds.
        """
        held = [self._held[subject] for subject in subjects if subject in self._held]
        if not held:
            return _NOTHING
        decisions = chain.from_iterable(origins.values() for origins in held)
        return effective(decisions, self.control, now, self._shadow)

    def _put(self, entry: Entry) -> str:
        """Apply a change of a decision; return its subject."""
        origin, subject = split_name(entry.name)
        if entry.decision is not None:
            self._held.setdefault(subject, {})[origin] = entry.decision
        elif subject in self._held:
            self._held[subject].pop(origin, None)
        return subject


def held_by(decisions: Iterable[ActiveDecision]) -> Held:
    """Decisions by subject and origin."""
    held: Held = {}
    for decision in decisions:
        held.setdefault(decision.key, {})[decision.origin] = decision
    return held


def split_name(name: str) -> tuple[str, str]:
    """The origin and the subject in the Redis key of a decision."""
    origin, _, subject = name.removeprefix(DECISION_KEY).rpartition(":")
    return origin or "detector", subject


def decoded(entries: Iterable[tuple[str, bytes]]) -> Iterator[Entry]:
    """Entries of the feed. A decision that this version cannot read is logged and left out.

    Raises:
        msgspec.MsgspecError: if this version cannot read what a person has set.
    """
    for name, value in entries:
        if not name.startswith(DECISION_KEY):
            Control().apply(name, value)
            yield Entry(name, value)
        elif not value:
            yield Entry(name, value)
        elif (decision := read_decision(value, name)) is not None:
            yield Entry(name, value, decision)

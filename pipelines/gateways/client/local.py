"""What the process of a gateway knows: decisions by subject, and the subjects of its callers.

Decisions come from the monitor's feed, complete and already effective: shadow mode, kill switch,
allow-list and caps are applied. The subjects of a key come from the first look-up of the key, so a
gateway needs no secret. Keys themselves are not kept: a caller is a keyed hash that is worthless
outside this process.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from monitor.alerting.alerts import ACTIONS, Action
from pipelines.gateways.applied import Applied

_MOST_CALLERS = 100_000
_SALT = secrets.token_bytes(32)


class Current(NamedTuple):
    """The strongest decision on some subjects at one moment."""

    action: Action
    applied: Applied


class DecisionCopy:
    """Decisions by subject.

    The monitor sends a whole new state between `begin` and `complete`; until then the one before
    stays in force.
    """

    def __init__(self) -> None:
        self._decisions: dict[str, Applied] = {}
        self._loading: dict[str, Applied] | None = None

    def __len__(self) -> int:
        return len(self._decisions)

    @property
    def loading(self) -> bool:
        """Whether a new state is incomplete."""
        return self._loading is not None

    def begin(self) -> None:
        """A whole new state follows."""
        self._loading = {}

    def give_up(self) -> None:
        """Drop a new state that is incomplete."""
        self._loading = None

    def complete(self) -> None:
        """The new state is complete."""
        if self._loading is not None:
            self._decisions, self._loading = self._loading, None

    def load(self, applied: Applied) -> None:
        """Take over a decision of the feed; `observe`: nothing applies to the subject any more."""
        _put(self._decisions if self._loading is None else self._loading, applied)

    def put(self, applied: Applied) -> None:
        """Take over the answer of a look-up."""
        _put(self._decisions, applied)

    def forget(self, subjects: Iterable[str]) -> None:
        """Nothing applies to these subjects."""
        for subject in subjects:
            self._decisions.pop(subject, None)

    def expire(self, now: float) -> None:
        """Forget decisions that have ended. `now`: epoch seconds."""
        ended = [key for key, each in self._decisions.items() if action_at(each, now) == "observe"]
        self.forget(ended)

    def strongest(self, subjects: Iterable[str], now: float) -> Current | None:
        """The strongest decision on some subjects; `None` without any. `now`: epoch seconds."""
        found: Current | None = None
        for subject in subjects:
            applied = self._decisions.get(subject)
            if applied is not None:
                action = action_at(applied, now)
                if found is None or ACTIONS.index(action) > ACTIONS.index(found.action):
                    found = Current(action, applied)
        return found if found and found.action != "observe" else None


def action_at(applied: Applied, now: float) -> Action:
    """What applies to a subject at a time, epoch seconds; `observe` once it has ended."""
    if applied.steps:
        return next((action for action, ends in applied.steps if now < ends), "observe")
    return applied.decision if applied.until is None or now < applied.until else "observe"


def _put(decisions: dict[str, Applied], applied: Applied) -> None:
    if applied.subject is None:
        return
    if applied.decision == "observe":
        decisions.pop(applied.subject, None)
    else:
        decisions[applied.subject] = applied


class Known(NamedTuple):
    """A caller whose subjects are known.

    Attributes:
        asked_at: when the monitor was asked, monotonic seconds.
        current: whether its decisions were up to date then.
    """

    subjects: tuple[str, ...]
    asked_at: float
    current: bool


class Callers:
    """The subjects of the callers used last.

    Args:
        most: to keep.
    """

    def __init__(self, most: int = _MOST_CALLERS) -> None:
        self._most = most
        self._known: OrderedDict[bytes, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, caller: bytes) -> Known | None:
        """What is known of a caller."""
        known = self._known.get(caller)
        if known is not None:
            self._known.move_to_end(caller)
        return known

    def put(self, caller: bytes, known: Known) -> None:
        """Keep the subjects of a caller; if there are too many, drop those used longest ago."""
        self._known[caller] = known
        self._known.move_to_end(caller)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def caller_of(items: Sequence[dict[str, str]]) -> bytes:
    """A hash of what is looked up for a request, for this process only."""
    return hashlib.blake2b(msgspec.json.encode(items), digest_size=16, key=_SALT).digest()

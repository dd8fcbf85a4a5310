"""Caps: how many keys, and how much ordinary traffic, the monitor locks out without a person.

Detectors may be wrong about many customers at once: on the day of a release, after a faulty
calibration, or because somebody frames them. So within an hour at most `cap_keys` subjects are
newly challenged or blocked, with at most `cap_share` of all requests. What exceeds a cap is
recorded with `capped`, and `effective` makes it a throttle at most until a person lifts the caps.

Only the requests of a subject's usual hour count in its share, and none of a key without a past.
Otherwise an attacker would reach the cap by volume alone, and nothing could block it any more.

The hash `xm:caps` has, by subject, when it was admitted and its requests; and when a cap was last
`reached`. Workers read it and add to it without a lock. Those that commit in the same instant may
exceed a cap by their decisions of that instant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from monitor import config
from monitor.alerting.alerts import ACTIONS, Action
from monitor.alerting.changes import Change
from monitor.alerting.decisions import ActiveDecision

HOUR = 3600.0  # seconds
_REACHED = "reached"
_LEAST: Action = "challenge"  # the weakest action that is capped

log = logging.getLogger(__name__)


class Notes(NamedTuple):
    """Changes of `xm:caps`, and the entry of the audit if a cap is reached for the first time in an
    hour."""

    added: dict[str, bytes]
    gone: list[str]
    change: Change | None = None


class Admitted(NamedTuple):
    """A subject that was challenged or blocked, wall-clock time `at`, epoch seconds."""

    at: float
    requests: float


def is_capped_action(action: Action) -> bool:
    """Whether caps are about an action."""
    return ACTIONS.index(action) >= ACTIONS.index(_LEAST)


def admitted_keys(hash: Mapping[bytes, bytes], now: float) -> int:
    """The number of subjects that were challenged or blocked in the last hour.

    Args:
        hash: what `xm:caps` has.
    """
    values = (value for key, value in hash.items() if key != _REACHED.encode())
    return sum(now - msgspec.json.decode(value, type=Admitted).at < HOUR for value in values)


class Caps:
    """Marks the decisions that exceed the caps.

    Args:
        settings: the caps.
        counted: called with the number of decisions that were capped.
    """

    def __init__(
        self, settings: config.Decisions, counted: Callable[[int], None] = lambda _: None
    ) -> None:
        self._keys, self._share = settings.cap_keys, settings.cap_share
        self._counted = counted

    def limit(
        self,
        decisions: Sequence[ActiveDecision],
        in_force: Mapping[str, Iterable[ActiveDecision]],
        hash: Mapping[str, bytes],
        traffic: float,
        now: float,
    ) -> tuple[list[ActiveDecision], Notes]:
        """Cap the decisions of a checkpoint.

        Args:
            in_force: the decisions on their subjects before.
            hash: what `xm:caps` has.
            traffic: all requests in the last hour; 0 if that is unknown.
            now: wall-clock time, epoch seconds.

        Returns:
            the decisions, some with `capped`, and what to remember.
        """
        known = {key: msgspec.json.decode(value, type=Admitted) for key, value in hash.items()}
        reached = known.pop(_REACHED, Admitted(0.0, 0.0)).at
        admitted = {key: each for key, each in known.items() if now - each.at < HOUR}
        counted, requests = set(admitted), sum(each.requests for each in admitted.values())
        notes, found, capped = Notes({}, [*(known.keys() - counted)]), [], list[ActiveDecision]()
        for decision in decisions:
            key, more = decision.key, decision.requests
            is_free = (
                not is_capped_action(decision.action)
                or key in counted
                or any(_is_locked_out(each, now) for each in in_force.get(key, ()))
            )
            is_full = len(counted) >= self._keys
            is_full |= more > 0 and 0 < traffic * self._share < requests + more
            if not is_free and is_full:
                decision = msgspec.structs.replace(decision, capped=True)
                capped.append(decision)
            elif not is_free:
                notes.added[key] = msgspec.json.encode(Admitted(now, more))
                counted.add(key)
                requests += more
            found.append(decision)
        if capped and now - reached >= HOUR:
            notes.added[_REACHED] = msgspec.json.encode(Admitted(now, 0.0))
            share = requests / traffic if traffic else 0.0
            notes = notes._replace(change=self._report(capped[0], len(counted), share))
        if capped:
            self._counted(len(capped))
        return found, notes

    def _report(self, first: ActiveDecision, keys: int, share: float) -> Change:
        """Log that a cap is reached, and return the entry of the audit."""
        log.warning(
            "cap_reached subject=%s keys=%d cap_keys=%d share=%.3f cap_share=%g remedy=%r",
            *(first.key, keys, self._keys, share, self._share),
            "look at what is flagged; if it is an attack, lift the caps: xm decisions caps off",
        )
        why = "More would be challenged or blocked in an hour than allowed without a person."
        after = {"keys": keys, "share": round(share, 4), "decision": first}
        return Change("cap", first.key, "monitor", why, after=after)


def _is_locked_out(decision: ActiveDecision, now: float) -> bool:
    return is_capped_action(decision.action_at(now)) and not decision.capped

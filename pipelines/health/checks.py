"""What a check of the deployment finds: a line of `xm doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

State = Literal["ok", "skipped", "warning", "failed"]
STATES: tuple[State, ...] = ("ok", "skipped", "warning", "failed")  # from good to bad


class Check(msgspec.Struct, frozen=True):
    """One thing that was checked.

    Attributes:
        area: `Kafka`, `Redis`, …
        found: what is so, a sentence.
        remedy: what to do, a sentence; empty if nothing is wrong.
    """

    area: str
    name: str
    state: State
    found: str
    remedy: str = ""


def good(area: str, name: str, found: str) -> Check:
    """Nothing is wrong."""
    return Check(area, name, "ok", found)


def bad(area: str, name: str, found: str, remedy: str) -> Check:
    """It does not work like this."""
    return Check(area, name, "failed", found, remedy)


def doubtful(area: str, name: str, found: str, remedy: str) -> Check:
    """It works, and something will go wrong with it."""
    return Check(area, name, "warning", found, remedy)


def failure(area: str, name: str, error: Exception) -> Check:
    """An error whose sentence ends with the remedy after a colon."""
    what, _, remedy = str(error).rpartition(": ")
    if not what:
        return bad(area, name, str(error), "")
    return bad(area, name, f"{what}.", remedy[:1].upper() + remedy[1:])


def worst(checks: Iterable[Check]) -> list[Check]:
    """The worst of the checks with the same name, in the order of the names."""
    found: dict[tuple[str, str], Check] = {}
    for each in checks:
        before = found.get((each.area, each.name))
        if before is None or STATES.index(each.state) > STATES.index(before.state):
            found[each.area, each.name] = each
    return list(found.values())

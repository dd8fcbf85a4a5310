"""The charts of a key: its hours, and values on the scale of ordinary keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from monitor.detectors.base import Unit
from monitor.records.profile import HOUR
from pipelines.console.words import compact, percent, span
from pipelines.inspect.key import Fact, KeyActivity

Tone = Literal["", "info", "warning", "critical"]
Place = Literal["", "below", "above", "far_above"]  # where a value lies beside ordinary ones

_TONES: dict[Place, Tone] = {"": "", "below": "info", "above": "warning", "far_above": "critical"}
_LINEAR = ("share", "score", "deviations")  # units; other values are shown on a logarithmic scale
_SECONDS: dict[Unit, float] = {"seconds": 1.0, "hours": 3600.0}
_MARGIN = 1.05  # of the scale, beyond the highest value


class Scale(NamedTuple):
    """Places on a scale from 0 to 1: of a value, and of what 5%, 50% and 95% of ordinary keys do
    not exceed."""

    value: float
    low: float
    middle: float
    high: float


class Measure(NamedTuple):
    """A value of a key beside those of ordinary keys, as text.

    Attributes:
        error: its standard error; empty without one.
        ordinary: what 5%, 50%, 95% and 99.9% of ordinary keys do not exceed; empty if unknown.
        scale: the same as places; `None` if too little is known.
    """

    name: str
    label: str
    value: str
    error: str
    ordinary: tuple[str, ...]
    place: Place
    tone: Tone
    scale: Scale | None


def measure(fact: Fact) -> Measure:
    """A fact as it is shown."""
    place = _place(fact)
    return Measure(
        name=fact.name,
        label=fact.label,
        value=as_text(fact.unit, fact.value),
        error=as_text(fact.unit, fact.error) if fact.error else "",
        ordinary=tuple("" if x is None else as_text(fact.unit, x) for x in fact.ordinary),
        place=place,
        tone=_TONES[place],
        scale=scale_of(fact),
    )


def as_text(unit: Unit, value: float) -> str:
    """A value with its unit.

    >>> as_text("share", 0.25), as_text("hours", 1.5), as_text("count", 12_345.0)
    ('25%', '1 h 30 min', '12.3k')
    """
    if not math.isfinite(value):
        return "?"
    if unit == "share":
        return percent(value)
    if unit in _SECONDS:
        return span(value * _SECONDS[unit])
    return compact(round(value) if unit == "count" else round(value, 2))


def scale_of(fact: Fact) -> Scale | None:
    """The places of a value and of ordinary ones."""
    known = [x for x in fact.ordinary if x is not None]
    middle = fact.ordinary[1]
    if middle is None or not all(map(math.isfinite, [*known, fact.value])):
        return None
    low = known[0]
    high = next((x for x in fact.ordinary[2:] if x is not None), middle)
    convert: Callable[[float], float] = float if fact.unit in _LINEAR else _logarithm
    values = [convert(x) for x in (fact.value, low, middle, high)]
    least, most = min(0.0, *values), max(values) * _MARGIN
    if fact.unit == "share":
        most = 1.0
    width = most - least or 1.0
    return Scale(*((x - least) / width for x in values))


def last_day(activity: KeyActivity, label: str) -> dict[str, Any]:
    """Requests in each of the last 24 clock hours, as data of a chart."""
    last = int(activity.last_seen // HOUR) * HOUR
    hours = [last - HOUR * i for i in reversed(range(len(activity.by_hour)))]
    return _series(hours, label, activity.by_hour)


def rhythm(activity: KeyActivity, label: str) -> dict[str, Any]:
    """Share of the requests by hour of the day (UTC), as data of a chart."""
    total = max(sum(activity.rhythm), 1)
    shares = [round(each / total, 4) for each in activity.rhythm]
    hours = [f"{hour:02}" for hour in range(len(shares))]
    return _series(hours, label, shares, unit="percent")


def _series(x: list[Any], label: str, values: list[Any], unit: str = "count") -> dict[str, Any]:
    return {"x": x, "series": [{"label": label, "values": values}], "unit": unit}


def _logarithm(value: float) -> float:
    return math.copysign(math.log2(1.0 + abs(value)), value)


def _place(fact: Fact) -> Place:
    """Where a value lies, unless it reads as the ordinary one does."""

    def differs(x: float) -> bool:
        return as_text(fact.unit, fact.value) != as_text(fact.unit, x)

    low, _, high, highest = fact.ordinary
    if highest is not None and fact.value > highest and differs(highest):
        return "far_above"
    if high is not None and fact.value > high and differs(high):
        return "above"
    if low is not None and fact.value < low and differs(low):
        return "below"
    return ""

"""Values in words, for readers who do not know the monitor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from monitor.alerting.alerts import Action, Severity
from monitor.evidence.facts import MemberFact
from monitor.identity import ACCOUNT_PREFIX

UNKNOWN = "not known"
LEAST = 1e-6  # probability that a baseline of ordinary keys can support
_UNITS = {"count": "", "score": "", "deviations": "standard deviations", "per hour": "per hour"}

KINDS = {  # by kind of alert
    "burst": "Far more requests than ordinary keys send",
    "coverage": "Prompts as in a data set for training",
    "elicitation": "Prompts that ask for training material",
    "harvest": "A program works through a list of tasks",
    "combined": "Several signs together",
    "campaign": "Keys that act together",
    "takeover": "The key is suddenly used by somebody else",
    "templates": "Many prompts from a few templates",
    "automation": "Requests on a timer, around the clock",
    "pivot": "A sudden move to a new model",
}
ACTIONS: dict[Action, str] = {
    "observe": "watch, without any restriction",
    "mark": "mark the responses",
    "throttle": "limit the rate of requests",
    "challenge": "demand proof of identity",
    "block": "refuse requests",
}
SEVERITIES: dict[Severity, str] = {
    "info": "notable",
    "warning": "serious",
    "critical": "very serious",
}
SUBJECTS = {
    "api_key": "API key",
    "account": "account",
    "end_user": "end user",
    "campaign": "group of API keys",
}
TIES = {  # by kind of evidence that ties a member to the others
    "direction": "similar prompts",
    "likeness": "prompts as in training lists",
    "born": "first use at the same time",
    "pace": "similar request rate",
    "even": "steady requests",
    "variety": "similar variety of prompts",
    "follow_ups": "few follow-up questions",
    "repeats": "few repeated prompts",
    "payment": "shared payment",
    "network": "shared network",
    "tls_fingerprint": "shared TLS client",
    "user_agent": "shared user agent",
    "system": "shared system prompt",
    "model": "same model",
    "imported": "known to a partner",
}
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Text with control characters spelled out, such as those that reverse its direction."""
    return _CONTROL.sub(lambda found: f"\u27e8U+{ord(found[0]):04X}\u27e9", text)


def moment(ts: float) -> str:
    """Epoch seconds as date and time in UTC; `not known` for 0."""
    if not ts or not math.isfinite(ts):
        return UNKNOWN
    try:
        return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def day(ts: float) -> str:
    """Epoch seconds as a date in UTC."""
    return moment(ts)[:10]


def duration(seconds: float) -> str:
    """A duration in its two largest units that matter.

    >>> duration(93_600)
    '1 day 2 hours'
    """
    minutes = max(round(seconds / 60), 0)
    if minutes < 1:
        return "less than a minute"
    units = (("day", 1440), ("hour", 60), ("minute", 1))
    parts = []
    for name, size in units:
        whole, minutes = divmod(minutes, size)
        if whole:
            parts.append(count(whole, name))
        elif parts:
            break
    return " ".join(parts[:2])


def count(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless it is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def members(found: Sequence[MemberFact]) -> str:
    """How many members a group has, and what they are."""
    accounts = sum(each.key.startswith(ACCOUNT_PREFIX) for each in found)
    keys = len(found) - accounts
    if keys and accounts:
        return f"{count(keys, 'API key')} and {count(accounts, 'account')}"
    return count(accounts, "account") if accounts else count(keys, "API key")


def number(value: float | None, unit: str = "") -> str:
    """A value with its unit: whole numbers in full, others to three digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if unit == "share":
        return percent(value, 1.0)
    if value == round(value) or abs(value) >= 100:
        text = f"{value:,.0f}"
    elif abs(value) < 1e-3:
        text = f"{value:.1e}"
    else:
        text = f"{value:.3g}"
    return f"{text} {_UNITS.get(unit, unit)}".rstrip()


def percent(part: float, whole: float) -> str:
    """A share in percent, to two digits.

    >>> percent(1, 3), percent(1, 10_000), percent(0, 5)
    ('33%', '0.01%', '0%')
    """
    if not whole:
        return UNKNOWN
    share = 100.0 * part / whole
    if share and share < 0.01:
        return "less than 0.01%"
    return f"{share:.2g}%" if share < 99.5 else f"{share:.4g}%"


def odds(probability: float, least: float = LEAST) -> str:
    """A probability as "1 in N", rounded in favour of the key.

    Args:
        least: the smallest probability that the data support.

    >>> odds(3.1e-5), odds(0.2), odds(1e-9)
    ('1 in 32,000', '1 in 5', 'less than 1 in 1,000,000')
    """
    if not math.isfinite(probability) or probability > 0.5:
        return "more than 1 in 2"
    if probability < least:
        return f"less than 1 in {1.0 / least:,.0f}"
    times = 1.0 / probability
    step = 10.0 ** max(math.floor(math.log10(times)) - 1, 0)
    return f"1 in {math.floor(times / step + 1e-9) * step:,.0f}"


def kind(name: str) -> str:
    """A kind of alert in words."""
    return KINDS.get(name, name.replace("_", " "))


def tie(name: str) -> str:
    """A kind of evidence between members in words."""
    return TIES.get(name, name.replace("_", " "))

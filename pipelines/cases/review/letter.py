"""Letters: what was done to a customer and why, in words that give detection away to nobody.

An attacker gets such a letter, too. So it has one of three grounds and no more: how the subject was
used, that it was used together with others, or that it may be in other hands. All alerts on one
subject have the same ground, whatever found it. There is no detector, threshold, number of
requests, time of day or member in it, and a mark on responses is never announced. The reference is
random.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from textwrap import TextWrapper
from typing import Any, Literal

import msgspec

from monitor.alerting.alerts import Action
from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.evidence.facts import SubjectType

Format = Literal["txt", "md", "html"]
FORMATS: tuple[Format, ...] = ("txt", "md", "html")
DAY = 86_400.0

_WIDTH = 76  # characters of a line of plain text
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is mistaken for another
_USE = (
    "Taken together, its requests are of a kind that we see when answers are collected in bulk, "
    "for example to train another model. Our terms of use do not allow that."
)
_TOGETHER = "It was used together with others in a coordinated way."
_OTHER_HANDS = "Its use has changed so much that it may be in the hands of somebody else."
_GROUNDS = {"campaign": _TOGETHER, "takeover": _OTHER_HANDS}
_MEASURES: dict[Action, str] = {
    "throttle": "It may send only a limited number of requests per minute",
    "challenge": "Its requests are answered only after an additional check",
    "block": "Its requests are refused",
}
_SUBJECTS: dict[SubjectType, str] = {
    "api_key": "API key",
    "account": "account",
    "end_user": "access",
    "campaign": "API key",
}
_AUTOMATIC = "The decision was made by a program."
_BY_PERSON = "The decision was made by a person, with the help of a program."


class Measure(msgspec.Struct, frozen=True):
    """What was done: an action, and since when, epoch seconds; by a person, or by the monitor."""

    action: Action
    since: float
    by_person: bool = False


class Content(msgspec.Struct, frozen=True):
    """Everything that a template may use.

    Attributes:
        subject: "API key", "account" or "access".
        measures, grounds: sentences.
        people: whether a program or a person decided, a sentence.
        written, answer_by: dates.
        answer_days: within which the provider answers an appeal.
        contact: where appeals go; may be empty.
    """

    reference: str
    subject: str
    measures: list[str]
    grounds: list[str]
    people: str
    written: str
    answer_by: str
    answer_days: int
    contact: str


def new_reference() -> str:
    """A reference that reveals nothing: `R-` and 12 random characters."""
    text = "".join(secrets.choice(_LETTERS) for _ in range(12))
    return f"R-{text[:4]}-{text[4:8]}-{text[8:]}"


def content_of(
    reference: str,
    type: SubjectType,
    kinds: set[str],
    measure: Measure,
    settings: Settings,
    now: float,
) -> Content:
    """The content of a letter.

    Args:
        type: of the subject that the letter is about.
        kinds: of the alerts behind the decision.
        now: wall-clock time, epoch seconds.
    """
    cases = settings.cases
    return Content(
        reference=reference,
        subject=_SUBJECTS[type],
        measures=[f"{_MEASURES[measure.action]}, since {date(measure.since)}."],
        grounds=sorted({_GROUNDS.get(kind, _USE) for kind in kinds} or {_USE}),
        people=_BY_PERSON if measure.by_person else _AUTOMATIC,
        written=date(now),
        answer_by=date(now + cases.appeal_days * DAY),
        answer_days=round(cases.answer_days),
        contact=cases.appeal_contact or "",
    )


def date(ts: float) -> str:
    """The day of a time in epoch seconds, UTC."""
    found = datetime.fromtimestamp(ts, UTC)
    return f"{found.day} {found:%B %Y}"


def render(content: Content, settings: Settings, format: Format | None = None) -> str:
    """Write a letter.

    Args:
        format: of the letter; default: that of the provider's template, or plain text.

    Raises:
        ConfigError: if the provider's template cannot be used, or has another format.
    """
    file = settings.cases.letter_template
    if file is not None and format not in (None, format_of(file)):
        raise ConfigError(f"XM_CASES__LETTER_TEMPLATE names {file}, which is no .{format}.")
    if file is None:
        format = format or "txt"
        source = resources.files(__package__).joinpath("templates", f"letter.{format}")
        return _fill(source.read_text("utf-8"), format, content)
    from jinja2 import TemplateError

    try:
        return _fill(file.read_text("utf-8"), format_of(file) or "txt", content)
    except OSError as error:
        raise ConfigError(
            f"XM_CASES__LETTER_TEMPLATE names {file}, which cannot be read: {error.strerror}."
        ) from error
    except (TemplateError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The template {file} cannot be used: {error}. It may use the names "
            f"{', '.join(Content.__struct_fields__)}."
        ) from error


def format_of(file: Path) -> Format | None:
    """The format of a file by its name."""
    return next((each for each in FORMATS if f".{each}" in file.suffixes[-2:]), None)


def form_of(text: str) -> Format:
    """The format of a letter."""
    return "html" if text.startswith("<") else "md" if text.startswith("# ") else "txt"


def _fill(source: str, format: Format, content: Content) -> str:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        autoescape=format == "html", undefined=StrictUndefined, keep_trailing_newline=True
    )
    values: dict[str, Any] = msgspec.structs.asdict(content)
    text = environment.from_string(source).render(values)
    return _wrapped(text) if format == "txt" else text


def _wrapped(text: str) -> str:
    """A plain text with lines that fit a mail."""
    wrap = TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.splitlines():
        wrap.subsequent_indent = "  " if line.startswith("- ") else ""
        lines.append(wrap.fill(line))
    return "\n".join(lines) + "\n"

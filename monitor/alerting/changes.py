"""Changes that people make, as the audit has them, and the checks of what they enter."""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal

import msgspec

from monitor.errors import InputError
from monitor.identity import is_pseudonym
from monitor.requests.ties import is_tie

LONGEST_SECONDS = 366 * 86_400.0  # of a person's decision or allow-list entry
_LONGEST_TEXT = 500  # characters of a name or a reason

What = Literal[
    "kill", "shadow", "caps", "allow", "disallow", "decide", "delete", "withdraw", "reinstate",
    "cap", "silence", "case", "share", "import", "drop", "letter", "appeal", "uphold", "overturn",
    "forget", "replay", "propose", "approve", "refuse",
]  # fmt: skip


class Change(msgspec.Struct, frozen=True):
    """An entry of the audit.

    Attributes:
        what: one of What; a newer version may have more.
        id: the same for an entry that was written twice.
        at: wall-clock time, epoch seconds.
        who: a person's name, or `monitor`.
        subject: pseudonym, kind of alert or alert id; empty for all.
        before, after: the JSON that changed; `None` where there was or is nothing.
        reference: the same for all changes of one action of a person; empty for one alone.
    """

    what: str
    subject: str
    who: str
    why: str
    before: Any = None
    after: Any = None
    id: str = msgspec.field(default_factory=lambda: f"o_{secrets.token_hex(10)}")
    at: float = msgspec.field(default_factory=time.time)
    reference: str = ""


def change_by(who: str, what: What, subject: str, why: str) -> Change:
    """A change that a person is about to make.

    Raises:
        InputError: if the name or the reason cannot be used.
    """
    return Change(what, subject, checked_text(who, "name"), checked_text(why, "reason"))


def checked_text(text: str, what: str) -> str:
    """A text that a person wrote. It goes to terminals and logs, so control characters do not."""
    text = text.strip()
    if not text or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise InputError(f"The {what} must be a line of 1 to {_LONGEST_TEXT} printable characters.")
    return text


def checked_seconds(seconds: float) -> float:
    """A duration that a person chose."""
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise InputError(
            f"The duration is {seconds:,.0f} s. Choose 1 s to {LONGEST_SECONDS / 86_400:.0f} days."
        )
    return seconds


def check_subject(subject: str) -> None:
    """Check that a decision can be made on a subject."""
    if not is_pseudonym(subject):
        raise InputError(
            "The subject is not a pseudonym: k_, a_ or u_ and 24 hexadecimal digits, as in alerts. "
            "For a campaign, decide on its members or withdraw its alert."
        )


def check_allowed(subject: str) -> None:
    """Check that a subject can be on the allow-list."""
    if not (is_pseudonym(subject) or is_tie(subject)):
        raise InputError(
            "The subject is not a pseudonym: k_, a_ or u_ and 24 hexadecimal digits, as in alerts, "
            "p_ for a payment, n_ for a network."
        )


def nothing_to_change(change: Change) -> str:
    """Why a change has no effect, in a sentence."""
    match change.what:
        case "disallow":
            return f"{change.subject} is not on the allow-list."
        case "delete":
            return f"There is no decision on {change.subject}."
        case "reinstate":
            return f"The alert {change.subject} is not withdrawn."
        case _:
            return f"Nobody has set {change.what}: the settings apply already."

"""Silences: people stop the delivery of alerts for a while. Each is in the audit."""

from __future__ import annotations

import time

import msgspec

from monitor.alerting.changes import Change, change_by, checked_seconds
from monitor.detectors import ALERT_KINDS
from monitor.errors import InputError
from monitor.store.alert_book import AlertBook, Silence

KINDS = (*ALERT_KINDS, "campaign")
_PREFIXES = ("k_", "a_", "u_", "c_")


def silence(
    book: AlertBook, subject: str, kind: str, seconds: float, who: str, why: str
) -> Silence:
    """Silence alerts.

    Args:
        subject: an alert id, or what alerts are about; empty: any.
        kind: of alert; empty: any.

    Raises:
        InputError: if an argument cannot be used.
    """
    if subject and not subject.startswith(_PREFIXES):
        raise InputError(
            "The subject is not an id as in alerts: a_ for an alert or an account, k_ for a key, "
            "u_ for an end user, c_ for a campaign."
        )
    if kind and kind not in KINDS:
        raise InputError(f"There is no kind {kind}: choose from {', '.join(sorted(KINDS))}.")
    change = change_by(who, "silence", subject or kind, why)
    added = Silence(
        f"s_{change.id.removeprefix('o_')}",
        change.who,
        change.why,
        change.at,
        change.at + checked_seconds(seconds),
        subject,
        kind,
    )
    book.silence(added, _with(change, None, added))
    return added


def end_silence(book: AlertBook, id: str, who: str, why: str) -> Silence:
    """End a silence before its time.

    Args:
        id: its id or a unique prefix.

    Raises:
        InputError: if there is none, or several.
    """
    matches = [each for each in book.silences(time.time()) if each.id.startswith(id)]
    if len(matches) != 1:
        number = "no silence" if not matches else "more than one silence"
        raise InputError(f"There is {number} {id}: list them with `xm alerts silence`.")
    (found,) = matches
    change = change_by(who, "silence", found.subject or found.kind, why)
    book.end_silence(found.id, _with(change, found, None))
    return found


def _with(change: Change, before: Silence | None, after: Silence | None) -> Change:
    return msgspec.structs.replace(
        change,
        before=before and msgspec.to_builtins(before),
        after=after and msgspec.to_builtins(after),
    )

"""Completion of ids in a shell, from the open and recent alerts in Redis.

It is bounded, quick, and never an error: without Redis it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

_MOST = 500  # alerts that are looked at
_SECONDS = 0.5  # for an answer of Redis


def _alerts() -> Iterator[tuple[str, str, list[str]]]:
    """Id, subject and members of alerts."""
    from monitor import config
    from monitor.store.alert_book import AlertBook

    book = AlertBook(config.load().redis_url, _SECONDS)
    for entry in islice(book.entries(), _MOST):
        alert = entry.alert
        yield alert.id, alert.subject.id, alert.subject.members or []


def _offered(find: Callable[[], Iterator[str]], incomplete: str) -> list[str]:
    try:
        return sorted({each for each in find() if each.startswith(incomplete)})[:_MOST]
    except Exception:  # of the settings, of Redis: nobody reads an error in a completion
        return []


def alert_ids(incomplete: str) -> list[str]:
    """Ids of alerts."""
    return _offered(lambda: (id for id, _, _ in _alerts()), incomplete)


def campaign_ids(incomplete: str) -> list[str]:
    """Ids of campaigns with an alert."""
    return [each for each in subjects(incomplete) if each.startswith("c_")]


def keys(incomplete: str) -> list[str]:
    """Keys, accounts and end users with an alert, or in a campaign with one."""
    return [each for each in subjects(incomplete) if not each.startswith("c_")]


def subjects(incomplete: str) -> list[str]:
    """What alerts are about."""
    return _offered(
        lambda: (each for _, subject, members in _alerts() for each in (subject, *members)),
        incomplete,
    )

"""Follows what applies to each subject, and writes what has changed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

import msgspec

from monitor.identity import ACCOUNT_PREFIX, END_USER_PREFIX
from monitor.store.control import ControlStore
from monitor.store.inventory import decisions
from monitor.store.redis import RedisStore
from pipelines.console.reader.subjects import ensure
from pipelines.decide.copy import DecisionCopy, decoded, held_by
from pipelines.inspect.decisions import Applied, applied

_WRITE = "INSERT OR REPLACE INTO in_force VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ALL_SECONDS = (
    60.0  # after which steps of decisions, allow-list entries and switches may have ended
)
_RELOAD_SECONDS = 600.0


class InForce:
    """Follows the feed of decisions.

    Args:
        control: has feed and switches.
        store: knows whether workers are in shadow mode.

    Attributes:
        copy: of the decisions and of what people have set.
    """

    def __init__(self, control: ControlStore, store: RedisStore) -> None:
        self.copy = DecisionCopy(shadow=True)
        self._control, self._store = control, store
        self._shadow: bool | None = None
        self._changed: set[str] = set()
        self._all_due = self._reload_due = 0.0
        self._written: dict[str, Applied] = {}
        self.copy.changed = self._note

    def read(self) -> None:
        """Read what has changed.

        Raises:
            StoreError: if Redis does not answer.
        """
        now, shadow = time.monotonic(), self._store.shadow()
        if shadow != self._shadow:
            self._shadow, self._all_due = shadow, 0.0
        if now >= self._reload_due:
            self._load()
            self._reload_due = now + _RELOAD_SECONDS
        feed = self._control.feed(self.copy.position)
        if feed.lost:
            self._load()
        elif feed.entries:
            try:
                entries = list(decoded((name, value) for _, name, value in feed.entries))
            except msgspec.MsgspecError:
                self._load()  # it says what is wrong
            else:
                self.copy.apply(entries, feed.entries[-1].id)
        if now >= self._all_due:
            self._note(None)
            self._all_due = now + _ALL_SECONDS

    def write(self, connection: sqlite3.Connection, now: float) -> int:
        """Write what has changed; the number of subjects.

        Args:
            now: wall-clock time, epoch seconds.
        """
        if not self._written:  # the file may be older than this process
            connection.execute("DELETE FROM in_force")
        accounts: dict[str, str] = {}
        new: list[Applied] = []
        gone: list[str] = []
        for subject in self._changed:
            held = self.copy.held(subject)
            found = applied(held, self.copy.control, self._shadow, now)
            before = self._written.get(subject)
            if found == before:
                continue
            if found is None or found.until <= now:
                self._written.pop(subject, None)
                gone.append(subject)
            else:
                self._written[subject] = found
                new.append(found)
                ties = {tie for each in held for tie in each.ties}
                account = next((tie for tie in ties if tie.startswith(ACCOUNT_PREFIX)), "")
                if not subject.startswith((ACCOUNT_PREFIX, END_USER_PREFIX)):
                    accounts[subject] = account
        self._changed.clear()
        connection.executemany(_WRITE, [self._row(each) for each in new])
        connection.executemany("DELETE FROM in_force WHERE subject = ?", [(each,) for each in gone])
        ensure(connection, accounts)
        return len(new) + len(gone)

    def reset(self) -> None:
        """Count everything as changed: what was written is lost."""
        self._written, self._all_due = {}, 0.0

    def _row(self, found: Applied) -> tuple[object, ...]:
        made = max((each.made_at for each in self.copy.held(found.subject)), default=0.0)
        return (
            found.subject,
            found.action,
            found.decided,
            found.why,
            found.origin,
            found.kind,
            found.reason,
            found.until,
            found.rate,
            made,
        )

    def _load(self) -> None:
        position = self._control.position()
        control = self._control.read()
        self.copy.load(held_by(decisions(self._control.server)), control, position)

    def _note(self, subjects: Iterable[str] | None) -> None:
        self._changed.update(self.copy.subjects if subjects is None else subjects)
        if subjects is None:
            self._changed.update(self._written)

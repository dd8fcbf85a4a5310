"""What Redis adds to the view: each part as often as it changes and its cost allows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec
import numpy as np

from monitor.alerting.changes import Change
from monitor.campaigns.fingerprint import Fingerprints
from monitor.campaigns.population import ROW, Population
from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.records.profile import DAY
from monitor.sharing.salt import salt_of
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from monitor.store.indicators import IndicatorStore
from monitor.store.operate.tenants import TenantStore
from monitor.store.redis import RedisStore
from pipelines.console.reader import alerts, changes, linked, records, rows, subjects
from pipelines.console.reader.cost import Prices
from pipelines.console.reader.in_force import InForce
from pipelines.console.view.database import READ, Writer, drop_indexes, make_indexes

log = logging.getLogger(__name__)

_AUDIT = "audit"  # progress
_PAGE = 1_000
_ACCOUNTS = 20_000  # whose tenants are asked for at a time
_MOST_KEYS = 2_000_000  # the longest silent ones are left out first
_NOTE_SECONDS = 5.0  # between two notes of when Redis was read
_ROWS_SECONDS = 1.0
#: Indexes that make the first reading of all keys slow.
_OF_IDENTIFIERS = (
    *("keys_by_account", "keys_by_last_seen", "keys_by_network", "keys_by_payment"),
    "keys_by_system",
)
_COST = 10.0  # a part rests for this many times as long as it took


class Stored:
    """Reads Redis.

    Args:
        writer: of the view, not shared with other threads.
    """

    def __init__(self, settings: Settings, writer: Writer, prices: Prices) -> None:
        self._settings, self._writer, self._prices = settings, writer, prices
        self._control = ControlStore(settings.redis_url)
        self._book = AlertBook(settings.redis_url)
        self._store = RedisStore(settings.redis_url, settings.record_seconds)
        self._in_force = InForce(self._control, self._store)
        self._linked = linked.Linked(self._store, settings)
        self._parts: list[tuple[float, Callable[[], None]]] = [
            (1.0, self._read_audit),
            (300.0, self._read_book),
            (1.0, self._read_in_force),
            (0.0, self._read_rows),
            (2.0, self._read_held),
            (5.0, self._read_tenants),
            (5.0, self._read_campaigns),
            (10.0, self._read_records),
            (60.0, self._read_templates),
            (600.0, self._expire),
        ]
        self._indicators = _indicators(settings)
        self._tenants = TenantStore(settings.redis_url)
        self._asked = ""  # the last account of all in turn
        self._noted = 0.0
        topic, linkers = settings.topics.fingerprints, settings.topics.linkers
        self._partitions = [f"{topic}:{number}" for number in range(linkers)]
        self._rows = {
            name: rows.pages(self._store, name)
            for name in self._partitions
            if not writer.progress(f"rows:{name}")
        }
        self._dropped = False
        self._due = [0.0] * len(self._parts)

    def read(self) -> bool:
        """Read what is due; whether more of it waits.

        Raises:
            StoreError: if Redis does not answer.
        """
        for i, (seconds, part) in enumerate(self._parts):
            begun = time.monotonic()
            if begun < self._due[i]:
                continue
            part()
            ended = time.monotonic()
            rest = _COST * (ended - begun) if seconds else 0.0
            self._due[i] = ended + max(seconds, rest)
        return bool(self._rows)

    def _read_rows(self) -> None:
        """Read the keys that the linker knows, once, and a second's worth at a time.

        The topic of fingerprints has what follows.
        """
        if not self._rows:
            return
        begun = time.monotonic()
        if not self._dropped:
            with self._writer.transaction() as connection:
                drop_indexes(connection, _OF_IDENTIFIERS)
            self._dropped = True
        for partition, pages in list(self._rows.items()):
            for page in pages:
                fingerprints, keys = _population(page)
                with self._writer.transaction() as connection:
                    gone = changes.forgotten(connection)
                    which = [i for i, key in enumerate(keys) if key not in gone]
                    found = fingerprints[which], [keys[i] for i in which]
                    subjects.add_fingerprints(connection, *found, self._prices)
                if time.monotonic() - begun > _ROWS_SECONDS:
                    return
            del self._rows[partition]
        with self._writer.transaction() as connection:
            make_indexes(connection, _OF_IDENTIFIERS)
            for partition in self._partitions:
                self._writer.note(f"rows:{partition}", "read")

    def _read_book(self) -> None:
        """Read the alert book, which has open alerts that the topic may have dropped."""
        entries = self._book.entries()
        while page := list(islice(entries, _PAGE)):
            with self._writer.transaction() as connection:
                gone = changes.forgotten(connection)
                alerts.add_alerts(
                    connection,
                    [
                        alerts.Seen(entry.alert, entry.changed_at)
                        for entry in page
                        if entry.changed_at > gone.get(entry.alert.subject.id, -1.0)
                    ],
                )

    def _read_audit(self) -> None:
        after = self._writer.progress(_AUDIT)
        entries = self._control.audit_entries(f"({after}" if after else "-")
        while page := list(islice(entries, _PAGE)):
            with self._writer.transaction() as connection:
                changes.add_changes(connection, _changes(page))
                self._writer.note(_AUDIT, page[-1][0])

    def _read_in_force(self) -> None:
        self._in_force.read()
        now = time.time()
        try:
            with self._writer.transaction() as connection:
                self._in_force.write(connection, now)
                connection.execute("DELETE FROM in_force WHERE until <= ?", (now,))
                if now - self._noted >= _NOTE_SECONDS:
                    self._writer.note(READ, f"{now:.0f}")
                    self._noted = now
        except BaseException:
            self._in_force.reset()
            raise

    def _read_held(self) -> None:
        """Read withdrawals, silences, and which alerts are part of others."""
        now = time.time()
        silences = self._book.silences(now)
        query = "SELECT DISTINCT subject FROM alerts WHERE state != 'resolved'"
        open_on = [row["subject"] for row in self._writer.connection.execute(query)]
        wholes = self._book.wholes(open_on)
        with self._writer.transaction() as connection:
            alerts.set_withdrawn(connection, self._in_force.copy.control.withdrawn.values())
            alerts.set_silenced(connection, silences, now)
            alerts.set_wholes(connection, wholes)

    def _read_tenants(self) -> None:
        """Ask for the tenants of some accounts. An entry may come later than a fingerprint."""
        if self._rows:  # without an index of accounts
            return
        asked = subjects.accounts_to_ask(self._writer.connection, self._asked, _ACCOUNTS)
        self._asked = asked[-1] if asked and asked[-1] > self._asked else ""
        found = self._tenants.of(asked)
        with self._writer.transaction() as connection:
            if subjects.set_tenants(connection, asked, found):
                linked.set_tenants(connection)

    def _read_campaigns(self) -> None:
        try:
            for found in self._linked.read():
                with self._writer.transaction() as connection:
                    linked.write(connection, found, self._prices)
                    linked.set_tenants(connection, found.detail.summary.id)
        except BaseException:
            self._linked.reset()
            raise

    def _read_records(self) -> None:
        wanted = records.flagged(self._writer.connection)
        numbers = records.read_numbers(self._store, wanted)
        with self._writer.transaction() as connection:
            records.write_numbers(connection, numbers, self._prices)

    def _read_templates(self) -> None:
        """Read the templates of flagged keys, as hashes that partners know."""
        if self._indicators is None:
            return
        flagged = records.flagged(self._writer.connection)
        found = self._indicators.templates_of(flagged)
        pairs = [(hashed, key) for key, hashes in found.items() for hashed in hashes]
        with self._writer.transaction() as connection:
            connection.execute("DELETE FROM templates")
            connection.executemany("INSERT OR IGNORE INTO templates VALUES (?, ?)", pairs)

    def _expire(self) -> None:
        """Delete what is older than the history that is wanted."""
        limit = time.time() - self._settings.console.history_days * DAY
        with self._writer.transaction() as connection:
            for table, condition in (
                ("alerts", "state = 'resolved' AND changed_at < ?"),
                ("alert_messages", "seen_at < ?"),
                ("decisions", "at < ?"),
                ("audit", "at < ?"),
            ):
                connection.execute(f"DELETE FROM {table} WHERE {condition}", (limit,))
            connection.execute(
                "DELETE FROM campaigns WHERE ended > 0 AND ended < until - ?",
                (self._settings.console.history_days * DAY,),
            )
            connection.execute(
                "DELETE FROM members WHERE campaign NOT IN (SELECT id FROM campaigns)"
            )
            connection.execute(
                "DELETE FROM keys WHERE severity = 0 AND last_seen > 0 AND last_seen < "
                "(SELECT max(last_seen) FROM keys) - ?",
                (self._settings.record_seconds,),
            )
            connection.execute(
                "DELETE FROM keys WHERE severity = 0 AND key IN "
                "(SELECT key FROM keys ORDER BY last_seen LIMIT max(0, "
                "(SELECT count(*) FROM keys) - ?))",
                (_MOST_KEYS,),
            )


def _indicators(settings: Settings) -> IndicatorStore | None:
    """What is shared with partners; `None` if nothing is."""
    try:
        salt = salt_of(settings)
    except ConfigError as error:  # pages do without it
        log.warning("console_without_templates reason=%r", str(error))
        return None
    return IndicatorStore(settings.redis_url, salt=salt.id) if salt else None


def _changes(page: Iterable[tuple[str, bytes]]) -> Iterator[Change]:
    for id, value in page:
        try:
            yield msgspec.json.decode(value, type=Change)
        except msgspec.MsgspecError as error:  # of a newer version
            log.warning("change_unreadable entry=%s reason=%r", id, str(error))


def _population(rows: dict[str, bytes]) -> tuple[Fingerprints, list[str]]:
    """The fingerprints in rows of the linker, `(n,) FINGERPRINT`, and the n keys."""
    if all(len(row) == ROW.itemsize for row in rows.values()):
        return np.frombuffer(b"".join(rows.values()), ROW)["fingerprint"], list(rows)
    population = Population(max(len(rows), 1))  # it reads earlier layouts, too
    population.load(rows)
    return population.rows["fingerprint"], population.keys

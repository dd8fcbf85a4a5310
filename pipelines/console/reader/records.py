"""Reads the numbers of subjects with open alerts from their records.

A key with few requests has no fingerprint, and a fingerprint may be 64 requests old.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from monitor.identity import ACCOUNT_PREFIX
from monitor.records.migrations import read
from monitor.records.profile import RECORD, SCALES, Profile
from monitor.store.base import name_in
from monitor.store.redis import RedisStore
from pipelines.console.reader.cost import Prices
from pipelines.console.view.keys import unsigned

_PAGE = 500  # records at a time
_MOST = 20_000  # subjects, the most severe first
_HOUR = SCALES.index("1h")
_FLAGGED = "SELECT key FROM keys WHERE severity > 0 ORDER BY severity DESC, cost DESC LIMIT ?"
_UPDATE = """
UPDATE keys SET requests = ?2, tokens = ?3, cost = ?4, hour = ?5, first_seen = ?6, last_seen = ?7
WHERE key = ?1 AND last_seen <= ?7"""

Row = tuple[str, int, float, int, float, float]  # requests, tokens, hour, first and last seen


def flagged(connection: sqlite3.Connection) -> list[str]:
    """The subjects with an open alert."""
    return [row["key"] for row in connection.execute(_FLAGGED, (_MOST,))]


def read_numbers(store: RedisStore, subjects: Sequence[str]) -> list[Row]:
    """The numbers of subjects, of all partitions that have a record; without those of none.

    Raises:
        StoreError: if Redis does not answer.
    """
    partitions = sorted(store.baselines())
    found: list[Row] = []
    for start in range(0, len(subjects), _PAGE):
        part = subjects[start : start + _PAGE]
        names: dict[str, str] = {}  # of records, and the subject of each
        for partition in partitions:
            keys = [each for each in part if not each.startswith(ACCOUNT_PREFIX)]
            names |= zip(store.names(partition, keys), keys, strict=True)
            accounts = [each for each in part if each.startswith(ACCOUNT_PREFIX)]
            names |= {name_in(partition, each): each for each in accounts}
        found += _totals(store, names)
    return found


def write_numbers(connection: sqlite3.Connection, rows: Sequence[Row], prices: Prices) -> None:
    """Write numbers of subjects that have a row."""
    for key, requests, tokens, hour, first, last in rows:
        known = connection.execute("SELECT model FROM keys WHERE key = ?", (key,)).fetchone()
        cost = prices.cost(tokens, unsigned(known["model"]) if known else 0)
        connection.execute(_UPDATE, (key, requests, int(tokens), cost, hour, first, last))


def _totals(store: RedisStore, names: dict[str, str]) -> list[Row]:
    """Records added up by subject."""
    values = zip(names.values(), store.load(list(names)), strict=True)
    known = [(subject, read(data)) for subject, data in values if data is not None]
    if not known:
        return []
    records = np.frombuffer(b"".join(record.tobytes() for _, record in known), RECORD)
    hours = Profile(records).counts[:, _HOUR].tolist()
    totals: dict[str, Row] = {}
    for (key, _), record, hour in zip(known, records, hours, strict=True):
        row = (
            key,
            int(record["requests"]),
            float(record["tokens"]),
            int(hour),
            float(record["first_seen"]),
            float(record["last_seen"]),
        )
        if (old := totals.get(key)) is not None:
            added = (old[1] + row[1], old[2] + row[2], old[3] + row[3])
            row = (key, *added, min(old[4], row[4]), max(old[5], row[5]))
        totals[key] = row
    return list(totals.values())

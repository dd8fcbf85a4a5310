"""Keys, accounts and end users in the view."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from monitor.alerting.alerts import SEVERITIES, Severity
from pipelines.console.view.database import View
from pipelines.console.view.scope import Condition, Tenants, among, both, of_tenants

Order = Literal["severity", "requests"]
_ORDERS: dict[Order, str] = {
    "severity": "severity DESC, cost DESC, requests DESC, key",
    "requests": "requests DESC, key",
}
_COLUMNS = (
    "key, account, tenant, requests, tokens, cost, hour, first_seen, last_seen, severity AS level"
)
Identifier = Literal["payment", "network", "tls", "user_agent", "system", "model"]
_IDENTIFIERS: tuple[Identifier, ...] = get_args(Identifier)
INDEXED: tuple[Identifier, ...] = ("payment", "network", "system")
_AT_ONCE = 500
MOST_COUNTED = 10_000  # keys of an account, or with an identifier


class KeyRow(msgspec.Struct, frozen=True):
    """A key, an account or an end user.

    Attributes:
        level: severity of its most severe open alert, 0 without one.
        cost: of its tokens, by the price of its latest model.
        hour: requests in the last complete hour.
        first_seen, last_seen: event time, epoch seconds.
    """

    key: str
    account: str
    tenant: str
    requests: int
    tokens: int
    cost: float
    hour: int
    first_seen: float
    last_seen: float
    level: int

    @property
    def severity(self) -> Severity | None:
        """Of its most severe open alert."""
        return severity_of(self.level)


class KeyPage(msgspec.Struct, frozen=True):
    """Some keys of a list, and how long the list is."""

    rows: list[KeyRow]
    total: int


def find_key(view: View, key: str, tenants: Tenants) -> KeyRow | None:
    """A key, an account or an end user; `None` if it is unknown or of another tenant."""
    where = both(Condition("key = ?", [key]), of_tenants("tenant", tenants))
    query = f"SELECT {_COLUMNS} FROM keys WHERE {where.sql}"
    return next(iter(view.structs(KeyRow, query, where.parameters)), None)


def find_keys(view: View, keys: Iterable[str], tenants: Tenants) -> dict[str, KeyRow]:
    """Several of them, by name; unknown ones and those of other tenants are left out."""
    found: dict[str, KeyRow] = {}
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        where = both(among("key", part), of_tenants("tenant", tenants))
        query = f"SELECT {_COLUMNS} FROM keys WHERE {where.sql}"
        found |= {row.key: row for row in view.structs(KeyRow, query, where.parameters)}
    return found


def flagged_keys(
    view: View,
    tenants: Tenants,
    *,
    limit: int = 50,
    offset: int = 0,
) -> KeyPage:
    """The keys, accounts and end users with an open alert, the most severe first."""
    where = both(Condition("severity > 0", []), of_tenants("tenant", tenants))
    query = (
        f"SELECT {_COLUMNS} FROM keys WHERE {where.sql} ORDER BY {_ORDERS['severity']} "
        "LIMIT ? OFFSET ?"
    )
    rows = view.structs(KeyRow, query, [*where.parameters, limit, offset])
    total = view.number(f"SELECT count(*) FROM keys WHERE {where.sql}", where.parameters)
    return KeyPage(rows, total)


def keys_of_account(
    view: View, account: str, tenants: Tenants, *, limit: int = 50, offset: int = 0
) -> KeyPage:
    """The keys and end users of an account, without the account, the most severe first; counted up
    to MOST_COUNTED."""
    where = both(
        Condition("account != '' AND account = ? AND key != ?", [account, account]),
        of_tenants("tenant", tenants),
    )
    return _indexed(view, where, "severity", limit, offset)


def keys_with(
    view: View, kind: Identifier, hashed: int, tenants: Tenants, *, limit: int = 50, offset: int = 0
) -> KeyPage:
    """The keys whose latest fingerprint has an identifier, counted up to MOST_COUNTED.

    Args:
        kind: one of INDEXED.
        hashed: its keyed hash, unsigned.
    """
    return _indexed(view, _having(kind, hashed, tenants), "requests", limit, offset)


def count_with(
    view: View, kind: Identifier, hashed: int, tenants: Tenants, most: int = MOST_COUNTED
) -> int:
    """The number of keys whose latest fingerprint has an identifier, but at most `most`."""
    return _count(view, _having(kind, hashed, tenants), most)


def identifiers_of(view: View, key: str) -> dict[Identifier, int]:
    """The keyed hashes of a key's latest fingerprint, unsigned, as far as they are known."""
    found = view.row(f"SELECT {', '.join(_IDENTIFIERS)} FROM keys WHERE key = ?", (key,))
    return {} if found is None else {k: unsigned(found[k]) for k in _IDENTIFIERS if found[k]}


def count_keys(view: View, tenants: Tenants) -> int:
    """The number of keys that are known, without accounts and end users."""
    where = of_tenants("tenant", tenants)
    query = f"SELECT count(*) FROM keys WHERE key >= 'k_' AND key < 'k`' AND {where.sql}"
    return view.number(query, where.parameters)


def severity_of(level: int) -> Severity | None:
    """A severity from its number in the view."""
    return SEVERITIES[level - 1] if level else None


def signed(hashed: int) -> int:
    """A 64-bit hash as SQLite stores it."""
    return hashed - (1 << 64) if hashed >= 1 << 63 else hashed


def unsigned(stored: int) -> int:
    """A 64-bit hash as fingerprints have it."""
    return int(stored) & ((1 << 64) - 1)


def _indexed(view: View, where: Condition, order: Order, limit: int, offset: int) -> KeyPage:
    """A page of keys by an index that has the condition, the order and the tenant: so the rows that
    are not shown are never read, however many there are."""
    query = f"SELECT key FROM keys WHERE {where.sql} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"
    names = [row["key"] for row in view.rows(query, [*where.parameters, limit, offset])]
    rows = find_keys(view, names, ())
    return KeyPage([rows[name] for name in names if name in rows], _count(view, where))


def _count(view: View, where: Condition, most: int = MOST_COUNTED) -> int:
    query = f"SELECT count(*) FROM (SELECT key FROM keys WHERE {where.sql} LIMIT ?)"
    return view.number(query, [*where.parameters, most])


def _having(kind: Identifier, hashed: int, tenants: Tenants) -> Condition:
    if kind not in INDEXED:
        raise ValueError(kind)
    return both(
        Condition(f"{kind} != 0 AND {kind} = ?", [signed(hashed)]), of_tenants("tenant", tenants)
    )

"""Writes keys, accounts and end users: from fingerprints, and whatever an alert is about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import ACCOUNT_BYTES, IDENTIFIERS, Fingerprints
from monitor.campaigns.usage import hours
from monitor.identity import ACCOUNT_PREFIX
from pipelines.console.reader.cost import Prices

_MODEL = IDENTIFIERS.index("model")
_UPSERT = """
INSERT INTO keys (key, account, tenant, requests, tokens, cost, hour, first_seen, last_seen,
  payment, network, tls, user_agent, system, model)
VALUES (?1, ?2, coalesce((SELECT tenant FROM tenants WHERE account = ?2), ''), ?3, ?4, ?5, ?6, ?7,
  ?8, ?9, ?10, ?11, ?12, ?13, ?14)
ON CONFLICT (key) DO UPDATE SET
  account = iif(excluded.account != '', excluded.account, account),
  tenant = iif(excluded.account != '', excluded.tenant, tenant),
  requests = excluded.requests, tokens = excluded.tokens, cost = excluded.cost,
  hour = excluded.hour, first_seen = excluded.first_seen, last_seen = excluded.last_seen,
  payment = iif(excluded.payment != 0, excluded.payment, payment),
  network = iif(excluded.network != 0, excluded.network, network),
  tls = iif(excluded.tls != 0, excluded.tls, tls),
  user_agent = iif(excluded.user_agent != 0, excluded.user_agent, user_agent),
  system = iif(excluded.system != 0, excluded.system, system),
  model = iif(excluded.model != 0, excluded.model, model)
WHERE excluded.last_seen >= last_seen"""
_ENSURE = """
INSERT INTO keys (key, account, tenant)
VALUES (?1, ?2, coalesce((SELECT tenant FROM tenants WHERE account = ?2), ''))
ON CONFLICT (key) DO UPDATE SET account = excluded.account, tenant = excluded.tenant
WHERE account = '' AND excluded.account != ''"""
_LATELY_SECONDS = 3600.0
_LATELY = """
SELECT DISTINCT account FROM keys
WHERE tenant = '' AND account != '' AND last_seen > (SELECT max(last_seen) FROM keys) - ?
LIMIT ?"""
_NEXT = """
SELECT DISTINCT account FROM keys WHERE account != '' AND account > ? ORDER BY account LIMIT ?"""
_SEVERITY = """
UPDATE keys SET severity = coalesce((SELECT max(a.severity) FROM alerts AS a
  WHERE a.subject = keys.key AND a.state != 'resolved' AND a.withdrawn_at = 0), 0)
WHERE key = ?"""


def add_fingerprints(
    connection: sqlite3.Connection, found: Fingerprints, keys: Sequence[str], prices: Prices
) -> None:
    """Write the newest of each key's fingerprints.

    Args:
        found: `(n,) FINGERPRINT`, with the n keys.
    """
    newest = {key: i for i, key in enumerate(keys)}
    which = np.array(list(newest.values()), np.int64)
    found = found[which]
    per_hour = hours(found)[0][:, 1]
    identifiers = found["ids"].astype("<u8").view("<i8")
    costs = prices.costs(found["tokens"], found["ids"][:, _MODEL])
    accounts = _accounts(found["account"])
    connection.executemany(
        _UPSERT,
        zip(
            newest,
            (
                key if key.startswith(ACCOUNT_PREFIX) else account
                for key, account in zip(newest, accounts, strict=True)
            ),
            found["requests"].tolist(),
            found["tokens"].astype(np.int64).tolist(),
            costs.tolist(),
            per_hour.astype(np.int64).tolist(),
            found["first_seen"].tolist(),
            found["ts"].tolist(),
            *identifiers.T.tolist(),
            strict=True,
        ),
    )


def ensure(connection: sqlite3.Connection, accounts: Mapping[str, str]) -> None:
    """Have a row for each subject.

    Args:
        accounts: by subject, the account that it belongs to; empty if it is unknown.
    """
    connection.executemany(
        _ENSURE,
        [
            (subject, subject if subject.startswith(ACCOUNT_PREFIX) else account)
            for subject, account in accounts.items()
        ],
    )


def account_of(connection: sqlite3.Connection, key: str) -> str:
    """The account of a key; empty if it is unknown."""
    found = connection.execute("SELECT account FROM keys WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else ""


def set_severities(connection: sqlite3.Connection, subjects: Iterable[str]) -> None:
    """Set the severity of subjects to that of their most severe open alert."""
    connection.executemany(_SEVERITY, [(subject,) for subject in subjects])


def accounts_to_ask(connection: sqlite3.Connection, after: str, count: int) -> list[str]:
    """Accounts whose tenants to ask for.

    Those without one that a key has used lately, and some of all in turn: a tenant may change.

    Args:
        after: the last one of all that was asked.
    """
    lately = connection.execute(_LATELY, (_LATELY_SECONDS, count))
    next_ones = connection.execute(_NEXT, (after, count))
    return [*{row[0]: None for row in lately}, *(row[0] for row in next_ones)]


def set_tenants(
    connection: sqlite3.Connection, asked: Sequence[str], tenants: Mapping[str, str]
) -> bool:
    """Write which of the accounts that were asked for belong to which tenant; whether any changed.

    Args:
        tenants: by account; those of none are left out.
    """
    changed = False
    for account in asked:
        query = "SELECT tenant FROM tenants WHERE account = ?"
        row = connection.execute(query, (account,)).fetchone()
        tenant = tenants.get(account, "")
        if tenant == (row["tenant"] if row else ""):
            continue
        changed = True
        if tenant:
            connection.execute("INSERT OR REPLACE INTO tenants VALUES (?, ?)", (account, tenant))
            ensure(connection, {account: account})
        else:
            connection.execute("DELETE FROM tenants WHERE account = ?", (account,))
        connection.execute("UPDATE keys SET tenant = ? WHERE account = ?", (tenant, account))
    return changed


def _accounts(stored: npt.NDArray[np.uint8]) -> list[str]:
    """The pseudonyms in `(n, ACCOUNT_BYTES) uint8`; empty for those that are unknown."""
    known: list[bool] = np.any(stored, axis=1).tolist()
    text = np.ascontiguousarray(stored).tobytes().hex()
    width = 2 * ACCOUNT_BYTES
    return [
        ACCOUNT_PREFIX + text[i * width : (i + 1) * width] if each else ""
        for i, each in enumerate(known)
    ]

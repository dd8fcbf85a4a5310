"""Finds what a text names: a pseudonym or how it begins, an alert, a campaign, a trait."""

from __future__ import annotations

import re
from sqlite3 import Row
from typing import Literal

import msgspec

from pipelines.console.view.database import View
from pipelines.console.view.keys import INDEXED, Identifier, KeyPage, KeyRow, find_keys, keys_with
from pipelines.console.view.scope import (
    Condition,
    Tenants,
    both,
    of_campaign,
    of_subject,
    of_tenants,
)

HitType = Literal["api_key", "account", "end_user", "campaign", "alert"]
LEAST = 4  # characters of a text that is looked for
_TYPES: dict[str, HitType] = {"k_": "api_key", "a_": "account", "u_": "end_user"}
_KINDS: dict[str, Identifier] = {
    "payment": "payment",
    "network": "network",
    "tls_fingerprint": "tls",
    "user_agent": "user_agent",
    "system": "system",
    "model": "model",
}


class Hit(msgspec.Struct, frozen=True):
    """Something whose id begins with a text.

    Attributes:
        about: subject of an alert; empty for others.
    """

    type: HitType
    id: str
    about: str = ""


class TraitHit(msgspec.Struct, frozen=True):
    """An identifier, and the keys whose latest fingerprint has it."""

    name: str
    kind: str
    keys: KeyPage


def find(view: View, text: str, tenants: Tenants, *, limit: int = 20) -> list[Hit]:
    """What has an id that begins with a text, campaigns first."""
    if len(text) < LEAST or not re.fullmatch("[0-9a-zA-Z_./@-]+", text):
        return []
    found = [
        Hit("campaign", row["id"])
        for row in _begins(view, "campaigns", "id", text, of_campaign("campaigns.id", tenants))
    ]
    found += [
        Hit("alert", row["id"], row["subject"])
        for row in _begins(view, "alerts", "id", text, of_subject("alerts.subject", tenants))
    ]
    found += [
        Hit(_TYPES.get(row["key"][:2], "api_key"), row["key"])
        for row in _begins(view, "keys", "key", text, of_tenants("tenant", tenants))
    ]
    known = {hit.id for hit in found}
    found += [
        Hit("account", row["account"])
        for row in _accounts(view, text, tenants)
        if row["account"] not in known
    ]
    return found[:limit]


def find_trait(
    view: View, name: str, tenants: Tenants, *, limit: int = 50, offset: int = 0
) -> TraitHit | None:
    """The keys that have a trait of a campaign, by its short name (`s_1a2b3c4d`); `None` if it is
    unknown, or of a kind that is not in INDEXED."""
    trait = view.row("SELECT kind, hash FROM traits WHERE name = ?", (name,))
    kind = None if trait is None else _KINDS[trait["kind"]]
    if trait is None or kind not in INDEXED:
        return None
    keys = keys_with(view, kind, trait["hash"], tenants, limit=limit, offset=offset)
    return TraitHit(name, trait["kind"], keys) if keys.total or not tenants else None


def find_template(view: View, hashed: str, tenants: Tenants) -> list[KeyRow]:
    """The keys that have a template, by its hash as it is shared with partners."""
    rows = view.rows("SELECT key FROM templates WHERE hash = ? LIMIT 500", (hashed,))
    found = find_keys(view, [row["key"] for row in rows], tenants)
    return sorted(found.values(), key=lambda row: (-row.level, -row.requests, row.key))


def _accounts(view: View, text: str, tenants: Tenants, limit: int = 20) -> list[Row]:
    """Accounts of keys; those whose own fingerprints are known are keys of the view, too."""
    where = both(
        Condition("account != '' AND account >= ? AND account < ?", [text, text + "\U0010ffff"]),
        of_tenants("tenant", tenants),
    )
    query = f"SELECT DISTINCT account FROM keys WHERE {where.sql} ORDER BY account LIMIT ?"
    return view.rows(query, [*where.parameters, limit])


def _begins(
    view: View, table: str, column: str, text: str, visible: Condition, limit: int = 20
) -> list[Row]:
    where = both(Condition(f"{column} >= ? AND {column} < ?", [text, text + "\U0010ffff"]), visible)
    query = f"SELECT * FROM {table} WHERE {where.sql} ORDER BY {column} LIMIT ?"
    return view.rows(query, [*where.parameters, limit])

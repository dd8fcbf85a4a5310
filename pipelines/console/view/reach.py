"""How many keys a decision on an account reaches, and which."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from monitor.identity import ACCOUNT_PREFIX
from pipelines.console.view.database import View
from pipelines.console.view.scope import marks

_AT_ONCE = 500
_IS_KEY = "key >= 'k_' AND key < 'k`'"


class Reached(msgspec.Struct, frozen=True):
    """A key that a decision reaches, with totals since it was first seen.

    Attributes:
        cost: of its tokens.
        hour: requests in the last complete hour.
    """

    key: str
    account: str = ""
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    hour: int = 0


def keys_behind(view: View, subjects: Sequence[str]) -> dict[str, int]:
    """By subject, the number of keys that it stands for: those of an account, or one."""
    found = dict.fromkeys(subjects, 1)
    for part in _parts([each for each in found if each.startswith(ACCOUNT_PREFIX)]):
        query = (
            f"SELECT account, count(*) AS keys FROM keys WHERE account IN ({marks(part)}) "
            f"AND {_IS_KEY} GROUP BY account"
        )
        found |= {row["account"]: row["keys"] for row in view.rows(query, part)}
    return found


def reached_keys(view: View, subjects: Sequence[str], limit: int) -> list[Reached]:
    """The keys that decisions on these subjects reach: keys, and those of accounts.

    Args:
        limit: of the keys of accounts, those with the most requests first.
    """
    columns = "key, account, requests, tokens, cost, hour"
    accounts = [each for each in subjects if each.startswith(ACCOUNT_PREFIX)]
    found = {each: Reached(each) for each in subjects if each not in {*accounts}}
    for part in _parts(list(found)):
        query = f"SELECT {columns} FROM keys WHERE key IN ({marks(part)})"
        found |= {row.key: row for row in view.structs(Reached, query, part)}
    left = limit
    for part in _parts(accounts):
        query = (
            f"SELECT {columns} FROM keys WHERE account IN ({marks(part)}) AND {_IS_KEY} "
            "ORDER BY requests DESC, key LIMIT ?"
        )
        rows = view.structs(Reached, query, [*part, left])
        found |= {row.key: row for row in rows}
        left -= len(rows)
    return list(found.values())


def accounts_of(view: View, keys: Sequence[str]) -> dict[str, str]:
    """The account of each key, where it is known."""
    found = dict[str, str]()
    for part in _parts(keys):
        query = f"SELECT key, account FROM keys WHERE account != '' AND key IN ({marks(part)})"
        found |= {row["key"]: row["account"] for row in view.rows(query, part)}
    return found


def _parts(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[i : i + _AT_ONCE] for i in range(0, len(items), _AT_ONCE)]

"""Which rows a viewer may see: conditions in SQL.

A viewer with tenants sees subjects whose account belongs to one of them, and campaigns with at
least one such member. Without tenants, everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Tenants = Sequence[str]


class Condition(NamedTuple):
    """A condition and its parameters."""

    sql: str
    parameters: list[object]


EVERYTHING = Condition("1", [])


def of_tenants(column: str, tenants: Tenants) -> Condition:
    """That a column has one of the tenants."""
    if not tenants:
        return EVERYTHING
    known = f"{column} != ''"  # or SQLite does not use the index of those that are known
    return Condition(f"({known} AND {column} IN ({marks(tenants)}))", [*tenants])


def of_subject(column: str, tenants: Tenants) -> Condition:
    """That a column names a key, an account, an end user or a campaign of one of the tenants."""
    if not tenants:
        return EVERYTHING
    those = marks(tenants)
    return Condition(
        f"({column} IN (SELECT key FROM keys WHERE key = {column} AND tenant IN ({those})) OR "
        f"{column} IN (SELECT campaign FROM campaign_tenants WHERE campaign = {column} AND "
        f"tenant IN ({those})))",
        [*tenants, *tenants],
    )


def of_campaign(column: str, tenants: Tenants) -> Condition:
    """That a column names a campaign with a member of one of the tenants."""
    if not tenants:
        return EVERYTHING
    return Condition(
        f"EXISTS (SELECT 1 FROM campaign_tenants AS t WHERE t.campaign = {column} AND t.tenant IN "
        f"({marks(tenants)}))",
        [*tenants],
    )


def among(column: str, values: Sequence[object]) -> Condition:
    """That a column has one of some values; every row if there are none."""
    if not values:
        return EVERYTHING
    return Condition(f"{column} IN ({marks(values)})", [*values])


def both(*conditions: Condition) -> Condition:
    """That all of them hold."""
    kept = [each for each in conditions if each is not EVERYTHING]
    if not kept:
        return EVERYTHING
    return Condition(
        " AND ".join(each.sql for each in kept), [x for each in kept for x in each.parameters]
    )


def marks(values: Sequence[object]) -> str:
    """A placeholder for each value."""
    return ", ".join("?" * len(values))

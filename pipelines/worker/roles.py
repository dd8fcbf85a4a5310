"""Roles: the parts of the monitor that run as processes of their own.

| role | reads | does |
|---|---|---|
| `watch` | requests | evaluates keys, writes alerts and fingerprints |
| `link` | fingerprints | finds campaigns |
| `deliver` | alerts | sends them to receivers, records cases, copies decisions and audit to Kafka |
| `decide` | Redis | answers gateways |

The processes of one role share its partitions. Each role has its own consumer group, so that a
process that joins or leaves stops no other role.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.config import Settings


class Role(StrEnum):
    """What a process does."""

    watch = "watch"
    link = "link"
    deliver = "deliver"
    decide = "decide"


def group_of(role: Role, settings: Settings) -> str:
    """The consumer group of a role. That of `watch` has the name from the settings."""
    return settings.group if role is Role.watch else f"{settings.group}-{role}"

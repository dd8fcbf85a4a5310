"""A person who is signed on, and what the role permits."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Role = Literal["viewer", "analyst", "admin"]  # each may do what the one before it may
Right = Literal["read", "decide", "administer"]
ROLES: tuple[Role, ...] = get_args(Role)
RIGHTS: tuple[Right, ...] = get_args(Right)


class Viewer(msgspec.Struct, frozen=True):
    """A person.

    Attributes:
        name: for the audit.
        tenants: account prefixes of the tenants whose subjects are shown; empty: all subjects.
    """

    name: str
    role: Role
    tenants: tuple[str, ...] = ()

    def may(self, right: Right) -> bool:
        """Whether the role permits something."""
        return ROLES.index(self.role) >= RIGHTS.index(right)

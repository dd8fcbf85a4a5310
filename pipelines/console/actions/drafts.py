"""Orders that a person has previewed and not confirmed yet, in Redis.

| key | value | expires |
|---|---|---|
| `xm:console:draft:<id>` | the order as JSON | after half an hour |

A draft fixes the subjects: what is confirmed later is this set, whatever has become of the table in
which it was selected. It belongs to one person and can be confirmed once.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from monitor.alerting.alerts import Action
from monitor.errors import InputError
from monitor.store.connection import Primary, execute
from pipelines.console.actions.order import Order
from pipelines.console.actions.proposals import same_person

DRAFT_KEY = "xm:console:draft:"
_SECONDS = 1800
_GONE = (
    "There is no such preview any more: it was confirmed, or is older than half an hour. Select "
    "the keys again."
)


class Draft(msgspec.Struct, frozen=True):
    """An order without its reason and duration.

    Attributes:
        who: made it.
        campaign: that its subjects were selected in.
    """

    who: str
    campaign: str
    subjects: tuple[str, ...]
    action: Action
    rate: float | None = None

    def order(self, seconds: float, why: str, *, shadow: bool) -> Order:
        """The order that it becomes."""
        return Order(self.subjects, self.action, seconds, why, self.rate, shadow)


class Drafts:
    """Keeps drafts. Threads may share it.

    Args:
        server: Redis.
    """

    def __init__(self, server: Primary) -> None:
        self._server = server

    def keep(self, draft: Draft) -> str:
        """Keep a draft and return its id."""
        id = secrets.token_urlsafe(18)
        self._call("SET", DRAFT_KEY + id, msgspec.json.encode(draft), "EX", _SECONDS)
        return id

    def read(self, id: str, who: str) -> Draft:
        """A draft of a person.

        Raises:
            InputError: if there is none.
        """
        value = self._call("GET", DRAFT_KEY + id)
        draft = msgspec.json.decode(value, type=Draft) if value else None
        if draft is None or same_person(draft.who) != same_person(who):
            raise InputError(_GONE)
        return draft

    def claim(self, id: str) -> None:
        """Remove a draft before it is carried out, so that nobody else does it again.

        Raises:
            InputError: if it is gone.
        """
        if not self._call("DEL", DRAFT_KEY + id):
            raise InputError(_GONE)

    def _call(self, command: str, key: str, *arguments: Any) -> Any:
        def call() -> Any:
            with self._server.connection(key) as connection:
                return execute(connection, [(command, key, *arguments)])[0]

        return self._server.run(call)

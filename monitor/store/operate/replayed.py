"""How far rejected requests have been sent again.

`xm:rejected:replayed` is a hash: `<partition> <reason>` → the first offset of the topic of rejected
requests that was not sent again. A request without an id would count twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.alerting.changes import Change
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute
from monitor.store.feed import audit_entry

REPLAYED_KEY = "xm:rejected:replayed"


class ReplayedStore:
    """The offsets in Redis. Every method may raise `StoreError`.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)

    def read(self) -> dict[str, int]:
        """The first offset that was not sent again, by partition and reason."""
        found = self._send(("HGETALL", REPLAYED_KEY))
        pairs = zip(found[::2], found[1::2], strict=True)
        return {name.decode(): int(offset) for name, offset in pairs}

    def write(self, reached: Mapping[str, int], change: Change) -> None:
        """Note the offsets, with an entry in the audit."""
        self._send(audit_entry(change))
        if reached:
            self._send(("HSET", REPLAYED_KEY, *(x for pair in reached.items() for x in pair)))

    def _send(self, command: Command) -> Any:
        def call() -> Any:
            with self.server.connection(command[1]) as connection:
                return execute(connection, [command])[0]

        return self.server.run(call)

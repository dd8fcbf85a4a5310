"""The tenants of accounts in Redis, for those who may see the keys of some tenants alone.

| key | value | expires |
|---|---|---|
| `xm:tenant:<pseudonym>` | the prefix of the account's name, from `XM_TENANTS` | see below |

Workers write them with their checkpoints. An entry lasts a quarter longer than an idle record, and
that of an account in use is written again after a quarter of a record's life (`identity.Tenants`).
So it does not expire before the records of the account's keys.
"""

from __future__ import annotations

from collections.abc import Iterable

from monitor.store.cluster import connect
from monitor.store.connection import execute
from monitor.store.redis import TENANT_KEY


class TenantStore:
    """Reads the tenants of accounts. Threads may share it.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)

    def of(self, accounts: Iterable[str]) -> dict[str, str]:
        """The tenants of accounts, by their pseudonyms, without those that have none.

        Raises:
            StoreError: if the server does not answer.
        """

        def read() -> dict[str, str]:
            found = dict[str, str]()
            for group in self.server.by_server(names):
                with self.server.connection(group[0]) as connection:
                    values = execute(connection, [("GET", name) for name in group])
                pairs = zip(group, values, strict=True)
                found |= {
                    name.removeprefix(TENANT_KEY): value.decode()
                    for name, value in pairs
                    if value is not None
                }
            return found

        names = [TENANT_KEY + account for account in dict.fromkeys(accounts)]
        return self.server.run(read) if names else {}

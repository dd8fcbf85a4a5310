"""Subjects of alerts: the key, the account and the end user whose records a request counts in.

A request counts in the record of its key. Two more records exist for those who change the key or
share one:

- **Account** (`a_…`): the customer behind keys, by `account`, else by `payment`. The first requests
  of each of its keys count, so a customer who makes a new key every few requests is judged as one.
  Its alert applies to its keys: each gets the decision with its next request. An account has one
  record per partition that its keys write to.
- **End user** (`u_…`): who uses an application, under one key, see `records/end_users.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import Subject
from monitor.identity import Identity
from monitor.partition import FlaggedAccount, Partition
from monitor.prompts.extractor import Features
from monitor.records import end_users
from monitor.records.admission import REPEATED
from monitor.records.inputs import ACCOUNT, END_USER, KEY, Entries, Requests
from monitor.records.origins import from_usual_network
from monitor.records.profile import Records
from monitor.requests.columns import Columns
from monitor.requests.fast_json import NAMED_FIELDS
from monitor.requests.hashing import HASHED_FIELDS, NETWORK
from monitor.requests.ties import network_tie, payment_tie
from monitor.store.base import Store, name_in
from monitor.store.table import Rows, Table

_ACCOUNT, _PAYMENT = HASHED_FIELDS.index("account"), HASHED_FIELDS.index("payment")

_NAMES = "account", "payment", "api_key"

Flags = npt.NDArray[np.uint8]


class Accounts(NamedTuple):
    """The accounts in a batch that requests may count in, or that have an open alert.

    Attributes:
        events: `(k,) int64`, indices of the requests, rising.
        ids: the k accounts.
        rows: `(k,) int64`, their records.
        hashes: `(k,) uint64`, keyed hashes of their names.
    """

    events: Rows
    ids: list[str]
    rows: Rows
    hashes: npt.NDArray[np.uint64]


class Evaluated(NamedTuple):
    """n records that are due for evaluation, in stream order.

    Attributes:
        records: `(n,) RECORD`, copied right after the request that made each due, in a buffer that
            the next epoch overwrites.
        entries: `(n,) int64`, index of the entry of that request.
        events: `(n,) int64`, index of that request in its batch.
        rows: `(n,) int64`, row of each record in the table.
        roles: `(n,) uint8`, whose records they are.
        ids: their subjects.
        ts: `(n,) float64`, time of the request, epoch seconds.
    """

    records: Records
    entries: Rows
    events: Rows
    rows: Rows
    roles: Flags
    ids: list[str]
    ts: npt.NDArray[np.float64]


@dataclass(slots=True)
class BatchSubjects:
    """The subjects of a batch of n requests.

    Attributes:
        columns: the requests.
        times: `(n,) float64`, when each counts, epoch seconds.
        entries: in whose records they count.
        ids: the subject of each entry.
        accounts: see above.
        identity: makes pseudonyms.
    """

    columns: Columns
    times: npt.NDArray[np.float64]
    entries: Entries
    ids: list[str]
    accounts: Accounts
    identity: Identity
    _passed: int = 0

    def flagged_before(
        self, event: int, flagged: Collection[str]
    ) -> Iterator[tuple[int, str, str, float]]:
        """The requests of flagged accounts before this one that were not returned before: index in
        `accounts`, and account, key and time of each."""
        accounts, first = self.accounts, self._passed
        self._passed = max(first, int(np.searchsorted(accounts.events, event)))
        for i in range(first, self._passed) if flagged else ():
            if accounts.ids[i] in flagged:
                at = int(accounts.events[i])
                yield i, accounts.ids[i], self.columns.keys[at], float(self.times[at])

    def accounts_of(self, events: Rows | slice) -> list[str]:
        """The pseudonyms of the accounts of some requests, empty for those that have none."""
        texts = self.columns.names.texts("account", events)
        return [self.identity.account_of(text) if text else "" for text in texts]

    def ties(self, event: int) -> tuple[str, str]:
        """The pseudonyms of the account and the payment of a request, empty if it has none."""
        (account,) = self.accounts_of(slice(event, event + 1))
        return account, payment_tie(int(self.columns.hashes[event, _PAYMENT]))

    def usual_network(self, event: int, record: Records) -> str:
        """The pseudonym of the network of a request, if nearly all requests of its key come from
        there; else empty.

        Args:
            record: `(1,) RECORD`, of the key.
        """
        network = self.columns.hashes[event : event + 1, NETWORK]
        (usual,) = from_usual_network(record, network)
        return network_tie(int(network[0])) if usual else ""

    def subject(self, partition: Partition, i: int) -> Subject:
        """The subject of entry `i`, in a form in which alerts on it can open."""
        id, role, event = self.ids[i], self.entries.roles[i], int(self.entries.events[i])
        if role == ACCOUNT and id not in partition.accounts:
            at = int(np.searchsorted(self.accounts.events, event))
            hashed = int(self.accounts.hashes[at])
            partition.accounts[id] = FlaggedAccount(hashed, {self.columns.keys[event]: 0.0})
        elif role == END_USER:
            partition.end_users[id] = self.columns.keys[event]
        return partition.subject(id)


class Subjects:
    """Finds the records of subjects.

    Args:
        identity: makes their pseudonyms.
        store: names their records.
        table: has their records.
    """

    def __init__(self, identity: Identity, store: Store, table: Table) -> None:
        self._identity = identity
        self._store = store
        self._table = table

    def rows(self, partition: Partition, ids: Sequence[str]) -> Rows:
        """The rows of subjects with open alerts, `(len(ids),) int64`."""
        return self._table.rows(self._names(partition, ids))

    def in_memory(self, partition: Partition, ids: Sequence[str]) -> Rows:
        """As `rows`, -1 for a subject whose record is not in memory; asks no store."""
        return self._table.find(self._names(partition, ids))

    def load(
        self, partition: Partition, columns: Columns, alerted: Sequence[str]
    ) -> tuple[Rows, Accounts]:
        """Load the records of a batch's keys and accounts, and those of the subjects `alerted`.

        Returns:
            `(n,) int64`, the rows of the keys, and the accounts.

        Raises:
            StoreError: nothing has changed.
        """
        keys = self._store.names(partition.name, columns.keys)
        loaded = self._table.rows([*keys, *self._names(partition, alerted)])
        rows = loaded[: len(keys)]
        hashes = columns.hashes[:, _ACCOUNT]
        hashes = np.where(hashes == 0, columns.hashes[:, _PAYMENT], hashes)
        may = (self._table.records["requests"][rows] < end_users.ACCOUNT_REQUESTS) & (hashes != 0)
        flagged = [account.hash for account in partition.accounts.values()]
        may |= np.isin(hashes, np.append(hashes[may], np.array(flagged, np.uint64)))
        which = np.flatnonzero(may)
        which, texts = _accounts(columns, which)
        ids = [self._identity.account_of(text) for text in texts]
        account_rows = self._table.rows([name_in(partition.name, id) for id in ids], keep=loaded)
        self._loaded = np.concatenate([loaded, account_rows])
        return rows, Accounts(which, ids, account_rows, hashes[which])

    def select(
        self,
        partition: Partition,
        columns: Columns,
        rows: Rows,
        accounts: Accounts,
        requests: Requests,
        features: Features,
        admitted: Flags,
    ) -> BatchSubjects:
        """Decide in whose records each request counts.

        Args:
            rows, accounts: as `load` returned them.
            admitted: `(n,) uint8`, as `admit` returns it.

        Raises:
            StoreError: the records of the keys have changed.
        """
        n = len(rows)
        judged = np.zeros(n, bool)
        suspects = end_users.suspicious(requests.marks, features)
        users = columns.short_hashes("end_user")
        if users.any():
            records = self._table.records
            before = records["user_names"][rows], records["user_counts"][rows]
            end_users.select(records, rows, admitted, users, suspects, judged)
            records["user_names"][rows], records["user_counts"][rows] = before
        which = np.flatnonzero(judged)
        texts = columns.names.texts("end_user", which)
        ids = [
            self._identity.end_user_of(columns.keys[event], text)
            for event, text in zip(which.tolist(), texts, strict=True)
        ]
        names = self._store.names(partition.name, ids)
        user_rows = np.full(n, -1, np.int64)
        user_rows[which] = self._table.rows(names, keep=self._loaded)
        sources = ((ACCOUNT, accounts.events), (END_USER, which), (KEY, np.arange(n)))
        events = np.concatenate([events for _, events in sources])
        roles = np.repeat(
            np.array([role for role, _ in sources], np.uint8), [len(part) for _, part in sources]
        )
        all_rows = np.concatenate([accounts.rows, user_rows[which], rows])
        all_ids = [*accounts.ids, *ids, *columns.keys]
        order = np.argsort(events, kind="stable")
        account_rows = np.full(n, -1, np.int64)
        account_rows[accounts.events] = accounts.rows
        by_request = rows, account_rows, user_rows, users, suspects, admitted
        order = order[admitted[events[order]] != REPEATED]
        entries = Entries(all_rows[order], events[order], roles[order], *by_request)
        ids = [all_ids[i] for i in order.tolist()]
        return BatchSubjects(columns, requests.ts, entries, ids, accounts, self._identity)

    def _names(self, partition: Partition, ids: Sequence[str]) -> list[str]:
        """The names of the records of subjects with open alerts."""
        names = self._store.names(partition.name, ids)
        return [
            name_in(partition.name, id) if id in partition.accounts else name
            for id, name in zip(ids, names, strict=True)
        ]


def _accounts(columns: Columns, which: Rows) -> tuple[Rows, list[bytes]]:
    """The accounts of the requests `which`, `(k,) int64`, or their payments; without those that
    have the name of the key, which add nothing."""
    data = columns.names.data
    account, payment, key = (
        columns.names.places[which, NAMED_FIELDS.index(name)].T for name in _NAMES
    )
    begins, ends = np.where(account[0] < account[1], account, payment)
    others = np.ones(len(which), np.bool_)
    for i in np.flatnonzero(ends - begins == key[1] - key[0]).tolist():
        others[i] = data[begins[i] : ends[i]] != data[key[0, i] : key[1, i]]
    both = zip(begins[others].tolist(), ends[others].tolist(), strict=True)
    return which[others], [data[begin:end] for begin, end in both]

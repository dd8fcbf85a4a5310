"""Cases in Redis. Entries are only ever added, each signed on top of the one before it.

| key | value | expires |
|---|---|---|
| `xm:case:{<id>}` | list of entries as signed, one line each | a while after the case is closed |
| `xm:case:{<id>}:meta` | hash: the case's row, and which sources have an entry | the same |
| `xm:cases` | hash: the rows of all cases as JSON, by id | the same |
| `xm:cases:version` | number that grows with each entry | never |

An entry, its row and its marks are written together: the braces in their names put them into one
slot of a Cluster. The index and the version follow in the same transaction, on a Cluster right
after it. If that fails there, the worker that copies cases to Kafka repairs the index.

Before an entry is signed, the newest one is verified. So nobody who can write to Redis, but does
not have the key, gets a signature on top of what they wrote. An entry with a source is written
once, however often it is tried.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from monitor.alerting.changes import Change
from monitor.errors import ConfigError, EvidenceError, InputError
from monitor.evidence.case import Case, case_id, case_of
from monitor.evidence.chain import check, open_entry, read_entry, seal
from monitor.evidence.dsse import Signs
from monitor.evidence.entries import AnyBody, Entry, Opened
from monitor.evidence.facts import SubjectType
from monitor.evidence.links import digest
from monitor.evidence.ring import Ring
from monitor.evidence.rows import CaseRow, marks_of, row_after
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute, transact
from monitor.store.feed import audit_entry

CASE_KEY, CASES_KEY, VERSION_KEY = "xm:case:", "xm:cases", "xm:cases:version"
LARGEST = 15 << 20  # bytes of an entry; the topic accepts 16 MiB
_ROW, _COPIED = "row", "copied"  # fields of the hash; the others are marks
_VERIFY = "Run `xm case verify` on it"

_rows = msgspec.json.Decoder(CaseRow)


class CaseStore:
    """Reads and adds to cases. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `store/connection.py`.
        ring: the public keys that may have signed entries.
        signer: signs entries; `None` to read only.
        timeout: seconds to wait for an answer.
    """

    def __init__(
        self, url: str, ring: Ring, signer: Signs | None = None, timeout: float = 5.0
    ) -> None:
        self.server = connect(url, timeout)
        self.ring = ring
        self._signer = signer

    # Reading

    def version(self) -> int:
        """A number that differs when anything has changed."""
        return int(self._call("GET", VERSION_KEY) or 0)

    def rows(self) -> list[CaseRow]:
        """The index, the cases that changed last first."""
        values = self._call("HGETALL", CASES_KEY)[1::2]
        return sorted(map(_rows.decode, values), key=lambda row: (-row.changed_at, row.id))

    def cases(self) -> Iterator[str]:
        """The ids of all cases."""
        return (row.id for row in self.rows())

    def row(self, case: str) -> CaseRow | None:
        """The row of a case as its entries are; `None` if Redis does not have the case."""
        value = self._call("HGET", _meta(case), _ROW)
        return _rows.decode(value) if value else None

    def lines(self, case: str, first: int = 1) -> list[bytes]:
        """Entries as stored, from the number `first` on."""
        lines: list[bytes] = self._call("LRANGE", _list(case), first - 1, -1)
        return lines

    def entries(self, case: str) -> list[Entry]:
        """The entries of a case, once the whole chain is verified.

        Raises:
            InputError: if there is no such case.
            EvidenceError: if anything is wrong with the chain.
        """
        lines = self.lines(case)
        if not lines:
            raise InputError(f"There is no case {case}: list them with `xm case list --all`.")
        report = check(lines, self.ring, case=case)
        if report.problems:
            first = report.problems[0]
            raise EvidenceError(
                f"Entry {first.entry} of case {case}: {first.text} For all: {_VERIFY}."
            )
        return [read_entry(line) for line in lines]

    def case(self, case: str) -> Case:
        """What the entries of a case add up to; errors as of `entries`."""
        return case_of(self.entries(case))

    def find(self, text: str) -> str:
        """The id of a case.

        Args:
            text: the id, the beginning of one, a subject (its open case, else its newest), or the
                reference of a letter.

        Raises:
            InputError: if no case has it, or several do.
        """
        rows = self.rows()
        if found := [row for row in rows if text in (row.subject, *row.references)]:
            return min(found, key=lambda row: (row.status != "open", -row.opened_at)).id
        found = [row for row in rows if row.id.startswith(text) or row.id[5:].startswith(text)]
        if len(found) > 1 and text not in (row.id for row in found):
            raise InputError(
                f"{len(found)} cases have ids that begin with {text}: write more of it."
            )
        if not found or not text:
            raise InputError(
                f"There is no case {text}: list them with `xm case list --all`. Closed cases are "
                "kept in Redis for XM_CASES__KEPT_DAYS, on the topic for longer."
            )
        return text if len(found) > 1 else found[0].id

    def open_case_of(self, subject: str) -> str | None:
        """The id of the open case of a subject."""
        return next(
            (row.id for row in self.rows() if row.subject == subject and row.status == "open"), None
        )

    # Adding

    def open_case(
        self,
        subject: str,
        type: SubjectType,
        reason: str,
        who: str,
        *,
        alert: str = "",
        at: float | None = None,
        source: str = "",
        change: Change | None = None,
    ) -> str:
        """Open a case and return its id. Opened again with the same alert, it is the same case.

        Args:
            alert: id of the alert that it begins with.
            at, source, change: see `append`.
        """
        case = case_id(subject, alert or secrets.token_hex(16))
        body = Opened(subject, type, reason, alert)
        if change is not None:
            change = msgspec.structs.replace(change, subject=case)
        self.append(case, body, who, at=at, source=source or alert, change=change)
        return case

    def append(
        self,
        case: str,
        body: AnyBody,
        who: str,
        *,
        at: float | None = None,
        source: str = "",
        change: Change | None = None,
    ) -> Entry:
        """Sign an entry and add it to a case; return it, or the one that its source has already.

        Args:
            at: wall-clock time, epoch seconds; default: now.
            source: what the entry is made from, see `Entry`.
            change: for the audit, written together with the entry.

        Raises:
            ConfigError: if there is no key to sign with.
            InputError: if there is no such case, or the entry is too large.
            EvidenceError: if the newest entry is not what a signer wrote.
        """
        self._check_signer()
        entry = Entry(case, 1, "", time.time() if at is None else at, who, body, source)
        token = f"try {secrets.token_hex(8)}"  # recognises it if an answer is lost
        marks = [*marks_of(entry), token]
        reads: list[Command] = [("HGET", _meta(case), mark) for mark in marks]
        audit = [audit_entry(change)] if change else []
        audited = False

        def write() -> Entry:
            nonlocal audited
            with self.server.connection(_list(case)) as connection:
                _, newest, value, *known = execute(
                    connection,
                    [
                        ("WATCH", _list(case), _meta(case)),
                        ("LRANGE", _list(case), -1, -1),
                        ("HGET", _meta(case), _ROW),
                        *reads,
                    ],
                )
                again = value and isinstance(body, Opened)
                if again or any(known):
                    number = 1 if again else int(next(filter(None, known)))
                    read = ("LRANGE", _list(case), number - 1, number - 1)
                    ((line,),) = transact(connection, [read])  # this also ends the WATCH
                    return open_entry(line, self.ring)
                row = _rows.decode(value) if value else None
                previous = self._verified(case, newest, row)
                if row is None and not isinstance(body, Opened):
                    raise InputError(f"There is no case {case}: list them with `xm case list`.")
                made = msgspec.structs.replace(
                    entry, number=row.entries + 1 if row else 1, previous=previous
                )
                line = self.seal(made)
                if len(line) > LARGEST:
                    raise InputError(f"The entry is larger than {LARGEST >> 20} MiB.")
                row = row_after(row, made, len(line), digest(line))
                if self.server.is_cluster and audit and not audited:
                    self._call(*audit[0])
                    audited = True
                commands = [
                    ("RPUSH", _list(case), line),
                    *_meta_of(row, [(m, made) for m in marks]),
                ]
                index = _index_of(row)
                if not self.server.is_cluster:
                    commands += [*audit, *index]
                transact(connection, commands)
            if self.server.is_cluster:
                self._index(index)
            return made

        return self.server.run(write)

    def seal(self, entry: Entry) -> bytes:
        """Sign an entry as it is, after its chain was verified."""
        return seal(entry, self._check_signer())

    def _check_signer(self) -> Signs:
        if self._signer is None:
            raise ConfigError(
                "There is no key to sign entries with: make one with `xm case key new` and name it "
                "in XM_CASES__KEY_FILE."
            )
        return self._signer

    def _verified(self, case: str, newest: Sequence[bytes], row: CaseRow | None) -> str:
        """The digest of the newest entry, once it is verified; empty without one."""
        if not newest and row is None:
            return ""
        try:
            if not newest or row is None:
                raise EvidenceError("Its entries are missing.")
            entry, head = open_entry(newest[0], self.ring), digest(newest[0])
            if (entry.case, entry.number, head) != (case, row.entries, row.head):
                raise EvidenceError("It is not the one that was written last.")
        except EvidenceError as error:
            raise EvidenceError(
                f"The newest entry of case {case} is not valid, so nothing is signed on top of it. "
                f"{error} The worker restores the case from Kafka; or else: {_VERIFY}."
            ) from None
        return head

    # Repairing

    def replace(self, case: str, lines: Sequence[bytes], head: str | None) -> bool:
        """Replace the entries of a case, unless others have changed them since.

        Args:
            lines: as they shall be; the caller has verified them.
            head: digest of the newest entry that Redis had; `None` if it had none.
        """
        row: CaseRow | None = None
        marks: list[tuple[str, Entry]] = []
        for line in lines:
            entry = read_entry(line)
            row = row_after(row, entry, len(line), digest(line))
            marks += [(mark, entry) for mark in marks_of(entry)]
        if row is None:
            raise EvidenceError("A case has at least one entry.")
        commands = [
            ("DEL", _list(case)),
            ("DEL", _meta(case)),
            *(("RPUSH", _list(case), line) for line in lines),
            *_meta_of(row, marks),
        ]
        index = _index_of(row)

        def write() -> bool:
            with self.server.connection(_list(case)) as connection:
                watch = ("WATCH", _list(case), _meta(case))
                _, newest = execute(connection, [watch, ("LRANGE", _list(case), -1, -1)])
                if (digest(newest[0]) if newest else None) not in (head, row.head):
                    transact(connection, [])
                    return False
                transact(connection, commands + ([] if self.server.is_cluster else index))
            if self.server.is_cluster:
                self._index(index)
            return True

        return self.server.run(write)

    def repair_index(self, rows: Iterable[CaseRow], gone: Iterable[str] = ()) -> None:
        """Write rows to the index, and remove cases from it."""
        for row in rows:
            self._index(_index_of(row))
        for case in gone:
            self._call("HDEL", CASES_KEY, case)

    def remove(self, case: str) -> None:
        """Remove a case from Redis; the topic keeps it."""
        self._call("DEL", _list(case))
        self._call("DEL", _meta(case))
        self.repair_index([], [case])
        self._call("INCR", VERSION_KEY)

    def suspect(self, row: CaseRow) -> None:
        """Ask the worker that copies cases to compare one with Kafka: its row loses its head."""
        self._index(_index_of(msgspec.structs.replace(row, head="")))

    def mark_copied(self, case: str, number: int) -> None:
        """Note that Kafka has the entries of a case up to a number."""
        self._call("HSET", _meta(case), _COPIED, number)

    def copied(self, case: str) -> int:
        """Up to which number Kafka has the entries of a case."""
        return int(self._call("HGET", _meta(case), _COPIED) or 0)

    def stored_rows(self, cases: Iterable[str]) -> dict[str, CaseRow]:
        """The rows that are beside the entries, by case; a case that Redis lacks is left out."""
        names = {_meta(case): case for case in cases}

        def read() -> dict[str, CaseRow]:
            found: dict[str, CaseRow] = {}
            for group in self.server.by_server(list(names)):
                with self.server.connection(group[0]) as connection:
                    values = execute(connection, [("HGET", name, _ROW) for name in group])
                pairs = zip(group, values, strict=True)
                found |= {names[name]: _rows.decode(value) for name, value in pairs if value}
            return found

        return self.server.run(read)

    def _index(self, commands: Iterable[Command]) -> None:
        for command in commands:
            self._call(*command)

    def _call(self, *command: Any) -> Any:
        return self.server.run(partial(self._execute, command))

    def _execute(self, command: Command) -> Any:
        with self.server.connection(command[1]) as connection:
            return execute(connection, [command])[0]


def _list(case: str) -> str:
    return f"{CASE_KEY}{{{case}}}"


def _meta(case: str) -> str:
    return f"{_list(case)}:meta"


def _meta_of(row: CaseRow, marks: Iterable[tuple[str, Entry]]) -> list[Command]:
    fields = [part for mark, entry in marks for part in (mark, entry.number)]
    return [("HSET", _meta(row.id), _ROW, msgspec.json.encode(row), *fields)]


def _index_of(row: CaseRow) -> list[Command]:
    return [("HSET", CASES_KEY, row.id, msgspec.json.encode(row)), ("INCR", VERSION_KEY)]

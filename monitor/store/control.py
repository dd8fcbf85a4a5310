"""What people decide, in Redis: switches, allow-list, decisions, withdrawn alerts, and their audit.

| key | value | expires |
|---|---|---|
| `xm:control` | hash: switches (`kill`, `shadow`, `shadow:<kind>`, `caps`) as JSON | never |
| `xm:allow` | hash: allow-list entries as JSON, by pseudonym | by the first change after it |
| `xm:withdrawn` | hash: alerts that are no attack, as JSON, by `withdrawal_name` | after a year |
| `xm:d:operator:<pseudonym>` | a person's decision as JSON | when it ends |
| `xm:feed` | stream: what changed, for those who keep a copy | bounded |
| `xm:audit` | stream: who changed what, and why | bounded; Kafka has all of it |

An entry of the feed has a name and a value: the Redis key (`xm:d:…`) or the key and the field of a
hash (`xm:control:kill`), and its JSON, empty if it is gone. Decisions that expire have no entry:
they carry their end.

A change is one MULTI/EXEC with its entries: Redis applies all of it or nothing. If its answer is
lost, it is tried again and recognised, so the audit has it once. On a Cluster the keys lie in
different slots. There the audit entry is written first, then the change, then the feed: the audit
may name a change that failed, and never lacks one that was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from monitor.alerting.alerts import Action, Severity
from monitor.alerting.changes import (
    LONGEST_SECONDS,
    Change,
    change_by,
    check_allowed,
    check_subject,
    checked_seconds,
    checked_text,
    nothing_to_change,
)
from monitor.alerting.decisions import ORIGINS, ActiveDecision, Decision, Scope, mark_of
from monitor.alerting.enforcement import (
    OPERATOR,
    Allowance,
    Control,
    Switch,
    Withdrawal,
    withdrawal_name,
)
from monitor.errors import InputError, StoreRefusedError
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute, transact
from monitor.store.feed import (
    AUDIT_KEY,
    FEED_KEY,
    START,
    Feed,
    audit_entry,
    feed_entry,
    for_audit,
    is_lost,
    read_entry,
)
from monitor.store.redis import decision_name

CONTROL_KEY, ALLOW_KEY, WITHDRAWN_KEY = "xm:control", "xm:allow", "xm:withdrawn"
_PAGE = 1000  # entries per read
_SCOPES: dict[str, Scope] = {"k": "api_key", "a": "account", "u": "end_user"}


class _Place(NamedTuple):
    """Where a value is: a key, or a field of a hash."""

    key: str
    field: str = ""

    @property
    def name(self) -> str:
        return f"{self.key}:{self.field}" if self.field else self.key

    def read(self) -> Command:
        return ("HGET", self.key, self.field) if self.field else ("GET", self.key)

    def write(self, value: bytes, milliseconds: int) -> Command:
        if self.field:
            write = ("HSET", self.key, self.field, value)
            return write if value else ("HDEL", self.key, self.field)
        return ("SET", self.key, value, "PX", milliseconds) if value else ("DEL", self.key)


class ControlStore:
    """Reads and changes what people decide. Threads may share it.

    Every change needs the name of a person and a reason, and raises `InputError` if one of its
    arguments cannot be used, or if there is nothing to change.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.

    Raises:
        ConfigError: if the url cannot be used.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"ControlStore({self.server})"

    # Reading

    def read(self) -> Control:
        """Everything that people have set, decisions apart."""
        entries: list[tuple[str, bytes]] = []
        for key in (CONTROL_KEY, ALLOW_KEY, WITHDRAWN_KEY):
            found = self._run(("HGETALL", key))
            names = (f"{key}:{field.decode()}" for field in found[::2])
            entries += zip(names, found[1::2], strict=True)
        try:
            return Control().apply_all(entries)
        except msgspec.MsgspecError as error:
            raise StoreRefusedError(
                f"Redis at {self.server} has a switch, an allow-list entry or a withdrawal that "
                f"this version cannot read ({error}): upgrade everything to one version."
            ) from error

    def position(self) -> str:
        """The id of the feed's last entry. Who keeps a copy takes it before reading all."""
        last = self._run(("XREVRANGE", FEED_KEY, "+", "-", "COUNT", 1))
        return last[0][0].decode() if last else START

    def feed(self, after: str, block_ms: int = 0) -> Feed:
        """The next entries of the feed.

        Args:
            after: the id of the last one that is known.
            block_ms: milliseconds to wait for one; at most half of the timeout.
        """
        block = ("BLOCK", min(block_ms, int(500 * self._timeout))) if block_ms else ()

        def read() -> Feed:
            with self.server.connection(FEED_KEY) as connection:
                first, last = execute(
                    connection,
                    [
                        ("XRANGE", FEED_KEY, "-", "+", "COUNT", 1),
                        ("XREVRANGE", FEED_KEY, "+", "-", "COUNT", 1),
                    ],
                )
                if is_lost(after, first, last):
                    return Feed([], lost=True)
                command = ("XREAD", "COUNT", _PAGE, *block, "STREAMS", FEED_KEY, after)
                (found,) = execute(connection, [command])
            return Feed([read_entry(*each) for each in found[0][1]] if found else [], lost=False)

        return self.server.run(read)

    def audit(self, since: float = 0.0) -> Iterator[Change]:
        """The audit since a time, the oldest first, as far as Redis still has it.

        Args:
            since: wall-clock time, epoch seconds.
        """
        seen: set[str] = set()
        for _, value in self.audit_entries(f"{int(since * 1000)}-0"):
            change = msgspec.json.decode(value, type=Change)
            if change.id not in seen:
                seen.add(change.id)
                yield change

    def audit_entries(self, start: str) -> Iterator[tuple[str, bytes]]:
        """Entries of the audit as they are: ids and JSON.

        Args:
            start: the first id; `(` before it leaves that one out.
        """
        while True:
            page = self._run(("XRANGE", AUDIT_KEY, start, "+", "COUNT", _PAGE))
            for id, fields in page:
                yield id.decode(), fields[1]
            if len(page) < _PAGE:
                return
            start = f"({page[-1][0].decode()}"

    # Changing

    def switch(
        self,
        name: Literal["kill", "shadow", "caps"],
        on: bool | None,
        who: str,
        why: str,
        *,
        kind: str = "",
        until: float | None = None,
    ) -> Change:
        """Set a switch.

        Args:
            name: `kill`: enforce nothing. `shadow`: record decisions and enforce none. `caps`:
                limit how many keys are challenged or blocked in an hour.
            on: `None` returns to the settings.
            kind: of alert, for shadow mode of one kind only.
            until: wall-clock time, epoch seconds, when it ends by itself.
        """
        change = change_by(who, name, kind, why)
        value = None if on is None else Switch(on, change.who, change.why, change.at, until)
        field = f"{name}:{kind}" if kind else name
        return self._change(change, [_Place(CONTROL_KEY, field)], value)

    def allow(self, subject: str, owner: str, seconds: float, who: str, why: str) -> Change:
        """Put a subject on the allow-list: no decision on it, or on a key that used it, applies.

        Args:
            subject: pseudonym of a key, account, end user, payment or network.
            owner: who answers for it.
        """
        check_allowed(subject)
        change = change_by(who, "allow", subject, why)
        expires_at = change.at + checked_seconds(seconds)
        entry = Allowance(
            subject,
            checked_text(owner, "owner"),
            change.who,
            change.why,
            change.at,
            expires_at,
        )
        ended = [each for each, old in self.read().allowed.items() if old.expires_at <= change.at]
        return self._change(change, [_Place(ALLOW_KEY, subject)], entry, ended=ended)

    def disallow(self, subject: str, who: str, why: str) -> Change:
        """Take a subject off the allow-list."""
        check_allowed(subject)
        change = change_by(who, "disallow", subject, why)
        return self._change(change, [_Place(ALLOW_KEY, subject)], None)

    def decide(
        self,
        subject: str,
        action: Action,
        seconds: float,
        who: str,
        why: str,
        *,
        rate: float | None = None,
        shadow: bool = False,
        reference: str = "",
    ) -> Change:
        """Decide on a subject, in place of the detectors. `observe` lifts their decisions.

        Args:
            subject: pseudonym of a key, account or end user.
            seconds: how long it holds.
            rate: requests per minute, for `throttle`.
            shadow: whether to record it only.
            reference: see `Change`.
        """
        check_subject(subject)
        if rate is not None and not (action == "throttle" and rate > 0):
            raise InputError("A rate belongs to throttle and is above 0 requests per minute.")
        change = change_by(who, "decide", subject, why)
        change = msgspec.structs.replace(change, reference=reference)
        decision = Decision(
            subject,
            action,
            change.id,  # gateways may show it to clients, so the reason itself is not there
            change.at,
            checked_seconds(seconds),
            origin=OPERATOR,
            scope=_SCOPES[subject[0]],
            kind=OPERATOR,
            rate=rate,
            mark=None if action == "observe" else mark_of(subject),
            shadow=shadow,
        )
        active = ActiveDecision.start(decision, None, change.at)
        place = _Place(decision_name(OPERATOR, subject))
        return self._change(change, [place], active, int(1000 * seconds))

    def delete(self, subject: str, who: str, why: str) -> Change:
        """Delete all decisions on a subject. Detectors may decide again while an alert is open."""
        check_subject(subject)
        change = change_by(who, "delete", subject, why)
        return self._change(
            change, [_Place(decision_name(each, subject)) for each in ORIGINS], None
        )

    def withdraw(
        self,
        alert: str,
        subject: str,
        kind: str,
        severity: Severity,
        who: str,
        why: str,
        *,
        requests: float = 0.0,
        members: Sequence[str] = (),
        for_one: bool = False,
    ) -> Change:
        """Declare an alert to be no attack. Its decisions count for nothing from now on.

        Withdrawals are forgotten after LONGEST_SECONDS, when another alert is withdrawn.

        Args:
            alert: its id.
            subject: of the alert, or the key that it is withdrawn for alone.
            requests, members, for_one: see `Withdrawal`.
        """
        change = change_by(who, "withdraw", alert, why)
        by = (change.who, change.why, change.at)
        value = Withdrawal(alert, subject, kind, severity, *by, requests, list(members), for_one)
        change = msgspec.structs.replace(change, subject=value.name)
        since = change.at - LONGEST_SECONDS
        ended = [each for each, old in self.read().withdrawn.items() if old.at < since]
        return self._change(change, [_Place(WITHDRAWN_KEY, value.name)], value, ended=ended)

    def reinstate(self, alert: str, who: str, why: str, key: str = "") -> Change:
        """Take a withdrawal back.

        Args:
            key: that it was withdrawn for alone.
        """
        name = withdrawal_name(alert, key)
        change = change_by(who, "reinstate", name, why)
        return self._change(change, [_Place(WITHDRAWN_KEY, name)], None)

    def _change(
        self,
        change: Change,
        places: Sequence[_Place],
        after: msgspec.Struct | None,
        milliseconds: int = 0,
        ended: Sequence[str] = (),
    ) -> Change:
        """Write a value to the places, or delete them, with the entries of audit and feed.

        Args:
            ended: fields of the same hash that have ended by themselves, to remove.
        """
        value = msgspec.json.encode(after) if after is not None else b""
        done: Change | None = None

        def commands(found: Sequence[bytes | None]) -> list[Command]:
            nonlocal done
            old = [each or b"" for each in found]
            feed = [feed_entry(place.name, value) for place in places]
            if old == [value] * len(places):
                if done is None:
                    raise InputError(nothing_to_change(change))
                return feed  # an attempt before this one was made, only its answer was lost
            before = [for_audit(each) for each in old if each]
            done = msgspec.structs.replace(
                change,
                before=before if len(places) > 1 else next(iter(before), None),
                after=for_audit(value) if value else None,
            )
            writes = [place.write(value, milliseconds) for place in places]
            for each in {*ended} - {place.field for place in places}:
                gone = _Place(places[0].key, each)
                writes += [gone.write(b"", 0), feed_entry(gone.name, b"")]
            return [audit_entry(done), *writes, *feed]

        def write() -> None:
            reads = [place.read() for place in places]
            if self.server.is_cluster:
                for command in commands([self._execute(read) for read in reads]):
                    self._execute(command)
                return
            with self.server.connection() as connection:
                watch = ("WATCH", *(place.key for place in places))
                transact(connection, commands(execute(connection, [watch, *reads])[1:]))

        self.server.run(write)
        assert done is not None
        return done

    def _run(self, command: Command) -> Any:
        return self.server.run(partial(self._execute, command))

    def _execute(self, command: Command) -> Any:
        with self.server.connection(command[1]) as connection:
            return execute(connection, [command])[0]

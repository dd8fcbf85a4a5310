"""Proposals that wait for a second person, and what each person has locked out lately, in Redis.

| key | value | expires |
|---|---|---|
| `xm:console:proposals` | hash: proposals as JSON, by id | by the first change after it |
| `xm:console:proposal:<id>` | the subjects of a proposal as JSON | with the proposal |
| `xm:console:acted:<hash of a name>` | subjects locked out in the last hour, JSON | after an hour |

A proposal is taken before it is carried out, so two people who approve it at the same time do it
once. If some decisions fail, it stays with the subjects that are left.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from monitor.alerting.alerts import Action
from monitor.alerting.changes import Change, change_by
from monitor.errors import InputError
from monitor.store.connection import Command, Primary, execute, transact
from monitor.store.feed import audit_entry
from pipelines.console.actions.order import Order

PROPOSALS_KEY, SUBJECTS_KEY = "xm:console:proposals", "xm:console:proposal:"
ACTED_KEY = "xm:console:acted:"
HOUR = 3600.0  # seconds
LIFE = 24 * HOUR  # of a proposal
MOST_OPEN = 100  # proposals
_STUCK = 600.0  # seconds after which a proposal that was taken may be taken again


class Proposal(msgspec.Struct, frozen=True):
    """An order that waits for a second person. Times are wall-clock, epoch seconds.

    Attributes:
        id: also the reference of its changes in the audit.
        who: proposed it.
        tenants: that the proposer is limited to; empty: all.
        action, seconds, why, rate: see `Order`.
        subjects: number of subjects.
        keys: number of keys that they stand for.
        until: when it expires.
        campaign: that its subjects were selected in; empty: none.
        taken_at, taken_by: who is carrying it out.
        turn: differs each time that it is taken.
    """

    id: str
    who: str
    tenants: tuple[str, ...]
    action: Action
    seconds: float
    why: str
    rate: float | None
    subjects: int
    keys: int
    at: float
    until: float
    campaign: str = ""
    taken_at: float = 0.0
    taken_by: str = ""
    turn: str = ""

    def is_by(self, name: str) -> bool:
        """Whether a person proposed it."""
        return same_person(self.who) == same_person(name)

    def order(self, subjects: Iterable[str]) -> Order:
        """What it proposes."""
        return Order(tuple(subjects), self.action, self.seconds, self.why, self.rate)


class Proposals:
    """Reads and changes proposals. Threads may share it.

    Args:
        server: Redis.
    """

    def __init__(self, server: Primary) -> None:
        self._server = server

    def admit(self, who: str, keys: Mapping[str, int], above: int, now: float) -> bool:
        """Whether a person may lock out these subjects alone; they count for an hour if so.

        Args:
            keys: by subject, the number of keys that it stands for.
            above: number of keys per hour above which a second person is needed.
        """
        name = ACTED_KEY + _hashed(who)

        def run() -> bool:
            with self._server.connection(name) as connection:
                _, found = execute(connection, [("WATCH", name), ("GET", name)])
                recent = _recent(found, now) | {key: (now, count) for key, count in keys.items()}
                admitted = sum(count for _, count in recent.values()) <= above
                write = ("SET", name, msgspec.json.encode(recent), "PX", int(1000 * HOUR))
                transact(connection, [write] if admitted else [])
            return admitted

        return self._server.run(run)

    def acted(self, who: str, now: float) -> dict[str, int]:
        """What a person has locked out in the last hour: the number of keys by subject."""
        found = self._call("GET", ACTED_KEY + _hashed(who))
        return {subject: keys for subject, (_, keys) in _recent(found, now).items()}

    def all(self, now: float) -> list[Proposal]:
        """The proposals that wait, the oldest first."""
        found = map(_read, self._call("HGETALL", PROPOSALS_KEY)[1::2])
        return sorted((each for each in found if each and now < each.until), key=lambda p: p.at)

    def read(self, id: str, now: float) -> tuple[Proposal, tuple[str, ...]]:
        """A proposal and its subjects.

        Raises:
            InputError: if it does not wait any more.
        """
        proposal = _waiting(self._call("HGET", PROPOSALS_KEY, id), now)
        value = self._call("GET", SUBJECTS_KEY + id)
        return proposal, tuple(msgspec.json.decode(value, type=list[str])) if value else ()

    def propose(
        self,
        order: Order,
        who: str,
        tenants: tuple[str, ...],
        keys: int,
        reference: str,
        campaign: str = "",
    ) -> Proposal:
        """Keep an order for a second person.

        Args:
            tenants, keys, campaign: see `Proposal`.
            reference: its id.

        Raises:
            InputError: if too many wait.
        """
        change = _change(who, "propose", reference, order.why)
        proposal = Proposal(
            *(reference, change.who, tenants, order.action, order.seconds, change.why, order.rate),
            *(len(order.subjects), keys, change.at, change.at + LIFE, campaign),
        )
        change = msgspec.structs.replace(change, after=_for_audit(proposal))
        self._call("SET", SUBJECTS_KEY + reference, *_subjects(order.subjects))

        def write(found: Mapping[str, Proposal]) -> Command:
            waiting = [each for each in found.values() if each.until > change.at]
            if len(waiting) >= MOST_OPEN and reference not in found:
                raise InputError(
                    f"{MOST_OPEN} proposals wait already. Approve or refuse some of them first."
                )
            return "HSET", PROPOSALS_KEY, reference, msgspec.json.encode(proposal)

        self._write(change, write)
        return proposal

    def take(self, id: str, who: str, why: str) -> Proposal:
        """Approve a proposal. The person who takes it carries it out.

        Raises:
            InputError: if it is their own, or does not wait any more.
        """
        change, turn = _change(who, "approve", id, why), secrets.token_hex(8)
        before = self.read(id, change.at)[0]
        change = msgspec.structs.replace(change, before=_for_audit(before))

        def write(found: Mapping[str, Proposal]) -> Command:
            proposal = found.get(id)
            if proposal is None or proposal.until <= change.at:
                raise InputError(_GONE)
            if proposal.is_by(who):
                raise InputError("This is your own proposal. Another person has to approve it.")
            if change.at - proposal.taken_at < _STUCK and proposal.turn != turn:
                raise InputError(f"{proposal.taken_by} is carrying it out. Look again in a minute.")
            taken = msgspec.structs.replace(
                proposal, taken_at=change.at, taken_by=change.who, turn=turn
            )
            return "HSET", PROPOSALS_KEY, id, msgspec.json.encode(taken)

        self._write(change, write)
        return before

    def finish(self, proposal: Proposal, left: Iterable[str]) -> None:
        """Remove a proposal that is carried out, or leave it with the subjects that failed."""
        left = tuple(left)
        if not left:
            self._call("HDEL", PROPOSALS_KEY, proposal.id)
            self._call("DEL", SUBJECTS_KEY + proposal.id)
            return
        again = msgspec.structs.replace(proposal, subjects=len(left), taken_at=0.0, turn="")
        self._call("SET", SUBJECTS_KEY + proposal.id, *_subjects(left))
        self._call("HSET", PROPOSALS_KEY, proposal.id, msgspec.json.encode(again))

    def refuse(self, id: str, who: str, why: str) -> None:
        """Refuse a proposal, or take back one's own.

        Raises:
            InputError: if it does not wait any more, or somebody carries it out.
        """
        change = _change(who, "refuse", id, why)
        before = self.read(id, change.at)[0]
        change = msgspec.structs.replace(change, before=_for_audit(before))

        def write(found: Mapping[str, Proposal]) -> Command:
            proposal = found.get(id)
            if proposal is not None and change.at - proposal.taken_at < _STUCK:
                raise InputError(f"{proposal.taken_by} is carrying it out. Look again in a minute.")
            return "HDEL", PROPOSALS_KEY, id

        self._write(change, write)
        self._call("DEL", SUBJECTS_KEY + id)

    def _write(self, change: Change, command: Callable[[Mapping[str, Proposal]], Command]) -> None:
        """One change of the hash with its entry in the audit; what has expired is removed."""

        def run() -> None:
            with self._server.connection(PROPOSALS_KEY) as connection:
                _, found = execute(
                    connection, [("WATCH", PROPOSALS_KEY), ("HGETALL", PROPOSALS_KEY)]
                )
                known = {each.id: each for each in map(_read, found[1::2]) if each}
                commands = [command(known)]
                gone = [each.id for each in known.values() if each.until <= change.at]
                if gone:
                    commands.append(("HDEL", PROPOSALS_KEY, *gone))
                if self._server.is_cluster:
                    self._call(*audit_entry(change))
                else:
                    commands.insert(0, audit_entry(change))
                transact(connection, commands)

        self._server.run(run)

    def _call(self, command: str, key: str, *arguments: Any) -> Any:
        def call() -> Any:
            with self._server.connection(key) as connection:
                return execute(connection, [(command, key, *arguments)])[0]

        return self._server.run(call)


_GONE = "This proposal does not wait any more: it was approved or refused, or has expired."


def same_person(name: str) -> str:
    """The form in which the names of one person are equal.

    Who may sign on by a proxy as ada@example.com and by a token as ada is one person.

    >>> same_person("Ada+work@example.com")
    'ada'
    """
    name = unicodedata.normalize("NFKC", name).casefold().strip()
    return name.partition("@")[0].partition("+")[0] or name


def _hashed(who: str) -> str:
    return hashlib.blake2b(same_person(who).encode(), digest_size=12).hexdigest()


def _recent(value: bytes | None, now: float) -> dict[str, tuple[float, int]]:
    """By subject, when it was locked out in the last hour, and its number of keys."""
    known = msgspec.json.decode(value or b"{}", type=dict[str, tuple[float, int]])
    return {subject: each for subject, each in known.items() if now - each[0] < HOUR}


def _waiting(value: bytes | None, now: float) -> Proposal:
    proposal = _read(value)
    if proposal is None or proposal.until <= now:
        raise InputError(_GONE)
    return proposal


def _read(value: bytes | None) -> Proposal | None:
    """A proposal from its JSON. One of a newer version counts as none."""
    try:
        return msgspec.json.decode(value, type=Proposal) if value else None
    except msgspec.MsgspecError:
        return None


def _subjects(subjects: Iterable[str]) -> tuple[bytes, str, int]:
    return msgspec.json.encode(tuple(subjects)), "PX", int(1000 * LIFE)


def _change(who: str, what: Any, id: str, why: str) -> Change:
    return msgspec.structs.replace(change_by(who, what, id, why), reference=id)


def _for_audit(proposal: Proposal) -> dict[str, Any]:
    names = ("who", "action", "seconds", "rate", "subjects", "keys", "until")
    return {name: getattr(proposal, name) for name in names}

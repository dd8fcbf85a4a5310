"""The state of one partition: its offset, its event time, and what belongs to no single key.

Every checkpoint writes it with the records. Event time is the partition's own. Every EPOCH of it
ends an epoch: calm alerts resolve, and with the last epoch of a day the day joins the baseline.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from monitor.alerting.alerts import Action, Alert, OpenAlert, Severity, Subject
from monitor.errors import StoreRefusedError
from monitor.records.baseline import Baseline, Reference
from monitor.records.stream_clock import SOURCES, Source, StreamClock

EPOCH = 300.0  # seconds
_HOUR = 12  # epochs
MAX_KEYS = 256  # of a flagged account that are kept

S = TypeVar("S", bound=msgspec.Struct)


class PartitionState(ABC):
    """What the partitions of all streams have in common. Subclasses add what they observe.

    Args:
        name: "<topic>:<number>".
        claim: the number of the claim under which this process writes it, see `Store.claim`.

    Attributes:
        offset: the first message that is not observed.
        clock: its event time.
        outbox: alerts that may not have been sent.
        dirty: whether any of it is not in the store.
    """

    def __init__(self, name: str, claim: int) -> None:
        self.name = name
        self.claim = claim
        self.offset = 0
        self.clock = StreamClock()
        self.outbox: list[Alert] = []
        self.dirty = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} at {self.offset})"

    @property
    def watermark(self) -> float:
        """The event time reached, epoch seconds; 0 before the first event."""
        return self.clock.watermark

    def _resume(self, offset: int, watermark: float, sources: list[Source]) -> None:
        """Continue where a stored state ends.

        Raises:
            StoreRefusedError: if no worker can have written it.
        """
        if offset < 0 or not math.isfinite(watermark) or len(sources) > SOURCES:
            raise StoreRefusedError(
                f"The state of {self.name} in the store is damaged (offset {offset}, watermark "
                f"{watermark:g}): restore it from a backup, or delete it, and the partition "
                "starts at the offset that Kafka has."
            )
        self.offset, self.clock = offset, StreamClock(watermark, sources)

    @abstractmethod
    def snapshot(self) -> bytes:
        """The state as bytes."""

    @abstractmethod
    def restore(self, data: bytes) -> None:
        """Replace the state by that of a snapshot.

        Raises:
            StoreRefusedError: if its version is unknown, or it is damaged.
        """


class FlaggedAccount(msgspec.Struct, array_like=True):
    """An account with open alerts.

    Attributes:
        hash: keyed hash of its name.
        keys: its latest keys, and when the last decision on each was made; 0 before the first.
        limit: the strongest decision on it and its keys.
    """

    hash: int
    keys: dict[str, float] = {}
    limit: Action = "block"

    def decided(self, key: str) -> float:
        """When the last decision on a key was made, epoch seconds."""
        return self.keys.get(key, 0.0)

    def add(self, key: str, decided: float) -> None:
        """Make a key the latest; of more than MAX_KEYS the oldest leaves."""
        self.keys.pop(key, None)
        self.keys[key] = decided
        if len(self.keys) > MAX_KEYS:
            del self.keys[next(iter(self.keys))]


class _State(msgspec.Struct, array_like=True):
    version: int
    offset: int
    watermark: float
    baseline: bytes
    alerted: dict[str, list[tuple[str, Severity]]]
    outbox: list[Alert]
    sources: list[Source] = []  # none before version 3
    accounts: dict[str, FlaggedAccount] = {}  # none before version 4
    end_users: dict[str, str] = {}
    traffic: list[tuple[int, int]] = []  # none before version 5
    ties: dict[str, list[str]] = {}


class Partition(PartitionState):
    """A partition of requests: also its baseline, and the subjects with open alerts.

    Attributes:
        baseline: what ordinary keys reach per day.
        alerted: kind and severity of the open alerts by subject.
        accounts: the accounts among these subjects.
        end_users: the end users among them, and the key of each.
        traffic: number and requests of each epoch of the last hour.
        ties: of the subjects with decisions, those that all of their decisions had.
    """

    def __init__(self, name: str, claim: int, reference: Reference) -> None:
        super().__init__(name, claim)
        self.baseline = Baseline(reference)
        self.alerted: dict[str, list[tuple[str, Severity]]] = {}
        self.accounts: dict[str, FlaggedAccount] = {}
        self.end_users: dict[str, str] = {}
        self.traffic: list[tuple[int, int]] = []
        self.ties: dict[str, list[str]] = {}

    def add_traffic(self, epoch: int, requests: int) -> None:
        """Count the requests of an epoch, the current one or a later one."""
        before = sum(count for number, count in self.traffic if number == epoch)
        past = (each for each in self.traffic if epoch - _HOUR < each[0] < epoch)
        self.traffic = [*past, (epoch, before + requests)]

    @property
    def hourly_requests(self) -> int:
        """Requests in the last hour."""
        return sum(count for _, count in self.traffic)

    def subject(self, id: str) -> Subject:
        """A subject with open alerts, or one that is about to have some."""
        if id in self.accounts:
            return Subject("account", id, sorted(self.accounts[id].keys))
        if id in self.end_users:
            return Subject("end_user", id, [self.end_users[id]])
        return Subject("api_key", id)

    def set_open_alerts(self, id: str, open_alerts: list[OpenAlert]) -> None:
        """Replace the open alerts of a subject.

        The keys of an account get new decisions.
        """
        self.alerted.pop(id, None)
        if open_alerts:
            self.alerted[id] = [(each.kind, each.severity) for each in open_alerts]
            if id in self.accounts:
                self.accounts[id].keys = dict.fromkeys(self.accounts[id].keys, 0.0)
        else:
            self.accounts.pop(id, None)
            self.end_users.pop(id, None)
            self.ties.pop(id, None)

    def forget(self, ids: Sequence[str]) -> None:
        """Forget subjects without open alerts, also as keys of accounts and of end users."""
        self.clock = self.clock.without_names(ids)
        for id in ids:
            for known in (self.accounts, self.end_users, self.ties):
                known.pop(id, None)
            for account in self.accounts.values():
                account.keys.pop(id, None)
        gone = {*ids}
        self.end_users = {user: key for user, key in self.end_users.items() if key not in gone}

    def lasting_ties(self, id: str, ties: Sequence[str]) -> list[str]:
        """Which ties of a subject all of its decisions had since its alerts opened.

        One request through an exempted network, or with an exempted payment, must not exempt it.
        """
        before = self.ties.get(id, ties)
        self.ties[id] = [tie for tie in ties if tie and tie in before]
        return self.ties[id]

    def snapshot(self) -> bytes:
        state = _State(
            version=5,
            offset=self.offset,
            watermark=self.watermark,
            baseline=self.baseline.snapshot(),
            alerted=self.alerted,
            outbox=self.outbox,
            sources=self.clock.sources,
            accounts=self.accounts,
            end_users=self.end_users,
            traffic=self.traffic,
            ties=self.ties,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        state = decode_state(data, _State, (1, 2, 3, 4, 5), self.name)
        self._resume(state.offset, state.watermark, state.sources)
        try:
            self.baseline.restore(state.baseline)
        except (msgspec.MsgspecError, ValueError, IndexError) as error:
            raise StoreRefusedError(
                f"The baseline in the state of {self.name} in the store is unreadable ({error}): "
                "run all workers with the newest release that has written to this store."
            ) from error
        self.alerted, self.outbox = state.alerted, state.outbox
        self.accounts, self.end_users = state.accounts, state.end_users
        self.traffic, self.ties = state.traffic, state.ties
        self.dirty = bool(self.outbox)


def decode_state(data: bytes, form: type[S], versions: tuple[int, ...], name: str) -> S:
    """Decode a partition's state, whose first field is its version.

    Raises:
        StoreRefusedError: if it is of another version than these.
    """
    try:
        version: object = msgspec.msgpack.decode(data, type=list)[0]
        if version in versions:
            return msgspec.msgpack.decode(data, type=form)
    except (msgspec.MsgspecError, IndexError):
        version = "(unreadable)"
    known = " or ".join(map(str, versions))
    raise StoreRefusedError(
        f"The state of {name} in the store has version {version}, not {known}: run all workers "
        "with the newest release that has written to this store."
    )

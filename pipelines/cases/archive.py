"""Copies cases from Redis to Kafka, and restores in Redis what it has lost.

Redis may lose its newest entries in a failover, and an entry may be written on top of an older one
before that is noticed. The topic has what was acknowledged, in order, so it wins: the case in Redis
becomes the entries of the topic, and valid entries that only Redis has are signed again on top of
them. An entry that was changed in Redis is replaced in the same way.

| `extraction.cases` | key | value |
|---|---|---|
| | id of the case | an entry as signed |

One worker at a time does this. It reads the topic when its turn begins, so it sends nothing that
the topic has.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from monitor.config import Settings
from monitor.errors import EvidenceError
from monitor.evidence.chain import open_entry, read_entry
from monitor.evidence.entries import Entry
from monitor.evidence.links import digest
from monitor.evidence.rows import CaseRow, marks_of
from monitor.evidence.store import CaseStore
from monitor.metrics import Metrics
from monitor.records.profile import DAY
from monitor.store.control import ControlStore
from monitor.store.outbox import TURN_SECONDS, Position, take_turn
from pipelines.cases.mirror import Mirror, is_of_unknown_key
from pipelines.cases.recorder import Recorder

TURN_KEY = "xm:cases:turn"
_SECONDS = 1.0  # between looks at the cases
_WHOLE_SECONDS = 10.0  # between comparisons of all cases, changed or not
_LINES = 1000  # read from the topic between renewals of the turn
_REPAIR_SECONDS = 60.0  # until a case that could not be repaired is tried again
_REPAIRS = 50  # cases that are repaired at once; each may have megabytes

log = logging.getLogger(__name__)

_T = TypeVar("_T")
Send = Callable[[bytes, bytes], Awaitable[None]]
Read = Callable[[], Iterator[bytes]]


class Plan(NamedTuple):
    """What differs between Redis and the topic.

    Attributes:
        copy: cases with entries that the topic lacks.
        repair: cases of which Redis lacks entries, or has others than the topic.
        rows: that the index lacks; `gone`: that it has for no case.
        expired: closed cases that the topic has for long enough.
    """

    copy: list[str]
    repair: list[str]
    rows: list[CaseRow]
    gone: list[str]
    expired: list[str]


class Archive:
    """Copies and restores while it is this worker's turn.

    Args:
        store: of the cases.
        recorder: writes changes and facts that are due.
        control: has the turn and the audit.
        settings: say how long closed cases are kept.
        read: reads all values of the topic.
        send: sends a message to the topic and waits until Kafka has it.
        thread: of the recorder.
    """

    def __init__(
        self,
        store: CaseStore,
        recorder: Recorder,
        control: ControlStore,
        settings: Settings,
        *,
        read: Read,
        send: Send,
        thread: Executor,
        metrics: Metrics,
    ) -> None:
        self._store, self._recorder = store, recorder
        self._control, self._settings = control, settings
        self._read, self._send, self._thread, self._metrics = read, send, thread, metrics
        self._holder = secrets.token_hex(8)
        self._mirror: Mirror | None = None
        self._taken = -TURN_SECONDS  # monotonic time of the last renewal of the turn
        self._version, self._due = -1, 0.0
        self._later: dict[str, float] = {}  # when to repair cases that could not be repaired
        self._known: set[str] = set()  # cases whose earlier changes are written

    async def run(self, should_stop: Callable[[], bool]) -> None:
        """Follow the cases until the app stops."""
        failing = False
        while not should_stop():
            try:
                more = await self.step()
            except Exception as error:  # of Redis or Kafka: alerts are delivered meanwhile
                if not failing:
                    log.error("archive_failed error=%s reason=%r", type(error).__name__, str(error))
                failing, more = True, False
            else:
                if failing:
                    log.warning("archive_back")
                failing = False
            if not more:
                await asyncio.sleep(_SECONDS)

    async def step(self) -> bool:
        """Copy and restore what is due; whether there may be more."""
        if time.monotonic() - self._taken > TURN_SECONDS / 2:  # another may have had a turn since
            self._mirror = None
        position = await self._call(self._take_turn)
        if position is None:
            self._mirror = None
            self._show([], 0)
            return False
        if self._mirror is None:
            self._mirror = await asyncio.to_thread(self._read_topic)  # may take long
        mirror = self._mirror
        plan = await self._call(lambda: self._compare(mirror))
        if plan is not None:
            await self._call(lambda: self._tidy(plan))
            unlike = [case for case in plan.copy if not await self._copy(mirror, case)]
            repair = plan.repair + unlike
            if repair:
                self._mirror = await asyncio.to_thread(self._repair, repair[:_REPAIRS])
                return True
        # Only now: what is written on top of an older entry has to be signed again.
        audit, more = await self._call(
            lambda: self._recorder.record_changes(self._control, position.audit)
        )
        await self._call(self._recorder.catch_up)
        await self._call(lambda: self._take_turn(Position(audit=audit)))
        return more or bool(plan and plan.copy)

    # The topic

    def _take_turn(self, reached: Position | None = None) -> Position | None:
        position = take_turn(self._control, self._holder, reached, TURN_KEY)
        if position is not None:
            self._taken = time.monotonic()
        return position

    def _read_topic(self, wanted: dict[str, list[bytes]] | None = None) -> Mirror:
        """Read the whole topic.

        Args:
            wanted: gets the lines of its cases.
        """
        mirror, lines = Mirror(self._store.ring), self._read()
        while page := list(islice(lines, _LINES)):
            for line in page:
                case = mirror.add(line)
                if wanted is not None and case in wanted:
                    wanted[case].append(line)
            self._take_turn()
        self._version, self._due = -1, 0.0
        return mirror

    # Comparison

    def _compare(self, mirror: Mirror) -> Plan | None:
        """What differs; `None` while nothing has changed since the last comparison."""
        version = self._store.version()
        if version == self._version and time.monotonic() < self._due:
            return None
        index = {row.id: row for row in self._store.rows()}
        stored = self._store.stored_rows(index.keys() | mirror.rows.keys())
        plan = Plan([], [], [], [], [])
        for case in sorted(index.keys() | mirror.rows.keys()):
            row, kept = stored.get(case), mirror.rows.get(case)
            suspect = case in index and not index[case].head
            if time.monotonic() < self._later.get(case, 0.0):
                continue
            if kept is not None and self._is_expired(kept):
                if row is not None and row.head == kept.head:
                    plan.expired.append(case)
                elif row is not None:
                    plan.copy.append(case)
                continue
            if row is None and kept is None:
                plan.gone.append(case)
            elif row is None or suspect or (kept is not None and not _extends(row, kept)):
                plan.repair.append(case)
            elif kept is None or row.entries > kept.entries:
                plan.copy.append(case)
            if row is not None and index.get(case) != row:
                plan.rows.append(row)
        self._show(list(stored.values()), _lacking(stored, mirror))
        fresh = {row.id for row in stored.values() if row.status == "open"} - self._known
        if fresh:
            self._recorder.record_earlier_changes(self._control, fresh)
            self._known |= fresh
        self._version, self._due = version, time.monotonic() + _WHOLE_SECONDS
        return plan

    def _is_expired(self, row: CaseRow) -> bool:
        kept = self._settings.cases.kept_days * DAY
        return row.status == "closed" and time.time() - row.changed_at > kept

    def _show(self, rows: list[CaseRow], lacking: int) -> None:
        self._metrics.cases_open.set(sum(row.status == "open" for row in rows))
        self._metrics.case_bytes.set(sum(row.bytes for row in rows))
        self._metrics.case_uncopied.set(lacking)

    # Changes

    async def _copy(self, mirror: Mirror, case: str) -> bool:
        """Send the entries that the topic lacks, in order; `False` if they do not follow it."""
        kept = mirror.rows.get(case)
        lines = await self._call(lambda: self._store.lines(case, kept.entries if kept else 1))
        if kept is not None and (not lines or digest(lines.pop(0)) != kept.head):
            return False
        for line in lines:
            if not self._fits(mirror, line):
                return False
            await self._call(self._take_turn)
            try:
                await self._send(case.encode(), line)
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                log.error("case_not_copied case=%s reason=%r", case, str(error))
                return True
            except BaseException:
                self._mirror = None  # Kafka may have it or not
                raise
            mirror.add(line)
        if case in mirror.rows:
            await self._call(lambda: self._store.mark_copied(case, mirror.rows[case].entries))
        return True

    def _fits(self, mirror: Mirror, line: bytes) -> bool:
        """Whether a line is the next entry of its case, signed by a known key."""
        try:
            entry = open_entry(line, self._store.ring)
        except EvidenceError:
            return False
        row = mirror.rows.get(entry.case)
        number, previous = (row.entries + 1, row.head) if row else (1, "")
        return (entry.number, entry.previous) == (number, previous)

    def _repair(self, cases: list[str]) -> Mirror:
        """Make cases in Redis what the topic has, and sign valid entries that it lacks again."""
        wanted: dict[str, list[bytes]] = {case: [] for case in cases}
        mirror = self._read_topic(wanted)
        for case, lines in wanted.items():
            if not self._restore(case, lines):
                self._later[case] = time.monotonic() + _REPAIR_SECONDS
        return mirror

    def _restore(self, case: str, kept: list[bytes]) -> bool:
        """Replace the entries in Redis by those of the topic, and those that only Redis has.

        Returns:
            whether Redis has them now.
        """
        found, ring = self._store.lines(case), self._store.ring
        on_topic, in_redis = ({digest(line) for line in each} for each in (kept, found))
        seen = {mark for line in kept for mark in marks_of(read_entry(line))}
        lines, dropped = list(kept), 0
        for line in (line for line in found if digest(line) not in on_topic):
            try:
                entry = open_entry(line, ring)
                if entry.case != case:
                    raise EvidenceError(f"It is an entry of case {entry.case}.")
            except EvidenceError as error:
                if is_of_unknown_key(line, ring):
                    log.error("case_key_unknown case=%s reason=%r", case, str(error))
                    return False
                log.error("case_entry_dropped case=%s reason=%r", case, str(error))
                dropped += 1
                continue
            if not seen.intersection(marks_of(entry)):
                lines.append(self._signed_again(entry, lines))
        if not lines:
            log.error("case_lost case=%s entries=%d", case, dropped)
            return False
        lost = len(on_topic - in_redis)
        head = digest(found[-1]) if found else None
        if lines != found:
            if not self._store.replace(case, lines, head):
                return False
            self._metrics.case_restored.inc(lost)
            log.warning(
                "case_restored case=%s restored=%d signed_again=%d dropped=%d",
                case, lost, len(lines) - len(kept), dropped,
            )  # fmt: skip
        self._store.mark_copied(case, len(kept))
        return True

    def _signed_again(self, entry: Entry, lines: list[bytes]) -> bytes:
        previous = digest(lines[-1]) if lines else ""
        moved = msgspec.structs.replace(entry, number=len(lines) + 1, previous=previous)
        return self._store.seal(moved)

    def _tidy(self, plan: Plan) -> None:
        self._store.repair_index(plan.rows, plan.gone)
        for case in plan.expired:
            self._store.remove(case)
            log.info("case_expired case=%s", case)

    async def _call(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _extends(row: CaseRow, kept: CaseRow) -> bool:
    """Whether entries in Redis may follow those of the topic; `_copy` checks it."""
    if row.entries == kept.entries:
        return row.head == kept.head
    return row.entries > kept.entries


def _lacking(stored: dict[str, CaseRow], mirror: Mirror) -> int:
    """Entries that the topic lacks."""
    counts = (
        row.entries - (kept.entries if (kept := mirror.rows.get(case)) else 0)
        for case, row in stored.items()
    )
    return sum(max(count, 0) for count in counts)


def send_with(app: Any, topic: str) -> Send:
    """Sends with the producer of a Faust app."""

    async def send(key: bytes, value: bytes) -> None:
        producer = await app.maybe_start_producer()
        await (await producer.send(topic, key, value, None, None, None))

    return send

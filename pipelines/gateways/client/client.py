"""A gateway's client: says what to do with a request, from a copy of the decisions.

1. The first request of a key is looked up with one call to the monitor, which names the subjects
   (pseudonyms) of the key. Calls are made in batches: while one is on its way, the next one fills.
2. From then on the copy answers. It follows the monitor's feed of changes, so no request of a known
   key waits for anything.
3. While the feed is interrupted, a key is looked up once a second at most. A look-up that fails or
   takes longer than the timeout opens the circuit: from then on the copy alone answers, at once,
   until a probe finds that the monitor works.

Decisions that the copy has stay in force until they end, whatever fails. A key about which nothing
is known passes (`XM_GATEWAY__FAIL=open`, the default) or is refused with 503 (`closed`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from monitor import config
from monitor.alerting.alerts import Action
from monitor.backoff import pauses
from monitor.identity import END_USER_PREFIX
from pipelines.gateways.applied import Applied
from pipelines.gateways.client.connection import (
    AwayError,
    Connection,
    Event,
    Found,
    Item,
    RefusedError,
    items,
    without_end_user,
)
from pipelines.gateways.client.local import Callers, DecisionCopy, Known, caller_of
from pipelines.gateways.client.metrics import ClientMetrics, shared_metrics
from pipelines.web.limits import RateLimiter

log = logging.getLogger(__name__)

_FRESH_SECONDS = 1.0  # in which a key is not looked up again while the feed is interrupted
_MOST_PENDING = 10_000  # callers that wait for a look-up; a further one is not looked up
_MOST_ITEMS = 500  # in one call
_EXPIRE_SECONDS = 60.0
_PAUSES = (0.1, 2.0)  # seconds between attempts, the first and the longest
_RATE = 60.0  # requests per minute of a throttled key whose decision names no rate
_BURST, _BURST_SECONDS = 5.0, 5.0  # that may come at once: requests, or seconds at the rate
_CLOSED_RETRY = 5.0  # seconds after which a refused caller may find the monitor back


class Verdict(NamedTuple):
    """What to do with a request.

    Attributes:
        action: the decision in force on it.
        status: 200 to pass, else the HTTP status to refuse it with: 401, 403, 429 or 503.
        retry_after: seconds after which it may be repeated; 0 if that does not help.
        reason: id of the alert behind the decision.
        mark: id to put on the response.
        known: whether the monitor, or the copy of its decisions, knows the key.
    """

    action: Action = "observe"
    status: int = 200
    retry_after: float = 0.0
    reason: str | None = None
    mark: str | None = None
    known: bool = True


class _Ready(msgspec.Struct, frozen=True):
    shadow: bool | None = None


class _Asked(NamedTuple):
    """A caller that waits: what to look up, and whether that succeeded."""

    caller: bytes
    items: list[Item]
    done: asyncio.Future[bool]


class DecisionClient:
    """Answers without blocking the event loop, and never raises. Use it from one loop.

    Args:
        settings: where the monitor is, and what to do while it is away.
        metrics: default: those of the process.

    Raises:
        ConfigError: if a certificate or the token cannot be read.

    Attributes:
        shadow: whether nothing is enforced on anybody; `None` until the monitor says so.
    """

    def __init__(self, settings: config.Gateway, metrics: ClientMetrics | None = None) -> None:
        self.shadow: bool | None = None
        self._settings = settings
        self._metrics = metrics or shared_metrics()
        self._copy, self._callers, self._limiter = DecisionCopy(), Callers(), RateLimiter()
        self._connection = Connection(settings)
        self._started = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._live = False  # the copy follows the feed
        self._live_at = float("-inf")  # when it last did, monotonic seconds
        self._away = False  # the circuit is open
        self._position: str | None = None  # in the feed
        self._waiting: dict[bytes, _Asked] = {}
        self._unsent: deque[_Asked] = deque()
        self._sending = False

    @property
    def live(self) -> bool:
        """Whether the copy follows the feed."""
        return self._live

    @property
    def enforces(self) -> bool:
        """Whether anything is enforced; before the monitor says so, only if it fails closed."""
        return self._settings.fail == "closed" if self.shadow is None else not self.shadow

    def start(self) -> None:
        """Begin to follow the feed; `check` does so, too."""
        if not self._started:
            self._started = True
            self._spawn(self._follow())

    async def close(self) -> None:
        """Stop following, and answer what waits as unknown."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._give_up()
        await self._connection.close()
        self._started = False

    async def check(
        self, keys: Sequence[str], account: str | None = None, end_user: str | None = None
    ) -> Verdict:
        """What to do with a request now, within the timeout.

        Args:
            keys: every API key that it names, in any form that the log of requests may have.
            account: of the customer behind it, as the log of requests names it.
            end_user: of an application's request, as the log of requests names it.
        """
        self.start()
        asked = items(keys, account, end_user)
        caller = caller_of(asked)
        known = self._callers.get(caller)
        if known is None or not (self._live or _age(known.asked_at) < _FRESH_SECONDS):
            await self._ask(caller, asked)
            known = self._callers.get(caller)
        verdict = self._verdict(known, asked)
        self._metrics.decisions.labels(_label(verdict)).inc()
        return verdict

    def mark(
        self, keys: Sequence[str], account: str | None = None, end_user: str | None = None
    ) -> str | None:
        """The mark for the response to a request that `check` let pass, with the same arguments."""
        known = self._callers.get(caller_of(items(keys, account, end_user)))
        current = known and self._copy.strongest(known.subjects, time.time())
        return current.applied.mark if current else None

    def _verdict(self, known: Known | None, asked: Sequence[Item]) -> Verdict:
        subjects = known.subjects if known else self._subjects_of_keys(asked)
        current = self._copy.strongest(subjects, time.time())
        if not current:
            if known and (self._live or self._is_recent(known)):
                return Verdict()
            if self._settings.fail == "closed" and self.enforces:
                return Verdict(status=503, retry_after=_CLOSED_RETRY, known=False)
            return Verdict(known=False)
        action, applied = current
        status, wait = 200, 0.0
        if action == "throttle":
            wait = self._wait(applied)
            status = 429 if wait else 200
        elif action in ("challenge", "block"):
            status = 401 if action == "challenge" else 403
        return Verdict(action, status, wait, applied.reason, applied.mark)

    def _subjects_of_keys(self, asked: Sequence[Item]) -> Iterator[str]:
        """The known subjects of each key of a caller that could not be looked up.

        A client can name another end user or a second key with each request. That must not make a
        blocked key unknown.
        """
        for item in asked:
            if known := self._callers.get(caller_of([without_end_user(item)])):
                yield from known.subjects

    def _is_recent(self, known: Known) -> bool:
        """Whether a caller without a decision had none lately, though the feed is interrupted."""
        seen_at = max(self._live_at, known.asked_at if known.current else self._live_at)
        return _age(seen_at) < self._settings.stale_seconds

    def _wait(self, applied: Applied) -> float:
        """Count a request of a throttled subject; seconds to wait, 0 if it is within the rate."""
        rate = (_RATE if applied.rate is None else applied.rate) / 60 / self._settings.processes
        if rate <= 0.0:
            return 60.0
        burst = max(_BURST, rate * _BURST_SECONDS)
        return self._limiter.wait(str(applied.subject), time.monotonic(), rate, burst)

    async def _ask(self, caller: bytes, looked_up: list[Item]) -> None:
        """Look a caller up, unless the monitor is away; return within the timeout."""
        if self._away:
            return
        asked = self._waiting.get(caller)
        if asked is None:
            if len(self._waiting) >= _MOST_PENDING:
                return
            done = asyncio.get_running_loop().create_future()
            asked = _Asked(caller, looked_up, done)
            self._waiting[caller] = asked
            self._unsent.append(asked)
            if not self._sending:
                self._sending = True
                self._spawn(self._send())
        try:
            # Shielded: others wait for the same look-up.
            await asyncio.wait_for(asyncio.shield(asked.done), self._settings.timeout_seconds)
        except TimeoutError:
            self._break(f"no answer within {self._settings.timeout_seconds:g} s")

    async def _send(self) -> None:
        """Look up what waits, one call after the other."""
        try:
            while self._unsent:
                count, batch = 0, []
                while self._unsent and count < _MOST_ITEMS:
                    batch.append(self._unsent.popleft())
                    count += len(batch[-1].items)
                try:
                    await self._look_up(batch)
                except AwayError as error:
                    self._break(str(error))
                    return
        finally:
            self._sending = False

    async def _look_up(self, batch: Sequence[_Asked]) -> None:
        """Look a batch up. What the monitor rejects must not cost the others their answer."""
        try:
            answers = await self._connection.look_up(
                [item for each in batch for item in each.items]
            )
        except RefusedError:
            half = len(batch) // 2
            if half:
                await self._look_up(batch[:half])
                await self._look_up(batch[half:])
            else:
                self._answered(batch[0], False)
            return
        for each in batch:
            self._keep(each, answers[: len(each.items)])
            answers = answers[len(each.items) :]
            self._answered(each, True)

    def _answered(self, asked: _Asked, found: bool) -> None:
        self._waiting.pop(asked.caller, None)
        if not asked.done.done():
            asked.done.set_result(found)

    def _keep(self, asked: _Asked, answers: Sequence[Found]) -> None:
        """Keep what a look-up found; the feed knows better, as long as the copy follows it."""
        if not self._live:
            for answer in answers:
                if answer.decision == "observe":
                    self._copy.forget(answer.subjects)
                self._copy.put(answer)
        now, current = time.monotonic(), all(each.known for each in answers)
        for item, answer in zip(asked.items, answers, strict=True):
            if len(asked.items) > 1 or "end_user" in item:
                subjects = tuple(
                    each for each in answer.subjects if not each.startswith(END_USER_PREFIX)
                )
                key = caller_of([without_end_user(item)])
                self._callers.put(key, Known(subjects, now, current))
        found = dict.fromkeys(each for answer in answers for each in answer.subjects)
        self._callers.put(asked.caller, Known(tuple(found), now, current))

    def _break(self, reason: str) -> None:
        """Open the circuit: give up what waits, and look nothing up until a probe succeeds."""
        self._give_up()
        if not self._away:
            self._away = True
            log.warning("monitor_away url=%s reason=%r", self._settings.url, reason)
            self._spawn(self._probe())

    def _give_up(self) -> None:
        for each in self._waiting.values():
            if not each.done.done():
                each.done.set_result(False)
        self._waiting.clear()
        self._unsent.clear()

    async def _probe(self) -> None:
        """Close the circuit once the monitor answers."""
        for pause in pauses(*_PAUSES):
            await asyncio.sleep(pause)
            with contextlib.suppress(AwayError):
                await self._connection.look_up([{"account": "-"}])
                self._away = False
                log.warning("monitor_back url=%s", self._settings.url)
                return

    async def _follow(self) -> None:
        """Follow the feed, and connect again whenever it ends."""
        waits = pauses(*_PAUSES)
        while True:
            try:
                await self._read_feed()
            except AwayError as error:
                if self._live:
                    waits = pauses(*_PAUSES)
                    self._set_live(False)
                    log.warning("feed_lost url=%s reason=%r", self._settings.url, str(error))
            await asyncio.sleep(next(waits))

    async def _read_feed(self) -> None:
        """Read the feed until it ends.

        Raises:
            AwayError: when it ends, or an event cannot be read.
        """
        self._copy.give_up()
        expired_at = time.monotonic()
        async with contextlib.aclosing(self._connection.feed(self._position)) as events:
            async for event in events:
                if self._live:
                    self._live_at = time.monotonic()
                if event.name:
                    self._apply(event)
                if not self._copy.loading:  # an incomplete state cannot be resumed
                    self._position = event.position
                if _age(expired_at) > _EXPIRE_SECONDS:
                    self._copy.expire(time.time())
                    expired_at = time.monotonic()

    def _apply(self, event: Event) -> None:
        try:
            match event.name:
                case "reset":
                    self._set_live(False)
                    self._copy.begin()
                case "decision":
                    self._copy.load(msgspec.json.decode(event.data, type=Applied))
                case "stale":
                    self._set_live(False)
                case "ready":
                    self.shadow = msgspec.json.decode(event.data, type=_Ready).shadow
                    self._copy.complete()
                    self._set_live(True)
        except msgspec.MsgspecError as error:
            raise AwayError(f"the feed has something else as {event.name}: {error}") from error

    def _set_live(self, live: bool) -> None:
        self._live = live
        self._live_at = time.monotonic()
        self._metrics.live.set(live)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _label(verdict: Verdict) -> str:
    if verdict.status == 429:
        return "refused_rate"
    return verdict.action if verdict.known else "unknown"


def _age(monotonic: float) -> float:
    return time.monotonic() - monotonic

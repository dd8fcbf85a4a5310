"""One receiver's queue, and the task that empties it.

One request is under way at a time, so the states of an alert arrive in order. A request is
repeated until the receiver accepts or rejects it, or the alerts in it are too old. What it does not
accept are dead letters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from monitor.alerting.alerts import SEVERITIES, Alert
from monitor.metrics import Metrics
from monitor.store.operate.processes import ReceiverHealth
from pipelines.notify.circuit import Circuit, Clock
from pipelines.notify.dead_letters import DeadLetter, Publish
from pipelines.notify.incidents.ledger import Ledger, rank
from pipelines.notify.incidents.membership import WHOLES
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.incidents.view import View
from pipelines.notify.receivers.base import AwayError
from pipelines.notify.route import Route

_QUEUE = 10_000  # alerts that may wait for one receiver
_STOP_SECONDS = 3.0  # that a stop waits for an answer

log = logging.getLogger(__name__)


class Countdown:
    """Counts the deliveries of a batch, one per alert and receiver; `done` after the last."""

    def __init__(self, count: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = count + 1
        self.decrement()

    def decrement(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class Item:
    """An alert that waits.

    Attributes:
        alert: `None` asks to send all open incidents again.
        since: when it was queued, wall-clock time, epoch seconds.
        countdown: of its batch.
    """

    alert: Alert | None
    since: float
    countdown: Countdown | None = None


class ReceiverQueue:
    """The queue of a route.

    Args:
        route: the receiver and its conditions.
        ledger: what was delivered before.
        metrics: counts deliveries.
        clock: for pauses and ages.
        give_up_seconds: age at which an alert is a dead letter.
        publish: takes dead letters.
    """

    def __init__(
        self,
        route: Route,
        ledger: Ledger,
        metrics: Metrics,
        clock: Clock,
        give_up_seconds: float,
        publish: Publish | None,
    ) -> None:
        self._route, self._receiver, self._ledger = route, route.receiver, ledger
        self._clock, self._give_up, self._publish = clock, give_up_seconds, publish
        self._queue: asyncio.Queue[Item] = asyncio.Queue(_QUEUE)
        self._task: asyncio.Task[None] | None = None
        self._busy, self._sending = False, asyncio.Lock()
        self._refreshed = clock.now()
        name = self._receiver.name
        self._circuit = Circuit(name, metrics.receiver_up.labels(name), clock)
        self._waiting = metrics.undelivered.labels(name)
        self._waiting.set(0)
        self._outcomes = {
            outcome: metrics.deliveries.labels(name, outcome)
            for outcome in ("delivered", "grouped", "refused", "given_up", "retried")
        }
        self._view, self._buried, self._opened_whole = View(ledger, self._receiver), 0, False

    @property
    def health(self) -> ReceiverHealth:
        """What the receiver did lately."""
        return ReceiverHealth(
            self._receiver.name,
            type(self._receiver).__name__.lower(),
            not self._circuit.is_open,
            self._queue.qsize(),
            self._circuit.accepted_at,
            self._circuit.reason,
        )

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"deliver to {self._receiver.name}")

    async def stop(self) -> None:
        """Stop between two requests: an answer that nobody enters means a repeated alert."""
        if self._task:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sending.acquire(), _STOP_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def put(self, alert: Alert, countdown: Countdown) -> None:
        """Add an alert; wait while the queue is full."""
        self._waiting.inc()
        await self._queue.put(Item(alert, self._clock.now(), countdown))

    def tick(self) -> None:
        """Add the open alerts that the receiver should have by now, while it has nothing to do."""
        if self._busy or not self._queue.empty() or self._circuit.is_open:
            return
        now = self._clock.now()
        for entry in self._ledger.open_entries:
            if self._queue.full():
                return
            if not entry.marks and not self._route.wants(self._view.state_of(entry.alert), now):
                continue
            alert = self._as_withdrawn(entry.alert)
            if self._is_due(alert, now):
                self._waiting.inc()
                self._queue.put_nowait(Item(alert, now))
        seconds = self._receiver.refresh_seconds
        due = seconds and now - self._refreshed >= seconds
        moved = self._receiver.inhibits and self._view.open_notices(now, moved=True)
        if (due or moved) and not self._queue.full():
            self._refreshed = now
            self._queue.put_nowait(Item(None, now))

    async def _run(self) -> None:
        while True:
            items = [await self._queue.get()]
            self._busy = True
            while len(items) < self._receiver.batch and not self._queue.empty():
                items.append(self._queue.get_nowait())
            try:
                await self._work(items)
            except Exception:  # the next alerts must go on; these are read again after a restart
                log.error("delivery_failed receiver=%s", self._receiver.name, exc_info=True)
            self._busy = False
            if self._opened_whole:
                self._opened_whole = False
                self.tick()

    async def _work(self, items: Sequence[Item]) -> None:
        """Deliver items, but not those whose partition has moved: its new owner delivers them."""
        alerts = [item for item in items if item.alert]
        own = [item for item in alerts if item.alert and item.alert.id in self._ledger]
        try:
            await self._deliver(own)
        finally:
            self._waiting.dec(len(alerts))
        for item in own:
            if item.countdown:
                item.countdown.decrement()
        if len(alerts) < len(items):
            await self._refresh()

    async def _deliver(self, items: Sequence[Item]) -> None:
        now, notices, quiet, unopened = (
            self._clock.now(),
            list[Notice](),
            list[Item](),
            list[Alert](),
        )
        self._view.begin()
        for item in items:
            assert item.alert is not None
            alert = self._view.state_of(item.alert)
            if self._is_due(alert, now):
                notice = self._view.notice(alert, item.since, now)
                self._view.plan(alert, now)
                if notice is None:
                    quiet.append(item)
                else:
                    notices.append(notice)
            elif self._was_never_opened(alert):
                unopened.append(alert)
        self._view.begin()
        buried = self._buried
        if notices:
            await self._send_or_bury(notices)
        if unopened:
            await self._bury(unopened, "its earlier states were not accepted", "refused")
        if quiet and self._buried == buried:
            self._outcomes["grouped"].inc(len(quiet))
            alerts = [self._view.state_of(item.alert) for item in quiet if item.alert]
            await self._ledger.mark(alerts, self._receiver.name, now, accepted=True)
        elif quiet:  # what they were to be part of was not accepted
            await self._deliver(quiet)

    async def _send_or_bury(self, notices: list[Notice]) -> None:
        """Send alerts until each is accepted or buried. Halve a rejected request to find which.

        An error other than `AwayError` rejects.
        """
        try:
            await self._send(notices)
        except Exception as error:
            if len(notices) == 1:
                reason = str(error) or type(error).__name__
                await self._bury([notices[0].source], reason, "refused")
                return
            middle = len(notices) // 2
            await self._send_or_bury(notices[:middle])
            await self._send_or_bury(notices[middle:])

    async def _send(self, notices: list[Notice]) -> None:
        """Send one request, again and again while the receiver is down.

        Alerts that become too old meanwhile are buried. Those whose partition moves to another
        worker are left to it.
        """
        while notices:
            try:
                async with self._sending:
                    now = self._clock.now()
                    await self._receiver.send(self._view.with_wholes(notices, now))
                    self._circuit.succeeded()
                    self._outcomes["delivered"].inc(len(notices))
                    self._view.sent(notices)
                    types = {each.alert.subject.type for each in notices}
                    self._opened_whole = self._opened_whole or bool(types & WHOLES)
                    alerts = [each.source for each in notices]
                    name, now = self._receiver.name, self._clock.now()
                    await self._ledger.mark(alerts, name, now, accepted=True)
                return
            except AwayError as error:
                pause = self._circuit.failed(str(error), error.after)
                self._outcomes["retried"].inc(len(notices))
                notices = await self._bury_old(notices, str(error))
                if notices:
                    await self._clock.sleep(pause)
                notices = [each for each in notices if each.source.id in self._ledger]

    async def _bury_old(self, notices: list[Notice], reason: str) -> list[Notice]:
        """Bury what has waited for too long; returns the others."""
        latest = self._clock.now() - self._give_up
        old = [each.source for each in notices if each.since <= latest]
        if old:
            hours = self._give_up / 3600
            await self._bury(old, f"not accepted for {hours:g} hours: {reason}", "given_up")
        return [each for each in notices if each.since > latest]

    async def _bury(self, alerts: Sequence[Alert], reason: str, outcome: str) -> None:
        """Publish dead letters, and note that no further attempt is made."""
        name, now = self._receiver.name, self._clock.now()
        self._buried += len(alerts)
        for alert in alerts:
            log.error(
                "alert_undelivered receiver=%s outcome=%s id=%s reason=%r",
                name, outcome, alert.id, reason,
            )  # fmt: skip
            self._outcomes[outcome].inc()
            if self._publish is not None:
                await self._publish(DeadLetter(name, reason, now, alert))
        await self._ledger.mark(alerts, name, now, accepted=False)

    async def _refresh(self) -> None:
        """Send the open incidents that the receiver has again, under the severity that it knows."""
        name = self._receiver.name
        for batch in _parts(self._view.open_notices(self._clock.now()), self._receiver.batch):
            try:
                await self._receiver.send(batch)
            except AwayError as error:
                self._circuit.failed(str(error), error.after)
                return
            except Exception as error:
                log.error("refresh_failed receiver=%s reason=%r", name, str(error))
                return
            self._view.sent(batch)
            self._circuit.succeeded()

    def _is_due(self, alert: Alert, now: float) -> bool:
        """Whether the receiver should get a state of an alert now."""
        entry = self._ledger[alert.id]
        if any(rank(mark) == rank(alert) for mark in self._view.marks(alert.id)):
            return False
        last = self._view.latest(entry)
        if last and (rank(last) >= rank(alert) or last.state == alert.state == "resolved"):
            return False
        if self._ledger.is_suppressed(alert, now) or self._waits(alert, now):
            return False
        if last:
            return True
        new = alert.state != "resolved" or self._ledger.has_only_end(alert.id)
        return new and self._route.wants(alert, now)

    def _waits(self, alert: Alert, now: float) -> bool:
        """Whether to hold an alert back, because it may turn out to be part of a campaign.

        Not while the alert book cannot be written: this alert would be lost with the worker.
        """
        seconds = self._route.wait_seconds if self._receiver.groups else 0.0
        if not seconds or alert.state == "resolved" or alert.subject.type == "campaign":
            return False
        active = self._view.severity(alert.subject.id)
        if active and SEVERITIES.index(active) >= SEVERITIES.index(alert.severity):
            return False
        changed_at = self._ledger[alert.id].changed_at
        return self._ledger.is_written(alert.id) and now - changed_at < seconds

    def _as_withdrawn(self, alert: Alert) -> Alert:
        """An open alert as the receiver should have it, or its end if a person withdrew it."""
        withdrawal = self._ledger.withdrawal(alert)
        if withdrawal is None:
            return self._view.state_of(alert)
        summary = f"{alert.subject.id}: {alert.kind} withdrawn by {withdrawal.who} as no attack."
        return msgspec.structs.replace(alert, state="resolved", decision="observe", summary=summary)

    def _was_never_opened(self, alert: Alert) -> bool:
        """Whether an end has to join dead letters, so that they hold the whole alert."""
        marks = self._ledger[alert.id].of(self._receiver.name)
        return (
            alert.state == "resolved"
            and bool(marks)
            and not any(mark.accepted or rank(mark) == rank(alert) for mark in marks)
        )


def _parts(notices: list[Notice], size: int) -> Iterator[list[Notice]]:
    for start in range(0, len(notices), size):
        yield notices[start : start + size]

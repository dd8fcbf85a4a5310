"""Requests to Kafka, paced as asked, and done only when every one is acknowledged.

A message is the line as it is; its key is the request's api key, which puts it on the partition
where any Java client would. A line in which no key can be found is sent without one: to reject it
is the worker's business.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from monitor.requests.decoder import Decoder
from pipelines.kafka.outlet import DeliveryError, Message, Outlet, Sent
from pipelines.traffic.files import LineFile
from pipelines.traffic.pace import Pace

__all__ = ["DeliveryError", "Heads", "Message", "Pace", "Sent", "produce", "send"]

TICK = 0.02  # seconds by which a message may be early, and for which it lies open at most


async def produce(
    path: str | Path,
    bootstrap: str,
    topic: str,
    *,
    mapping: str | dict[str, Any] = "native",
    pace: Pace | None = None,
    on_progress: Callable[[Sent, LineFile], None] | None = None,
) -> Sent:
    """Send each line of a file, or of stdin for `-`, as one message; blank lines are none.

    Raises:
        InputError: the file cannot be read (on); what was read before has been sent.
        DeliveryError: Kafka is away or refuses; the message says how much it has acknowledged.
    """
    heads = Heads(mapping)
    with LineFile(path) as file:
        report = None if on_progress is None else lambda sent: on_progress(sent, file)
        batches = map(heads.messages, file.batches())
        return await send(batches, bootstrap, topic, pace=pace, on_progress=report)


async def send(
    batches: Iterable[Sequence[Message]],
    bootstrap: str,
    topic: str,
    *,
    pace: Pace | None = None,
    on_progress: Callable[[Sent], None] | None = None,
    patience: float = 30.0,
) -> Sent:
    """Send batches of messages as they come, each message when it is due.

    Args:
        batches: iterated in a thread, so that it may block.
        patience: seconds for which a batch is tried before Kafka counts as away.
    """
    pace = pace or Pace()
    report = on_progress or (lambda sent: None)
    async with Outlet(bootstrap, topic, patience) as outlet:

        async def idle() -> None:
            await outlet.flush()
            report(outlet.sent)

        async for batch in _as_they_come(batches, idle):
            for message in batch:
                wait = pace.wait(message.ts)
                if wait > TICK:
                    await idle()
                    await pace.sleep(wait)
                await outlet.put(message)
            report(outlet.sent)
    report(outlet.sent)
    return outlet.sent


async def _as_they_come(
    batches: Iterable[Sequence[Message]], idle: Callable[[], Awaitable[object]]
) -> AsyncIterator[Sequence[Message]]:
    """The batches, each fetched in a thread of its own; `idle` is called while one takes long.

    The threads are daemons: a read from a pipe may never return, and must not keep the process.
    """
    iterator = iter(batches)
    while True:
        coming: asyncio.Future[Sequence[Message] | None] = (
            asyncio.get_running_loop().create_future()
        )
        threading.Thread(target=_fetch, args=(iterator, coming), daemon=True).start()
        while not (await asyncio.wait({coming}, timeout=TICK))[0]:
            await idle()
        batch = await coming
        if batch is None:
            return
        yield batch


def _fetch(
    iterator: Iterator[Sequence[Message]], coming: asyncio.Future[Sequence[Message] | None]
) -> None:
    settle: Callable[[], None]
    try:
        settle = partial(coming.set_result, next(iterator, None))
    except Exception as error:
        settle = partial(coming.set_exception, error)

    def hand_over() -> None:
        if not coming.done():
            settle()

    with suppress(RuntimeError):  # nobody waits any more: the loop is closed
        coming.get_loop().call_soon_threadsafe(hand_over)


class Heads:
    """Finds the api key and time of lines, by the mapping that the worker uses."""

    def __init__(self, mapping: str | dict[str, Any] = "native") -> None:
        self._decoder = Decoder(mapping)
        self._head = msgspec.json.Decoder(_Head) if mapping == "native" else None

    def messages(self, lines: Iterable[bytes]) -> list[Message]:
        """A message for each line that is not blank; without key or time where none is found."""
        messages = [self._short(line) for line in lines if line and not line.isspace()]
        # What the short way does not understand, arrays among it, is decoded as the worker does.
        unknown = [at for at, message in enumerate(messages) if message.key is None]
        decoded = self._decoder.decode([messages[at].value for at in unknown], math.inf)
        for event, source in zip(reversed(decoded.events), reversed(decoded.sources), strict=True):
            at = unknown[source]
            messages[at] = Message(event.api_key.encode(), messages[at].value, event.ts)
        return messages

    def _short(self, line: bytes) -> Message:
        if self._head is None:
            return Message(None, line)
        try:
            head = self._head.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Message(None, line)
        ts = head.ts if isinstance(head.ts, float) else head.ts.timestamp()
        return Message(head.api_key.encode(), line, ts)


class _Head(msgspec.Struct):
    api_key: str
    ts: float | datetime

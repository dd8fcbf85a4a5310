"""Send requests to Kafka at a set rate, and return when Kafka has acknowledged all of them.

A message's value is the line unchanged. Its key is the account behind the request, else the
payment, else the API key, as `xm forward` chooses it, and selects the same partition as a Java
client would. So workers with several partitions see whole accounts, as a replay does. A line
without a readable API key is sent without a key; the worker rejects it and counts the reason.
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
import numpy as np

from monitor.config import KafkaSecurity
from monitor.requests.decoder import Decoder
from pipelines.kafka.outlet import COMPRESSION, DeliveryError, Message, Outlet, Sent
from pipelines.kafka.partitioner import message_key
from pipelines.kafka.security import PLAINTEXT
from pipelines.traffic.files import LineFile
from pipelines.traffic.recording import OutOfOrderError, Recording
from pipelines.traffic.rejections import Rejections
from pipelines.traffic.schedule import SendSchedule

__all__ = ["DeliveryError", "Message", "MessageParser", "SendSchedule", "Sent", "send", "send_file"]

TICK = 0.02  # seconds: a message may be sent this early, and a batch stays open no longer


async def send_file(
    path: str | Path,
    bootstrap: str,
    topic: str,
    *,
    mapping: str | dict[str, Any] = "native",
    schedule: SendSchedule | None = None,
    on_progress: Callable[[Sent, LineFile], None] | None = None,
    on_rejections: Callable[[Rejections], None] | None = None,
    security: KafkaSecurity = PLAINTEXT,
    compression: str = COMPRESSION,
) -> Sent:
    """Send each request of a file as one message, in the order of the file.

    A file whose first requests are not in time order, such as one that is newest first, is sorted.

    Args:
        path: the file or folder; `-` is stdin.
        bootstrap: Kafka brokers, `host:port`, separated by commas.
        mapping: the field mapping, a preset's name or a table.
        schedule: when to send each message; at once by default.
        on_progress: called after each batch.
        on_rejections: called at the end with the elements that the worker will reject.
        security: TLS and login.
        compression: of batches, as `XM_KAFKA_COMPRESSION`.

    Raises:
        InputError: the file cannot be read to its end. The lines read before it were sent.
        DeliveryError: Kafka is down or rejects messages. The text has the acknowledged count.
    """
    parser = MessageParser(mapping, by_account=True)
    read: list[LineFile] = []  # the last file only
    recording = Recording(
        [str(path)], Decoder(mapping), progress=lambda file: read.__setitem__(slice(None), [file])
    )

    def report(sent: Sent) -> None:
        if on_progress is not None and read:
            on_progress(sent, read[-1])

    sent = await send(
        _messages(recording, parser),
        bootstrap,
        topic,
        schedule=schedule,
        on_progress=report,
        security=security,
        compression=compression,
    )
    if on_rejections is not None:
        on_rejections(parser.rejections)
    return sent


def _messages(recording: Recording, parser: MessageParser) -> Iterator[list[Message]]:
    """The messages of a recording, sorted by time if its first batch is not."""
    begun = False
    try:
        for values in recording.batches():
            messages = parser.messages(values, recording.place)
            if not begun:
                recording.check(np.array([each.ts for each in messages if each.ts is not None]))
                recording.settle()
            begun = True
            yield messages
    except OutOfOrderError:
        recording.sort()
        parser.rejections = Rejections()
        for values in recording.batches():
            yield parser.messages(values, recording.place)


async def send(
    batches: Iterable[Sequence[Message]],
    bootstrap: str,
    topic: str,
    *,
    schedule: SendSchedule | None = None,
    on_progress: Callable[[Sent], None] | None = None,
    patience: float = 30.0,
    security: KafkaSecurity = PLAINTEXT,
    compression: str = COMPRESSION,
) -> Sent:
    """Send batches of messages, each message when it is due.

    Args:
        batches: iterated in a thread, so it may block.
        patience: seconds to retry a batch before Kafka counts as down.
        security: TLS and login.
        compression: of batches, as `XM_KAFKA_COMPRESSION`.
    """
    schedule = schedule or SendSchedule()
    report = on_progress or (lambda sent: None)
    async with Outlet(bootstrap, topic, patience, security, compression) as outlet:

        async def flush() -> None:
            await outlet.flush()
            report(outlet.sent)

        async for batch in _iterate_in_thread(batches, flush):
            for message in batch:
                delay = schedule.delay(message.ts)
                if delay > TICK:
                    await flush()
                    await schedule.sleep(delay)
                await outlet.put(message)
            report(outlet.sent)
    report(outlet.sent)
    return outlet.sent


async def _iterate_in_thread(
    batches: Iterable[Sequence[Message]], on_wait: Callable[[], Awaitable[object]]
) -> AsyncIterator[Sequence[Message]]:
    """Yield the batches, each fetched in its own thread; call `on_wait` every TICK meanwhile.

    The threads are daemons: a read from a pipe may never return and must not keep the process
    from exiting.
    """
    iterator = iter(batches)
    while True:
        fetched: asyncio.Future[Sequence[Message] | None] = (
            asyncio.get_running_loop().create_future()
        )
        threading.Thread(target=_fetch, args=(iterator, fetched), daemon=True).start()
        while not (await asyncio.wait({fetched}, timeout=TICK))[0]:
            await on_wait()
        batch = await fetched
        if batch is None:
            return
        yield batch


def _fetch(
    iterator: Iterator[Sequence[Message]], fetched: asyncio.Future[Sequence[Message] | None]
) -> None:
    resolve: Callable[[], None]
    try:
        resolve = partial(fetched.set_result, next(iterator, None))
    except Exception as error:
        resolve = partial(fetched.set_exception, error)

    def resolve_once() -> None:
        if not fetched.done():
            resolve()

    with suppress(RuntimeError):  # the event loop is closed
        fetched.get_loop().call_soon_threadsafe(resolve_once)


class MessageParser:
    """Turns elements into messages with a key and the event time of their request.

    Args:
        mapping: the field mapping that the worker uses, a preset's name or a table.
        by_account: whether the key is that of `message_key`, and not the API key.

    Attributes:
        rejections: the elements that the worker will reject.
    """

    def __init__(
        self, mapping: str | dict[str, Any] = "native", *, by_account: bool = False
    ) -> None:
        self._by_account = by_account
        self.rejections = Rejections()
        self._decoder = Decoder(mapping)
        self._head = msgspec.json.Decoder(_Head) if mapping == "native" else None

    def messages(self, values: Iterable[bytes], place: Callable[[int], str] = str) -> list[Message]:
        """One message per element; key and time are `None` if unreadable.

        Args:
            place: gives the file and line of an element by its index.
        """
        messages = [self._parse_head(value) for value in values]
        # The worker's decoder reads what the fast path cannot, for example arrays.
        unread = [at for at, message in enumerate(messages) if message.key is None]
        decoded = self._decoder.decode([messages[at].value for at in unread], math.inf)
        for event, source in zip(reversed(decoded.events), reversed(decoded.sources), strict=True):
            at = unread[source]
            key = message_key(event) if self._by_account else event.api_key.encode()
            messages[at] = Message(key, messages[at].value, event.ts)
        self.rejections.add(decoded.rejections, lambda index: place(unread[index]))
        return messages

    def _parse_head(self, line: bytes) -> Message:
        if self._head is None:
            return Message(None, line)
        try:
            head = self._head.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Message(None, line)
        ts = head.ts if isinstance(head.ts, float) else head.ts.timestamp()
        key = head.account or head.payment if self._by_account else None
        return Message((key or head.api_key).encode(), line, ts)


class _Head(msgspec.Struct):
    api_key: str
    ts: float | datetime
    account: str | None = None
    payment: str | None = None

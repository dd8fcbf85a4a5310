"""Rekey: copies requests to a topic in which a message's key is the account behind the request.

Kafka keeps the order of messages with one key, and gives them to one worker. Some gateways write
their log without a key: then the requests of one API key reach several workers, and each sees only
a part. With `xm worker --rekey` this agent reads the gateway's topic and sends each request, as
bytes and with its arrival, to `topics.keyed`, which the engine then reads. The key is the account,
else the payment, else the API key. So keys that one account uses in turn are evaluated together.

What has no readable API key is copied with an empty key, and rejected by the engine with its
reason. A batch is acknowledged when Kafka has all copies. After a crash some requests are copied
twice: those with an id count once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

from monitor.errors import RegistryUnavailableError
from monitor.kernels.buffers import Messages
from monitor.requests.decoder import Decoder
from pipelines.forward.keying import UNREADABLE, element_keys

log = logging.getLogger(__name__)

_BATCH, _BATCH_BYTES = 1_000, 4 << 20  # messages decoded in one call, and their bytes
_RETRY_SECONDS = 1.0


class Rekey:
    """The agent's work.

    Args:
        app: the Faust app.
        decoder: of the requests.
        topic: where the copies go.
    """

    def __init__(self, app: Any, decoder: Decoder, topic: str) -> None:
        self._app = app
        self._decoder = decoder
        self._topic = topic

    async def consume(self, stream: Any) -> None:
        """Copy the batches of a Faust stream until the app stops."""
        async for event in stream.noack().events():
            for part in event.value.parts(_BATCH, _BATCH_BYTES):
                copies = await self._decoded(part.values)
                await self._send(copies, part.timestamps.tolist())
            event.value.clear()
            event.ack()

    async def _decoded(self, messages: Messages) -> list[tuple[int, bytes, bytes]]:
        """Copies of some messages, as soon as their schemas can be fetched."""
        failed = False
        while True:
            try:
                copies = await asyncio.to_thread(self.copies, messages)
            except RegistryUnavailableError as error:
                if not failed:
                    log.error("schema_registry_failed name=rekey reason=%r", str(error))
                failed = True
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                if failed:
                    log.info("schema_registry_back name=rekey")
                return copies

    def copies(self, messages: Messages) -> list[tuple[int, bytes, bytes]]:
        """Each request of some messages: index of its message, its key, its bytes."""
        keys = element_keys(self._decoder.decode(messages, math.inf))
        return [
            (source, keys.get((source, element), UNREADABLE), value)
            for source, message in enumerate(messages)
            for element, value in enumerate(self._decoder.split(message or b""))
        ]

    async def _send(self, copies: list[tuple[int, bytes, bytes]], arrivals: Any) -> None:
        """Send copies; retry until Kafka has all of them."""
        while copies:
            producer = await self._app.maybe_start_producer()
            sent = []
            for source, key, value in copies:
                arrival = arrivals[source] / 1000 if arrivals[source] >= 0 else None
                sent.append(await producer.send(self._topic, key, value, None, arrival, None))
            await asyncio.wait(sent)
            refused = [copy for copy, each in zip(copies, sent, strict=True) if each.exception()]
            if refused:
                reason = next(str(error) for each in sent if (error := each.exception()))
                log.error("copies_not_sent count=%d reason=%r", len(refused), reason)
                await asyncio.sleep(_RETRY_SECONDS)
            copies = refused

"""An aiokafka producer that is idempotent, compresses, and gives up after a while.

With idempotence a broker stores a batch once, also if its answer is lost and the batch is sent
again. aiokafka's own `enable_idempotence` lacks two things that are added here:

1. A batch that has waited for `request_timeout_ms` fails, as without idempotence. aiokafka would
   retry it without end, and a command would hang while Kafka is down.
2. The sequence numbers of a failed batch are missing, so a broker would refuse all that follow on
   its partition. The producer asks for a new id and counts from zero, as Java's does. Batches that
   are being retried keep the old id.

A broker that grants no producer id is used without idempotence: the embedded one, or an old one
whose ACL lacks IdempotentWrite. A lost answer may then store a batch twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import aiokafka
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaTimeoutError,
    UnknownError,
    UnsupportedVersionError,
    for_code,
)
from aiokafka.producer import sender
from aiokafka.producer.transaction_manager import PidAndEpoch
from aiokafka.util import create_future

log = logging.getLogger(__name__)

_NO_ID = PidAndEpoch(-1, -1)
_GRANTS_NONE = (ClusterAuthorizationFailedError, UnknownError, UnsupportedVersionError)


class Producer(aiokafka.AIOKafkaProducer):  # type: ignore[misc]
    """The arguments are those of aiokafka's producer, without `enable_idempotence`.

    Args:
        acks: all in-sync replicas; another number is not idempotent.
        compression_type: `none` or one of aiokafka's.
    """

    def __init__(
        self, *, acks: Any = "all", compression_type: str | None = None, **options: Any
    ) -> None:
        compression = None if compression_type == "none" else compression_type
        super().__init__(
            acks=acks, enable_idempotence=True, compression_type=compression, **options
        )
        self._sender: _Sender = _Sender.like(self._sender)
        self._sender.without_id = self._go_without_id

    def _go_without_id(self) -> None:
        self._txn_manager = self._message_accumulator._txn_manager = None


class _Sender(sender.Sender):  # type: ignore[misc]
    without_id: Callable[[], None]  # called if the broker grants no id
    _txn_manager: Any

    @classmethod
    def like(cls, other: sender.Sender) -> _Sender:
        return cls(
            other.client,
            acks=other._acks,
            txn_manager=other._txn_manager,
            message_accumulator=other._message_accumulator,
            retry_backoff_ms=int(other._retry_backoff * 1000),
            request_timeout_ms=other._request_timeout_ms,
        )

    async def _maybe_wait_for_pid(self) -> None:
        while self._txn_manager is not None and not self._txn_manager.has_pid():
            try:
                granted = await _IdRequest(self).do(self.client.get_random_node())
            except _GRANTS_NONE as error:
                log.info("idempotence_off reason=%r", f"Kafka grants no producer id: {error}")
                self._txn_manager = None
                self.without_id()
                return
            if not granted:
                self._fail_expired()
                await self.client.force_metadata_update()

    async def _send_produce_req(self, node_id: int, batches: dict[Any, Any]) -> None:
        await _Request(self, batches).do(node_id)
        self._in_flight.remove(node_id)
        for tp in batches:
            self._muted_partitions.remove(tp)
        if any(map(_has_failed, batches.values())):
            self._renew_id()

    def _renew_id(self) -> None:
        """Drop the id. The sender asks for another one before it takes the next batch."""
        manager = self._txn_manager
        if manager is not None:
            manager._pid_and_epoch = _NO_ID
            manager._pid_waiter = create_future()
            manager._sequence_numbers.clear()

    def _fail_expired(self) -> None:
        waiting = self._message_accumulator._batches
        for tp in list(waiting):
            while waiting[tp] and waiting[tp][0].expired():
                waiting[tp].popleft().failure(KafkaTimeoutError())
            if not waiting[tp]:
                del waiting[tp]


class _IdRequest(sender.InitPIDHandler):  # type: ignore[misc]
    def handle_response(self, response: Any) -> Any:
        error = for_code(response.error_code)
        if error in _GRANTS_NONE:
            raise error()
        return super().handle_response(response)


class _Request(sender.SendProduceReqHandler):  # type: ignore[misc]
    def _can_retry(self, error: Any, batch: Any) -> bool:
        return bool(error.retriable) and not batch.expired()


def _has_failed(batch: Any) -> bool:
    future = batch.future
    return bool(future.done() and not future.cancelled() and future.exception() is not None)

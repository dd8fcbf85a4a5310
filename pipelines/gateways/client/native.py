"""Request events in the monitor's own format, from what a gateway in Python knows of a request.

API keys are named by their SHA-256, as LiteLLM names them, so that no event holds a key. Decisions
are looked up by the SHA-256 of a key, too, whatever the mapping of the log is.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from typing import Any

import msgspec

from monitor.requests.mappings import FieldMapping
from monitor.requests.reasons import ElementError
from pipelines.kafka.outlet import Message

_MOST = 900_000  # bytes of a message; Kafka accepts 1 MiB, unless configured otherwise
_CUTS = ((1 << 16, 2_000), (1 << 13, 500), (1 << 10, 200), (1 << 8, 100))
_CLOCKS = 1.0  # seconds that the clocks of two processes may differ


def hashed_key(key: str) -> str:
    """The name of an API key in events: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def message(record: dict[str, Any], mapping: FieldMapping) -> Message:
    """The event of one log record, keyed by its account, payment or API key.

    Texts are shortened until the event fits into a Kafka message.

    Args:
        record: as a gateway logs it.
        mapping: reads it.

    Raises:
        ElementError: if it is not one request with a time and an API key.
    """
    records = mapping.records(record, Counter())
    if len(records) != 1 or isinstance(records[0], ElementError):
        raise ElementError("missing_field", "the record is not one request")
    fields = mapping.read(records[0], time.time() + _CLOCKS, Counter())
    event = {name: value for name, value in fields.items() if value is not None}
    key = event.get("account") or event.get("payment") or event["api_key"]
    return Message(key.encode("utf-8", "surrogatepass"), _encoded(event))


def _encoded(event: dict[str, Any]) -> bytes:
    """The event as JSON of at most `_MOST` bytes."""
    encoded = msgspec.json.encode(event, enc_hook=str)
    for characters, items in _CUTS:
        if len(encoded) <= _MOST:
            return encoded
        encoded = msgspec.json.encode(_cut(event, characters, items), enc_hook=str)
    if len(encoded) <= _MOST:
        return encoded
    texts = ("messages", "prompt", "system", "tools")
    return msgspec.json.encode({k: v for k, v in event.items() if k not in texts}, enc_hook=str)


def _cut(value: Any, characters: int, items: int) -> Any:
    """A value without what is too much: of texts the beginning is kept, of lists the end."""
    if isinstance(value, str):
        return value[:characters]
    if isinstance(value, list):
        return [_cut(each, characters, items) for each in value[-items:]]
    if isinstance(value, dict):
        return {name: _cut(each, characters, items) for name, each in value.items()}
    return value

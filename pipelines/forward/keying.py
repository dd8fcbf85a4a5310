"""Messages with their Kafka keys, from requests as a gateway logs them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from monitor.requests.decoder import Decoded, Decoder
from monitor.requests.reasons import Rejection
from pipelines.kafka.outlet import Message
from pipelines.kafka.partitioner import message_key

_LARGE = 256 << 10  # bytes: several requests in one message could be more than Kafka accepts
UNREADABLE = b""  # key of what has no readable API key; the worker rejects it with its reason


class Keyed(NamedTuple):
    """Messages with their keys.

    Attributes:
        messages: in order.
        requests: number of requests in them.
        rejections: the elements that the worker will reject; they are among the messages.
        ignored: number of records that are no requests, by reason.
    """

    messages: list[Message]
    requests: int
    rejections: list[Rejection]
    ignored: Counter[str]


def element_keys(decoded: Decoded) -> dict[tuple[int, int], bytes]:
    """The key of each readable element, by the index of its message and its own."""
    places = zip(decoded.sources, decoded.elements, strict=True)
    return {at: message_key(event) for at, event in zip(places, decoded.events, strict=True)}


def keyed(decoder: Decoder, values: Sequence[bytes]) -> Keyed:
    """Messages with keys, from lines or bodies.

    A value whose requests have one key stays as it is, byte for byte. Otherwise, or if it is large,
    each of its elements becomes a message. A value that holds nothing but records that are no
    requests, such as the spans of a database, becomes no message.

    Raises:
        RegistryUnavailableError: if a schema cannot be fetched now; try again later.
    """
    decoded = decoder.decode(values, math.inf)
    keys = element_keys(decoded)
    of_value: defaultdict[int, set[bytes]] = defaultdict(set)
    for (source, _), key in keys.items():
        of_value[source].add(key)
    unreadable = {rejection.source for rejection in decoded.rejections}
    messages: list[Message] = []
    for source, value in enumerate(values):
        found = of_value.get(source, ())
        if len(found) > 1 or (found and len(value) > _LARGE):
            parts = decoder.split(value)
            messages += [
                Message(keys.get((source, element), UNREADABLE), part if len(parts) > 1 else value)
                for element, part in enumerate(parts)
            ]
        elif found:
            messages.append(Message(next(iter(found)), value))
        elif source in unreadable:
            messages.append(Message(UNREADABLE, value))
    return Keyed(messages, len(decoded.events), decoded.rejections, decoded.ignored)

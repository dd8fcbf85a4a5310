"""Rejected requests: what they are, and sending those again that can be read now.

The topic of rejected requests has the reason and the place of each. The request itself is read from
its source topic, as long as Kafka has it. A sample shows names and types, never a value.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from monitor.alerting.changes import change_by
from monitor.config import Settings
from monitor.errors import InputError
from monitor.requests.decoder import Decoder, RequestEvent
from monitor.requests.turns import ASSISTANT, SYSTEM, TOOL
from monitor.store.operate.processes import ProcessStore
from monitor.store.operate.replayed import ReplayedStore
from pipelines.kafka.outlet import Message
from pipelines.kafka.partitioner import message_key
from pipelines.kafka.read import read_messages, read_records
from pipelines.traffic.producer import send
from pipelines.web.heartbeat import notable

_MOST = 100_000  # that are sent again at once
_BATCH = 500  # messages that are read and sent together
_DERIVED = ("turns", "parts", "joins", "prompt", "system", "messages")
_ROLES = {SYSTEM: "system", ASSISTANT: "assistant", TOOL: "tool"}
_LONGEST_NAME, _MOST_NAMES, _DEEPEST = 40, 40, 3  # of a sample


class Rejected(msgspec.Struct, frozen=True):
    """A rejected request.

    Attributes:
        source: where its message is, `<topic>:<partition>:<offset>`.
        element: index of the request in its message.
        size: bytes.
        at: when it was rejected, epoch seconds.
        place: partition of the topic of rejected requests, and offset.
        value: the request, empty unless XM_REJECTED is full; perhaps its beginning only.
    """

    reason: str
    detail: str
    source: str
    element: int
    size: int
    at: float
    place: tuple[int, int]
    value: bytes = b""


class RejectedGroup(msgspec.Struct, frozen=True):
    """Requests that were rejected for the same reason and field.

    Attributes:
        first, last: when, epoch seconds.
        source: place of the last one.
        sample: its names and types; `None` if Kafka does not have it any more.
    """

    reason: str
    detail: str
    count: int
    first: float
    last: float
    source: str
    sample: Any = None


class Replay(msgspec.Struct, frozen=True):
    """What was sent again.

    Attributes:
        sent: requests.
        still_rejected: by reason, those that this mapping cannot read either.
        gone: those that Kafka does not have any more.
        before: those that were sent before.
        audit: id of the entry in the audit; empty if nothing was sent.
    """

    sent: int
    still_rejected: dict[str, int]
    gone: int
    before: int
    audit: str = ""


def read_rejected(settings: Settings, since: float | None = None) -> Iterator[Rejected]:
    """The rejected requests that Kafka has.

    Args:
        since: only those rejected from then on, epoch seconds.

    Raises:
        ConfigError: if Kafka is down or refuses.
    """
    for record in read_records(settings, settings.topics.rejected, since):
        found = {name: value.decode("utf-8", "replace") for name, value in record.headers}
        yield Rejected(
            reason=found.get("reason", "unknown"),
            detail=found.get("detail", ""),
            source=":".join(found.get(part, "") for part in ("topic", "partition", "offset")),
            element=int(found.get("element", 0)),
            size=int(found.get("bytes", 0)),
            at=record.timestamp / 1000.0,
            place=(record.partition, record.offset),
            value=record.value or b"",
        )


def list_rejected(settings: Settings, since: float | None = None) -> list[RejectedGroup]:
    """The rejected requests by reason and detail, the most frequent first."""
    groups: dict[tuple[str, str], list[Rejected]] = {}
    count = Counter[tuple[str, str]]()
    for each in read_rejected(settings, since):
        name = each.reason, each.detail
        count[name] += 1
        first, last = groups.get(name, [each, each])
        groups[name] = [min(first, each, key=_at), max(last, each, key=_at)]
    return [
        RejectedGroup(
            *name,
            number,
            groups[name][0].at,
            groups[name][1].at,
            groups[name][1].source,
            _sample(settings, groups[name][1]),
        )
        for name, number in count.most_common()
    ]


def _at(rejected: Rejected) -> float:
    return rejected.at


def _sample(settings: Settings, rejected: Rejected) -> Any:
    value = rejected.value or next((each for _, each in _sources(settings, [rejected])), b"")
    try:
        return shape(json.loads(value))
    except ValueError:
        return None


def shape(value: Any, depth: int = 0) -> Any:
    """Names and types of a JSON value, without any value.

    >>> shape({"ts": 1.0, "messages": [{"role": "user"}]})
    {'ts': 'number', 'messages': [{'role': 'string'}]}
    """
    match value:
        case dict() if depth < _DEEPEST:
            named = list(value.items())[:_MOST_NAMES]
            return {_printable(name): shape(each, depth + 1) for name, each in named}
        case list():
            return [shape(value[0], depth + 1)] if value and depth < _DEEPEST else []
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case None:
            return "null"
    return "object"


def _printable(name: str) -> str:
    """A name that a client may have chosen, as a terminal can show it."""
    return "".join(each if each.isprintable() else "?" for each in name[:_LONGEST_NAME])


def replay_rejected(
    settings: Settings,
    who: str,
    why: str,
    *,
    mapping: str = "",
    reason: str = "",
    since: float | None = None,
    again: bool = False,
    dry: bool = False,
) -> Replay:
    """Send rejected requests again, those that can be read now.

    Args:
        mapping: with which to read them; empty: the one of the settings. With another one, the
            workers must read the native format, in which they are sent.
        reason: only those that were rejected for it.
        since: only those rejected from then on, epoch seconds.
        again: also those that were sent before.
        dry: send nothing.

    Raises:
        InputError: if the workers would not read what is sent.
        ConfigError: if Kafka is down or refuses.
    """
    change = change_by(who, "replay", settings.topics.rejected, why)
    _check_workers(settings, converts=bool(mapping))
    decoder = Decoder(mapping) if mapping else Decoder.of(settings)
    store = ReplayedStore(settings.redis_url)
    sent_before = {} if again else store.read()
    chosen = [
        each
        for each in read_rejected(settings, since)
        if reason in ("", each.reason) and not each.source.startswith(settings.topics.fingerprints)
    ]
    fresh = [each for each in chosen if each.place[1] >= sent_before.get(_turn(each), 0)]
    if len(fresh) > _MOST:
        raise InputError(
            f"{len(fresh):,} requests at once are too many: choose fewer with --since."
        )
    found, rejected, number = list[Message](), Counter[str](), 0
    for _, value in _sources(settings, fresh):
        number += 1
        decoded = decoder.decode([value], time.time())
        rejected.update(one.reason for one in decoded.rejections)
        for event in decoded.events:
            data = _native(event) if mapping else value
            found.append(Message(message_key(event), data, event.ts))
    gone = len(fresh) - number
    result = Replay(len(found), dict(rejected), gone, len(chosen) - len(fresh))
    if dry or not found:
        return result
    batches = (found[i : i + _BATCH] for i in range(0, len(found), _BATCH))
    asyncio.run(
        send(
            batches,
            settings.kafka,
            settings.topics.requests,
            security=settings.kafka_security,
            compression=settings.kafka_compression,
        )
    )
    reached: dict[str, int] = defaultdict(int)
    for each in fresh:
        reached[_turn(each)] = max(reached[_turn(each)], each.place[1] + 1)
    store.write(reached, msgspec.structs.replace(change, after={"sent": len(found)}))
    return msgspec.structs.replace(result, audit=change.id)


def _turn(rejected: Rejected) -> str:
    """What is sent in the order of offsets: the requests of a partition with one reason."""
    return f"{rejected.place[0]} {rejected.reason}"


def _check_workers(settings: Settings, *, converts: bool) -> None:
    """Check that the running workers read what is about to be sent."""
    own = "native" if converts else notable(settings)["mapping"]
    running = {
        each.settings.get("mapping", "")
        for each in ProcessStore(settings.redis_url).read()
        if "watch" in each.roles and each.is_alive(time.time())
    }
    if running - {own}:
        raise InputError(
            f"The workers read requests with the mapping {', '.join(sorted(running))}, not with "
            f"{own}: they would reject these again. Run this with their settings."
        )


def _sources(settings: Settings, rejected: Iterable[Rejected]) -> Iterator[tuple[Rejected, bytes]]:
    """The requests themselves, as far as Kafka still has them."""
    decoder = Decoder.of(settings)
    by_partition = defaultdict[str, dict[int, list[Rejected]]](dict)
    for each in rejected:
        partition, _, offset = each.source.rpartition(":")
        by_partition[partition].setdefault(int(offset), []).append(each)
    for partition, by_offset in by_partition.items():
        for offsets in _parts(sorted(by_offset)):
            places = [f"{partition}:{offset}" for offset in offsets]
            for place, value in read_messages(settings, places):
                elements = decoder.split(value)
                for each in by_offset[int(place.rpartition(":")[2])]:
                    if each.element < len(elements):
                        yield each, elements[each.element]


def _parts(offsets: Sequence[int]) -> Iterator[Sequence[int]]:
    """Offsets in groups that are near each other: one read passes over what is in between."""
    start = 0
    for i in range(1, len(offsets) + 1):
        if i == len(offsets) or offsets[i] - offsets[i - 1] > _BATCH:
            yield offsets[start:i]
            start = i


def _native(event: RequestEvent) -> bytes:
    """A request in the native format."""
    fields = {
        name: value
        for name in RequestEvent.__struct_fields__
        if name not in _DERIVED and (value := getattr(event, name)) is not None
    }
    if event.parts:
        fields["messages"] = [
            {"role": _ROLES.get(part.kind, "user"), "content": part.text} for part in event.parts
        ]
    return msgspec.json.encode(fields)

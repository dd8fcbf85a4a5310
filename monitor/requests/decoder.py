"""Events: what a gateway says of one request, read from Kafka messages a batch at a time.

A message is one JSON object, an array of them, or lines of them. Each element becomes an event or
a rejection; neither bad bytes nor a bad element costs its neighbours anything. Plain input is
decoded straight into events; whatever that refuses, and every mapped format, is read field by
field, which forgives more: numbers in strings, parts instead of text, what Python's JSON writer
lets through (NaN, halves of surrogate pairs), invalid UTF-8. A sender must not be able to hide a
request by writing it oddly.

>>> decoded = Decoder().decode([b'{"ts": 1772040000, "api_key": "k", "prompt": "Hi"}'], 1772040001)
>>> decoded.events[0].prompt
'Hi'
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast, get_args

import msgspec

from monitor.requests.mappings import Count, ElementError, Reason, Table
from monitor.requests.presets import Explode
from monitor.requests.turns import read_turns

AHEAD = 60.0  # seconds that a timestamp may lie before the wall clock
EARLIEST = 946_684_800.0  # 2000-01-01: no log is older; a clock counting from its start is
LATEST = 1e11  # the year 5138: what lies beyond is not in seconds
LARGEST = 16 * 2**20  # bytes of a message
MOST = 100_000  # elements of a message: a bad one must not hold up the stream
KEPT = 64 * 2**10  # bytes kept of a message that is too large

REASONS: tuple[Reason, ...] = get_args(Reason)

if TYPE_CHECKING:
    Instant = float
else:  # on the wire also RFC 3339; a number of seconds in every event that leaves this module
    Instant = float | Annotated[datetime, msgspec.Meta(tz=True)]


class RequestEvent(msgspec.Struct, gc=False, omit_defaults=True):
    """One request. `ts` is in seconds since the epoch; identifiers are as they were sent.

    `prompt` is the last user turn and `turns` the number of them, 0 where nobody says; both, and
    `system`, come from `messages` where those were sent. `messages` itself is dropped once read.
    """

    ts: Instant
    api_key: Annotated[str, msgspec.Meta(min_length=1)]
    id: str | None = None
    account: str | None = None
    end_user: str | None = None
    payment: str | None = None
    ip: str | None = None
    tls_fingerprint: str | None = None
    user_agent: str | None = None
    country: str | None = None
    model: str | None = None
    asn: Count | None = None
    status: Count | None = None
    latency_ms: Count | None = None
    max_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt: str | None = None
    system: str | None = None
    temperature: float | None = None
    n: Count | None = None
    logprobs: bool | None = None
    tools: Count | None = None
    turns: Count = 0
    messages: Any = None


class Rejection(msgspec.Struct, frozen=True):
    """An element that is no event. The detail never quotes it; `value` is the element itself.

    `source` is the index of its message in the batch, `element` its place in the message. Of a
    message that is too large only the beginning is kept.
    """

    reason: Reason
    detail: str
    source: int
    value: bytes
    element: int = 0


class Decoded(NamedTuple):
    """A batch: its events, the index of each event's message, and what could not be used."""

    events: list[RequestEvent]
    sources: list[int]
    rejections: list[Rejection]


_UNREADABLE = (ValueError, RecursionError)  # msgspec's errors are ValueErrors
_TOGETHER = 256  # messages that are tried as one document first
_UNREAD = object()  # stands for a document that has not been parsed

_event_or_events: Callable[[bytes], RequestEvent | list[RequestEvent]]
_event_or_events = msgspec.json.Decoder(RequestEvent | list[RequestEvent]).decode
_one_event = msgspec.json.Decoder(RequestEvent).decode
_event_lines = msgspec.json.Decoder(RequestEvent).decode_lines
_raw_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_anything = msgspec.json.Decoder().decode


class Decoder:
    """Reads messages in the format that a mapping describes: a preset's name or a table."""

    def __init__(self, mapping: str | Mapping[str, Any] = "native") -> None:
        self._table = Table(mapping)

    @property
    def native(self) -> bool:
        """Whether events are as this module says, and not mapped."""
        return self._table.native

    def decode(self, values: Sequence[bytes | None], now: float) -> Decoded:
        """Decodes a batch of message values. Raises nothing, whatever the bytes.

        Args:
            values: the messages, `None` for one without a value
            now: the wall clock, from which timestamps in the future are told
        """
        decoded = events, sources, _ = Decoded([], [], [])
        latest = min(now + AHEAD, LATEST)
        native = self._table.native
        for start in range(0, len(values), _TOGETHER):
            part = values[start : start + _TOGETHER]
            if native and (found := _one_each(part, latest)):
                events += found
                sources += range(start, start + len(part))
                continue
            for source, value in enumerate(part, start):
                if not (native and value and self._take(value, source, latest, decoded)):
                    self._read(value or b"", source, latest, decoded)
        return decoded

    def _take(self, value: bytes, source: int, latest: float, decoded: Decoded) -> bool:
        """Takes a message in the native format to the letter; false where it is anything else."""
        found = _plain(value) if len(value) <= LARGEST else None
        if found is None:
            return False
        events = found if isinstance(found, list) else [found]
        if not 0 < len(events) <= MOST or not all(_settle(event, latest) for event in events):
            return False
        decoded.events.extend(events)
        decoded.sources.extend([source] * len(events))
        return True

    def _read(self, value: bytes, source: int, latest: float, decoded: Decoded) -> None:
        """Reads one message element by element."""
        elements = _split(value)
        if self._table.explode is not None:
            elements = [part for one in elements for part in _explode(one, self._table.explode)]
        for position, element in enumerate(elements):
            try:
                event = self._event(element, latest)
            except ElementError as why:
                decoded.rejections.append(
                    Rejection(why.reason, why.detail, source, element.as_bytes(), position)
                )
            else:
                decoded.events.append(event)
                decoded.sources.append(source)

    def _event(self, element: _Element, latest: float) -> RequestEvent:
        if self._table.native and element.document is _UNREAD:
            event = _plain(element.raw)
            if isinstance(event, RequestEvent) and _settle(event, latest):
                return event
        document = element.parsed()
        if type(document) is ElementError:
            raise ElementError(document.reason, document.detail)
        if type(document) is not dict:
            raise ElementError("not_an_object", "it is JSON, but not an object")
        event = RequestEvent(**self._table.read(document))
        if not _settle(event, latest):
            raise _fault_of_time(event.ts, latest)
        return event


class _Element(NamedTuple):
    """One element: its bytes, where it has its own, and its document, or why there is none."""

    raw: bytes
    document: Any = _UNREAD

    def parsed(self) -> Any:
        return _document(self.raw) if self.document is _UNREAD else self.document

    def as_bytes(self) -> bytes:
        if self.raw or type(self.document) is ElementError:
            return self.raw
        try:
            return msgspec.json.encode(self.document)
        except _UNREADABLE:
            return b""


def _one_each(values: Sequence[bytes | None], latest: float) -> list[RequestEvent] | None:
    """The events of messages of which each is one and in the native format, read in one go."""
    if None in values:
        return None
    lines = b"\n".join(cast("Sequence[bytes]", values))
    if len(lines) > LARGEST or lines.count(b"\n") != len(values) - 1:
        return None
    try:
        found = _event_lines(lines)
    except _UNREADABLE:
        return None
    if len(found) == len(values) and all(_settle(event, latest) for event in found):
        return found
    return None


def _plain(value: bytes) -> RequestEvent | list[RequestEvent] | None:
    """The events of a message that is in the native format to the letter."""
    try:
        return _event_or_events(value)
    except _UNREADABLE:
        if b"\n" not in value:
            return None
    try:
        return [_one_event(line) for line in value.splitlines() if line.strip()]
    except _UNREADABLE:
        return None


def _settle(event: RequestEvent, latest: float) -> bool:
    """Puts the last touch to an event; false where its time cannot be."""
    moment: Any = event.ts
    if type(moment) is not float:
        event.ts = moment.timestamp()
    if event.messages is not None:
        turns = read_turns(event.messages)
        event.messages = None
        event.prompt = event.prompt or turns.prompt
        event.system = event.system or turns.system
        event.turns = turns.number
    # fmt: off
    if "" in (
        event.id, event.account, event.end_user, event.payment, event.ip, event.tls_fingerprint,
        event.user_agent, event.country, event.model, event.prompt, event.system,
    ):  # one look for all, because this runs for every event
        # fmt: on
        for name in event.__struct_fields__:
            if getattr(event, name) == "":
                setattr(event, name, None)
    return EARLIEST <= event.ts <= latest


def _fault_of_time(ts: float, latest: float) -> ElementError:
    if ts > LATEST:
        return ElementError("bad_time", "ts is not in seconds: map it with its unit (ms, us or ns)")
    if ts > latest:
        return ElementError("future", f"ts is {ts - latest + AHEAD:.0f} s ahead of the clock")
    return ElementError("bad_time", "ts is not a time after 1999")


def _split(value: bytes) -> list[_Element]:
    """The elements of a message, at least one."""
    if len(value) > LARGEST:
        return [_too_large(value, f"{len(value)} bytes, more than {LARGEST}")]
    value = value.removeprefix(BOM_UTF8)
    if not value.strip():
        return [_Element(value, ElementError("empty", "the message has no value"))]
    elements = _array(value) if value.lstrip()[:1] == b"[" else None
    elements = _document_or_lines(value) if elements is None else elements
    return elements or [_Element(value, ElementError("empty", "the array has no elements"))]


def _array(value: bytes) -> list[_Element] | None:
    try:
        elements = _raw_elements(value)
    except _UNREADABLE:
        return None
    if len(elements) > MOST:
        return [_too_large(value, f"{len(elements)} elements, more than {MOST}")]
    return [_Element(bytes(raw)) for raw in elements]


def _document_or_lines(value: bytes) -> list[_Element]:
    document = _document(value)
    if type(document) is list and len(document) <= MOST:  # one with a NaN or the like in it
        return [_Element(b"", one) for one in document]
    if type(document) is ElementError and b"\n" in value:
        if value.count(b"\n") > MOST:
            return [_too_large(value, f"more than {MOST} lines")]
        lines = [_Element(line) for line in value.splitlines() if line.strip()]
        if any(type(line.parsed()) is dict for line in lines):
            return lines
    return [_Element(value, document)]


def _too_large(value: bytes, what: str) -> _Element:
    return _Element(value[:KEPT], ElementError("too_large", f"the message has {what}"))


def _explode(element: _Element, explode: Explode) -> list[_Element]:
    """The requests that one element stands for, where a format bundles them."""
    document = element.parsed()
    if type(document) is not dict:
        return [_Element(element.raw, document)]
    try:
        calls = explode(document)
    except RecursionError:
        return [_Element(element.raw, _too_deep())]
    if not calls:
        none = ElementError("missing_field", "the export holds no model call (no gen_ai attribute)")
        return [_Element(element.raw, none)]
    return [_Element(element.raw if len(calls) == 1 else b"", call) for call in calls]


def _document(raw: bytes) -> Any:
    """The JSON document in the bytes, read with some tolerance, or why there is none."""
    try:
        return _anything(raw)
    except RecursionError:
        return _too_deep()
    except ValueError:
        pass
    try:
        lenient = json.loads(raw.decode("utf-8", "replace"))
        # Halves of surrogate pairs cannot be encoded again, by us or whoever is next: replace them.
        return json.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        return ElementError("not_json", f"malformed JSON at character {error.pos}")
    except ValueError:
        return ElementError("not_json", "a number of thousands of digits")
    except RecursionError:
        return _too_deep()


def _too_deep() -> ElementError:
    return ElementError("not_json", "nested too deeply")

"""Request events: one per LLM request, decoded from Kafka messages in batches.

A message is one JSON object, an array of objects, or several objects one after the other, plain or
wrapped (`framing/unframe.py`). Each element becomes an event or a rejection, independently of its
neighbours. An envelope around records (`framing/envelopes.py`) is opened. Input in the native
format is decoded straight into events. Everything else, and every mapped format, is read field by
field. That path is lenient: only `ts` and `api_key` are required, and a field that cannot be read
is left out and counted. Nothing that a client can write may hide its request.

>>> decoded = Decoder().decode([b'{"ts": 1772040000, "api_key": "k", "prompt": "Hi"}'], 1772040001)
>>> decoded.events[0].prompt
'Hi'
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import msgspec

from monitor.config import Settings
from monitor.requests.framing import envelopes
from monitor.requests.framing.elements import (
    KEPT_BYTES,
    MAX_BYTES,
    MAX_ELEMENTS,
    UNPARSED,
    Element,
    split,
    split_text,
)
from monitor.requests.framing.schemas import Schemas
from monitor.requests.framing.unframe import Unframer
from monitor.requests.mappings import FieldMapping
from monitor.requests.parsing.fields import NO_VALUE, Count
from monitor.requests.parsing.json_text import parse_shallow, parse_text
from monitor.requests.parsing.times import EARLIEST, LATEST
from monitor.requests.parsing.times import MAX_AHEAD as MAX_AHEAD
from monitor.requests.reasons import ElementError, Rejection
from monitor.requests.turns import SYSTEM, USER, Part, read_turns

if TYPE_CHECKING:
    Instant = float
else:  # RFC 3339 is accepted on the wire; the decoder converts it to epoch seconds
    Instant = float | Annotated[datetime, msgspec.Meta(tz=True)]


class RequestEvent(msgspec.Struct, gc=False, omit_defaults=True):
    """One request. `ts` is in epoch seconds; identifiers are as the gateway sent them.

    `prompt` is the last user turn and `turns` the number of user turns, 0 if unknown. Both, and
    `system`, are taken from `messages` where present; `messages` itself is then dropped. `parts`
    are all texts of the request, from `messages`, `system` and `prompt`. `joins` is not
    `None` if another record of the same call may have the same id, or this second one. Both are
    derived; a sender cannot set them.
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
    cached_tokens: Count | None = None
    prompt: str | None = None
    system: str | None = None
    temperature: float | None = None
    n: Count | None = None
    logprobs: bool | None = None
    tools: Count | None = None
    turns: Count = 0
    messages: list[Any] | dict[str, Any] | str | None = None
    parts: list[Part] = []
    joins: str | None = None


class Decoded(NamedTuple):
    """A decoded batch.

    Attributes:
        events: in stream order.
        sources: index of each event's message in the batch.
        elements: index of each event's element in its message.
        rejections: the elements that cannot be used.
        unreadable: number of events by field that they had, but that could not be read.
        ignored: number of records that are no request of their own, by reason.
    """

    events: list[RequestEvent]
    sources: list[int]
    elements: list[int]
    rejections: list[Rejection]
    unreadable: Counter[str]
    ignored: Counter[str]

    @classmethod
    def empty(cls) -> Decoded:
        """That of an empty batch."""
        return cls([], [], [], [], Counter(), Counter())


_Outcome = tuple[Element, RequestEvent | ElementError]
_OF_ENVELOPES = {"ts", "id"}  # fields of a request that an envelope may seem to have

_PARSE_ERRORS = (ValueError, RecursionError)  # msgspec's errors are ValueErrors
_BATCH = 256  # messages that are first tried as one document

_decode_event_or_events: Callable[[bytes], RequestEvent | list[RequestEvent]]
_decode_event_or_events = msgspec.json.Decoder(RequestEvent | list[RequestEvent]).decode
_decode_event = msgspec.json.Decoder(RequestEvent).decode
_decode_lines = msgspec.json.Decoder(RequestEvent).decode_lines


class Decoder:
    """Decodes messages in one format.

    Args:
        mapping: name of a preset, or a mapping table (see `mappings.py`).
        schemas: decodes messages that are encoded with a schema; default: none is known.
    """

    def __init__(
        self, mapping: str | Mapping[str, Any] = "native", schemas: Schemas | None = None
    ) -> None:
        self._mapping = FieldMapping(mapping)
        self._unframe = Unframer(schemas or Schemas(), MAX_BYTES, self._mapping.binary)

    @classmethod
    def of(cls, settings: Settings) -> Decoder:
        """The decoder of the configured format."""
        return cls(settings.mapping, Schemas(settings.registry))

    @property
    def native(self) -> bool:
        """Whether the format is the native one, without a mapping."""
        return self._mapping.native

    def decode(self, values: Sequence[bytes | None], now: float) -> Decoded:
        """Decode a batch of message values. No bytes make it raise by themselves.

        Args:
            values: the messages, `None` for a message without a value.
            now: reference clock, epoch seconds. An event whose `ts` lies more than `MAX_AHEAD`
                seconds after it is rejected as `future`.

        Raises:
            RegistryUnavailableError: if a schema cannot be fetched now; decode again later.
            ConfigError: if the library for a message's schema is not installed.
        """
        decoded = Decoded.empty()
        latest = min(now + MAX_AHEAD, LATEST)
        native = self._mapping.native
        for start in range(0, len(values), _BATCH):
            part = values[start : start + _BATCH]
            if native and (events := _decode_one_per_message(part, latest)):
                decoded.events.extend(events)
                decoded.sources.extend(range(start, start + len(part)))
                decoded.elements.extend([0] * len(part))
                continue
            for source, value in enumerate(part, start):
                if not (native and value and self._decode_native(value, source, latest, decoded)):
                    self._decode_elements(value or b"", source, latest, decoded)
        return decoded

    def split(self, value: bytes) -> list[bytes]:
        """The bytes of each element of a message, in the order of `elements`."""
        outcomes = self._outcomes(value, math.inf, Decoded.empty())
        return [element.to_bytes() for element, _ in outcomes]

    def responses(self, value: bytes) -> list[str]:
        """The text of the response in each element of a message; empty where there is none."""
        outcomes = self._outcomes(value, math.inf, Decoded.empty())
        return [self._mapping.response(element.parsed()) for element, _ in outcomes]

    def _decode_native(self, value: bytes, source: int, latest: float, decoded: Decoded) -> bool:
        """Decode a message in the strict native format; return false if it is anything else."""
        found = _strict_events(value) if len(value) <= MAX_BYTES else None
        if found is None:
            return False
        events = found if isinstance(found, list) else [found]
        if not 0 < len(events) <= MAX_ELEMENTS:
            return False
        if not all(_finish(event, latest) for event in events):
            return False
        decoded.events.extend(events)
        decoded.sources.extend([source] * len(events))
        decoded.elements.extend(range(len(events)))
        return True

    def _decode_elements(self, value: bytes, source: int, latest: float, decoded: Decoded) -> None:
        """Decode a message element by element, leniently."""
        for index, (element, event) in enumerate(self._outcomes(value, latest, decoded)):
            if isinstance(event, RequestEvent):
                decoded.events.append(event)
                decoded.sources.append(source)
                decoded.elements.append(index)
            else:
                decoded.rejections.append(
                    Rejection(event.reason, event.detail, source, element.to_bytes(), index)
                )

    def _outcomes(self, value: bytes, latest: float, counts: Decoded) -> Iterator[_Outcome]:
        """The elements of a message, each with its event or the error that rejects it."""
        opener = envelopes.Opener(self._unframe.open_text, MAX_BYTES, MAX_ELEMENTS)
        for element in split(value, self._unframe):
            yield from self._read(element, latest, counts, opener, envelopes.LAYERS)

    def _read(
        self,
        element: Element,
        latest: float,
        counts: Decoded,
        opener: envelopes.Opener,
        layers: int,
    ) -> Iterator[_Outcome]:
        """One element, or those in its envelope if it is one."""
        for part in self._records(element, counts.ignored):
            records: list[Any] | None = None
            try:
                outcome: _Outcome = part, self._event(part, latest, counts.unreadable)
            except ElementError as error:
                outcome = part, error
                try:
                    records = self._opened(part, opener) if layers else None
                except ElementError as failed:
                    outcome = part, failed
            if records is None and self._mapping.wants(part.parsed):
                yield outcome
            elif not records:
                counts.ignored["no_row" if records == [] else "other_type"] += 1
            for record in records or ():
                found = split_text(record) if type(record) is bytes else [Element(b"", record)]
                for inner in found:
                    yield from self._read(inner, latest, counts, opener, layers - 1)

    def _records(self, element: Element, ignored: Counter[str]) -> list[Element]:
        """The records in an element."""
        if self._mapping.single:
            return [element]
        document = element.parsed()
        if type(document) is ElementError:
            document = element.repaired() or document
        if type(document) is not dict:
            return [Element(element.raw, document)]
        try:
            records = self._mapping.records(document, ignored)
        except ElementError as error:
            records = [error]
        except RecursionError:
            return self._records(Element(element.raw, element.repaired()), ignored)
        if len(records) > MAX_ELEMENTS:
            large = ElementError("too_large", f"it has more than {MAX_ELEMENTS} records")
            return [Element(element.raw[:KEPT_BYTES], large)]
        return [Element(element.raw if len(records) == 1 else b"", each) for each in records]

    def _opened(self, element: Element, opener: envelopes.Opener) -> list[Any] | None:
        """The records in an envelope; `None` for a record as the gateway writes it."""
        document = element.parsed()
        if type(document) is not dict or not self._mapping.names(document) <= _OF_ENVELOPES:
            return None
        return opener(document)

    def _event(self, element: Element, latest: float, unreadable: Counter[str]) -> RequestEvent:
        if self._mapping.native and element.document is UNPARSED:
            event = _strict_events(element.raw)
            if isinstance(event, RequestEvent) and _finish(event, latest):
                return event
        document = element.parsed()
        if type(document) is not ElementError:
            try:
                return self._mapped(document, latest, unreadable)
            except RecursionError:
                document = ElementError("not_json", "nested too deeply")
        if (repaired := element.repaired()) is not None:
            try:
                return self._mapped(repaired, latest, unreadable, parse_shallow)
            except ElementError:
                pass
        raise ElementError(document.reason, document.detail)

    def _mapped(
        self,
        document: Any,
        latest: float,
        unreadable: Counter[str],
        parse_text: Callable[[str], Any] = parse_text,
    ) -> RequestEvent:
        if type(document) is not dict:
            raise ElementError("not_an_object", "it is JSON, but not an object")
        found: Counter[str] = Counter()
        fields = self._mapping.read(document, latest, found, parse_text)
        event = RequestEvent(**fields)
        _finish(event, latest)
        event.joins = self._mapping.second_id(document, event.id)
        unreadable.update(found)
        return event


def _decode_one_per_message(
    values: Sequence[bytes | None], latest: float
) -> list[RequestEvent] | None:
    """The events of messages that hold one strict native event each, decoded in one call."""
    if None in values:
        return None
    lines = b"\n".join(cast("Sequence[bytes]", values))
    if len(lines) > MAX_BYTES or lines.count(b"\n") != len(values) - 1:
        return None
    try:
        events = _decode_lines(lines)
    except _PARSE_ERRORS:
        return None
    if len(events) == len(values) and all(_finish(event, latest) for event in events):
        return events
    return None


def _strict_events(value: bytes) -> RequestEvent | list[RequestEvent] | None:
    """The event or events of a message in the strict native format, else `None`."""
    try:
        return _decode_event_or_events(value)
    except _PARSE_ERRORS:
        if b"\n" not in value:
            return None
    try:
        return [_decode_event(line) for line in value.splitlines() if line.strip()]
    except _PARSE_ERRORS:
        return None


def _finish(event: RequestEvent, latest: float) -> bool:
    """Fill in the derived fields of an event; return whether it is valid in the strict format.

    An event whose time is out of range or whose key needs cleaning is not.
    """
    ts: Any = event.ts
    if type(ts) is not float:
        event.ts = ts.timestamp()
    system, prompt = (None if text in NO_VALUE else text for text in (event.system, event.prompt))
    event.system, event.prompt, event.parts, event.joins = system, prompt, [], None
    if event.messages is not None:
        turns = read_turns(event.messages)
        event.messages = None
        event.prompt = prompt or turns.prompt
        event.system = system or turns.system
        event.turns = turns.number
        event.parts += turns.parts
        known = {part.text for part in turns.parts}
        system, prompt = (None if text in known else text for text in (system, prompt))
    if prompt:
        event.parts.insert(0, Part(USER, prompt))
    if system:
        event.parts.insert(0, Part(SYSTEM, system))
    if any(part.text in NO_VALUE for part in event.parts):
        event.parts = [part for part in event.parts if part.text not in NO_VALUE]
    clean = not _is_unclean(event.api_key)
    # One test for all fields: this runs for every event.
    # fmt: off
    if not NO_VALUE.isdisjoint((
        event.id, event.account, event.end_user, event.payment, event.ip, event.tls_fingerprint,
        event.user_agent, event.country, event.model, event.prompt, event.system,
    )):
        # fmt: on
        for name in event.__struct_fields__:
            if type(value := getattr(event, name)) is str and value in NO_VALUE:
                setattr(event, name, None)
    return clean and EARLIEST <= event.ts <= latest


def _is_unclean(key: str) -> bool:
    """Whether a key may have blanks or a scheme around it, or says nothing."""
    return " " in key or "\t" in key or key in NO_VALUE

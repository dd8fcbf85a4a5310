"""Records of an OpenTelemetry document: its spans and log records, with what stands around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from monitor.requests.otel.attributes import (
    attributes_of,
    objects,
    parent_id,
    plain,
    span_id,
    times,
    trace_id,
)
from monitor.requests.otel.conversation import Conversation, is_message_event, opened
from monitor.requests.otel.operations import DETAILS, Operation, operation_of

LEVELS = (
    ("resourceSpans", "scopeSpans", "spans"),
    ("resourceSpans", "instrumentationLibrarySpans", "spans"),
    ("resource_spans", "scope_spans", "spans"),
    ("resourceLogs", "scopeLogs", "logRecords"),
    ("resource_logs", "scope_logs", "log_records"),
)
_HOLDERS = ("attributes", "tags", "SpanAttributes", "LogAttributes")
_OF_LOGS = ("body", "Body", "severityNumber", "severity_number", "eventName", "LogAttributes")
_RESPONSE_IDS = ("gen_ai.response.id", "ai.response.id", "llm.response.id")
_SERVERS = ("2", "5", "server", "consumer")
_MOST_SHARED = 512  # attributes of a scope or a resource; every record in it gets them
_NAMES = ("name", "operationName", "SpanName")
_TOOL_LISTS = ("gen_ai.tool.definitions", "ai.prompt.tools")
_TOOL_NAMES = (("llm.request.functions.", ".name"), ("llm.tools.", ".json_schema"))

IsMapped = Callable[[dict[str, Any]], bool]


class Record:
    """A span or log record.

    Args:
        source: as exported.
        is_span: whether it is a span.
        scope: attributes of its scope.
        resource: attributes of its resource.
        is_mapped: whether a record has a value that the operator maps and only model calls have.

    Attributes:
        own: its attributes, by name.
        attributes: the same, with those of the scope and the resource where it has none.
        kind: `span`, `log`, or `text` for an event that is one message of a call.
        event: name of the log record's event, in lower case.
        operation: what it is.
        conversation: the messages that it holds, after `read`.
        trace, span, parent: ids, empty without one.
        is_server: whether it is the span that serves a request; its parent is the client's.
        start, end: nanoseconds since the epoch, or `None`.
    """

    def __init__(
        self,
        source: dict[str, Any],
        is_span: bool,
        scope: dict[str, Any],
        resource: dict[str, Any],
        is_mapped: IsMapped,
    ) -> None:
        self.source = source
        self.own = attributes_of(source)
        self.attributes = {**resource, **scope, **self.own}
        self.trace, self.span, self.parent = trace_id(source), span_id(source), parent_id(source)
        self.start, self.end = times(source)
        self.event = "" if is_span else _event_name(source, self.own)
        self.kind = "span" if is_span else "text" if is_message_event(self.event) else "log"
        name = next((source[name] for name in _NAMES if type(source.get(name)) is str), "")
        self.operation = operation_of(self.own, name, self.event)
        if self.operation is Operation.UNKNOWN and is_mapped({**source, "attributes": self.own}):
            self.operation = Operation.CALL
        kind = str(source.get("kind", source.get("SpanKind", ""))).lower()
        self.is_server = kind.rpartition("_")[2].rpartition(".")[2] in _SERVERS
        self.conversation = Conversation()

    @property
    def call_id(self) -> str:
        """The id that the model's server gave to its response; empty without one."""
        found = (self.attributes.get(name) for name in _RESPONSE_IDS)
        return next((each for each in found if type(each) is str and each), "")

    def read(self) -> None:
        """Read the messages of a call from all places of the record."""
        attributes, body = self.own, plain(self.source.get("body", self.source.get("Body")))
        if self.kind == "text":
            self.conversation.add_event(self.event, attributes, body)
            return
        if self.kind == "log" and type(body := opened(body)) is dict:
            fields = attributes_of({"attributes": body})
            self._know(fields)
            attributes = {**fields, **attributes}
            self.conversation.add(fields.get("input"))
        self.conversation.add(self.source.get("messages"))
        self.conversation.add_attributes(attributes)
        for name, event in _events(self.source):
            if is_message_event(name):
                self.conversation.add_event(name, event)
            elif name == DETAILS:
                self._know(event)
                self.conversation.add_attributes(event)
        self.conversation.add_inputs(attributes)

    def absorb(self, other: Record) -> None:
        """Take what another record of the same call knows and this one does not."""
        self._know(other.own if other.kind == "span" else other.attributes)
        if other.kind == "text":
            self.conversation.append(other.conversation)
        else:
            self.conversation.join(other.conversation)
        self.span, self.trace = self.span or other.span, self.trace or other.trace
        self.start, self.end = self.start or other.start, self.end or other.end

    def _tools(self) -> int:
        """Number of tools that the model was offered."""
        for name in _TOOL_LISTS:
            if type(tools := opened(self.attributes.get(name))) is list:
                return len(tools)
        return sum(
            name.startswith(start) and name.endswith(end)
            for name in self.attributes
            for start, end in _TOOL_NAMES
        )

    def _know(self, attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            self.attributes.setdefault(name, value)

    def flat(self) -> dict[str, Any]:
        """The record as one object, as the mapping reads it."""
        flat = {**self.source, "attributes": self.attributes, "record": self.kind}
        for name, value in (
            ("traceId", self.trace),
            ("spanId", self.span),
            ("callId", self.call_id),
            ("startTimeUnixNano", self.start),
            ("endTimeUnixNano", self.end),
            ("toolCount", self._tools()),
            ("messages", self.conversation.messages),
        ):
            flat.pop(name, None)
            if value:
                flat[name] = value
        if self.kind == "span" and self.start and self.end and self.end >= self.start:
            flat["durationNano"] = self.end - self.start
        return flat


def records_of(document: dict[str, Any], is_mapped: IsMapped) -> Iterator[Record]:
    """The spans and log records of an export, or the one that the document is."""
    found = False
    for resources, scopes, records in LEVELS:
        for resource in objects(document.get(resources)):
            behind = _attributes_in(resource, "resource")
            for scope in objects(resource.get(scopes)):
                between = _attributes_in(scope, "scope")
                for record in objects(scope.get(records)):
                    found = True
                    yield Record(record, records == "spans", between, behind, is_mapped)
    if found or not any(type(document.get(name)) in (dict, list) for name in _HOLDERS):
        return
    is_span = not any(name in document for name in _OF_LOGS)
    behind = _attributes_in(document, "resource") | _attributes_in(document, "process")
    if type(document.get("ResourceAttributes")) is dict:
        behind |= document["ResourceAttributes"]
    between = _attributes_in(document, "scope")
    yield Record(document, is_span, between, behind, is_mapped)


def _attributes_in(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = holder.get(name)
    attributes = attributes_of(inner) if type(inner) is dict else {}
    return dict(islice(attributes.items(), _MOST_SHARED))


def _event_name(source: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    names = (source.get("eventName"), source.get("event_name"), source.get("EventName"))
    for name in (*names, attributes.get("event.name"), attributes.get("event_name")):
        if type(name) is str and name:
            return name.lower()
    return ""


def _events(span: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a span: their names, in lower case, and attributes."""
    for event in objects(span.get("events", span.get("logs"))):
        attributes = attributes_of(event)
        name = event.get("name") or attributes.get("event.name") or attributes.get("event")
        if type(name) is str:
            yield name.lower(), attributes
    names, columns = span.get("Events.Name"), span.get("Events.Attributes")
    if type(names) is list and type(columns) is list:
        for name, attributes in zip(names, columns, strict=False):
            if type(name) is str and type(attributes) is dict:
                yield name.lower(), attributes_of({"attributes": attributes})

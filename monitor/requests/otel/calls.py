"""Model calls in OpenTelemetry exports: which records are requests, and which are one request.

A call may come as a span, as a log record, as one event per message, and inside the spans of an
agent, a framework or an HTTP client. It counts once, with the text of all its records:

- A log record belongs to the span that it names, or to the span with its response id.
- Message events (`gen_ai.user.message`, …) are text of the span that they name. Where no record of
  that call is in the export, the events of one span are the call.
- Of two nested calls with the same text, or of which one has no text, the inner one counts.
- Spans of agents, chains, tools and HTTP, answers, and unfinished spans do not count.

The records of one call may also come in several messages. They name each other by `spanId` and
`callId` (the response id), and the engine counts them once. Two spans of an export are never one
call, even with the same ids, because some proxies take the id of a span from the client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from monitor.requests.otel.conversation import is_answer_event
from monitor.requests.otel.operations import Operation
from monitor.requests.otel.records import LEVELS, IsMapped, Record, records_of

_HIGHEST = 16  # ancestors of a span that are looked at


class Calls(NamedTuple):
    """The model calls of a document.

    Attributes:
        calls: one object for each.
        ignored: number of records that are no call of their own, by reason: `answer`,
            `other_operation`, `outer_call`, or `joined` to another record of the same call.
    """

    calls: list[dict[str, Any]]
    ignored: Counter[str]


def model_calls(
    document: dict[str, Any],
    is_mapped: IsMapped = lambda record: False,
    inherited: Collection[str] = (),
) -> Calls:
    """The model calls in an export, a span or a log record; any other object is one call itself.

    Args:
        document: as parsed from JSON, or as `protobuf.decode_export` gives it.
        is_mapped: whether a record has a value that the operator maps and only model calls have.
        inherited: names of attributes that a call without them takes from the spans around it, up
            to the one that serves the request.
    """
    records = list(records_of(document, is_mapped))
    if not records:
        is_export = any(resources in document for resources, _, _ in LEVELS)
        return Calls([] if is_export else [document], Counter())
    spans = {record.span: record for record in records if record.kind == "span" and record.span}
    for record in records:
        around = spans.get(record.span) if record.kind == "text" else None
        if around is not None and around.operation is Operation.UNKNOWN:
            around.operation = Operation.CALL  # the gateway's own span
    ignored: Counter[str] = Counter()
    calls = []
    for record in records:
        if record.kind == "text":
            continue
        if record.operation is Operation.CALL:
            record.read()
            calls.append(record)
        else:
            ignored["answer" if is_answer_event(record.event) else "other_operation"] += 1
    calls = _with_texts(_with_logs(calls, ignored), records, spans, inherited, ignored)
    calls = _innermost(calls, spans, ignored)
    for call in calls:
        for around in _ancestors(call, spans):
            for name in inherited:
                if name in around.attributes:
                    call.attributes.setdefault(name, around.attributes[name])
    return Calls([call.flat() for call in calls], +ignored)


def _with_logs(calls: list[Record], ignored: Counter[str]) -> list[Record]:
    """The calls, with each log record joined to the span that it belongs to.

    A span takes one log record, so that two requests never become one.
    """
    by_span = {call.span: call for call in calls if call.kind == "span" and call.span}
    by_call_id = {call.call_id: call for call in calls if call.kind == "span" and call.call_id}
    joined: set[int] = set()
    kept = []
    for call in calls:
        if call.kind == "log":
            span = by_span.get(call.span) or by_call_id.get(call.call_id)
            if span is not None and id(span) not in joined:
                joined.add(id(span))
                span.absorb(call)
                ignored["joined"] += 1
                continue
        kept.append(call)
    return kept


def _with_texts(
    calls: list[Record],
    records: list[Record],
    spans: Mapping[str, Record],
    inherited: Collection[str],
    ignored: Counter[str],
) -> list[Record]:
    """The calls, with message events joined to the call of their span, or to one of their own.

    An answer ends the call of the message events before it.
    """
    by_span = {call.span: call for call in reversed(calls)}
    by_span.pop("", None)  # events that name no span belong to the events before them
    for record in records:
        if (
            is_answer_event(record.event)
            and getattr(by_span.get(record.span), "kind", "") == "text"
        ):
            del by_span[record.span]
        if record.kind != "text":
            continue
        around = spans.get(record.span)
        if around is not None and around.operation is Operation.OTHER:
            ignored["other_operation"] += 1
            continue
        record.read()
        call = by_span.get(record.span)
        if call is None or not (record.span or _same(call, record, inherited)):
            by_span[record.span] = record
            calls.append(record)
        else:
            call.absorb(record)
            ignored["joined"] += 1
    return calls


def _same(one: Record, other: Record, names: Collection[str]) -> bool:
    """Whether two records agree in some attributes."""
    return all(one.attributes.get(name) == other.attributes.get(name) for name in names)


def _innermost(
    calls: list[Record], spans: Mapping[str, Record], ignored: Counter[str]
) -> list[Record]:
    """The calls without those that hold another one of the same text."""
    known = {id(call) for call in calls}
    outer: set[int] = set()
    for call in calls:
        if call.kind != "span":
            continue
        around = next((each for each in _ancestors(call, spans) if id(each) in known), None)
        if around is None or id(around) in outer:
            continue
        if call.conversation.agrees(around.conversation):
            call.absorb(around)
            outer.add(id(around))
    ignored["outer_call"] += len(outer)
    return [call for call in calls if id(call) not in outer]


def _ancestors(record: Record, spans: Mapping[str, Record]) -> Iterator[Record]:
    """The spans around a record, from the inside, up to the one that serves the request."""
    around = spans.get(record.span) if record.kind != "span" else record
    if around is not None and around is not record:
        yield around
    for _ in range(_HIGHEST):
        if around is None or around.is_server:
            return
        above = spans.get(around.parent)
        if above is None or above is around or (above.trace and above.trace != around.trace):
            return
        yield above
        around = above

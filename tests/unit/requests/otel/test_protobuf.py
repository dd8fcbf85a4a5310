import math

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from monitor.requests.otel.attributes import pairs, plain
from monitor.requests.otel.protobuf import decode_export

unhurried = settings(deadline=None)
SPAN_ID = bytes(range(8))


def array(inner):
    value = AnyValue()
    value.array_value.SetInParent()
    value.array_value.values.extend(inner)
    return value


def table(inner):
    value = AnyValue()
    value.kvlist_value.SetInParent()
    fill(value.kvlist_value.values, inner)
    return value


def fill(field, found):
    for key, value in found.items():
        field.add(key=key).value.CopyFrom(value)


texts = st.text(max_size=9)
keys = st.text(min_size=1, max_size=9)
values = st.recursive(
    st.builds(lambda text: AnyValue(string_value=text), texts)
    | st.builds(lambda flag: AnyValue(bool_value=flag), st.booleans())
    | st.builds(lambda number: AnyValue(int_value=number), st.integers(-(2**63), 2**63 - 1))
    | st.builds(lambda number: AnyValue(double_value=number), st.floats())
    | st.builds(lambda data: AnyValue(bytes_value=data), st.binary(max_size=9)),
    lambda inner: st.lists(inner, max_size=3).map(array) | st.dictionaries(keys, inner).map(table),
    max_leaves=6,
)
attributes = st.dictionaries(keys, values, max_size=4)
times = st.integers(1, 2**64 - 1)


def traces(*spans):
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    fill(resource.resource.attributes, {"service.name": AnyValue(string_value="gateway")})
    scope = resource.scope_spans.add()
    scope.scope.name = "tracer"
    for name, start, found in spans:
        span = scope.spans.add(span_id=SPAN_ID, name=name, start_time_unix_nano=start)
        fill(span.attributes, found)
        fill(span.events.add(name="event").attributes, found)
    return request


def logs(*records):
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for event, at, body in records:
        record = scope.log_records.add(span_id=SPAN_ID, event_name=event, time_unix_nano=at)
        record.body.CopyFrom(body)
    return request


def reference(value):
    """The value in an AnyValue, by the library."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [reference(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: reference(pair.value) for pair in value.kvlist_value.values}
    found = getattr(value, kind)
    if kind == "bytes_value":
        return found.hex()
    return "nan" if kind == "double_value" and math.isnan(found) else found


def without_nan(value):
    if isinstance(value, dict):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@unhurried
@given(spans=st.lists(st.tuples(texts, times, attributes), min_size=1, max_size=3))
def test_traces_decode_as_by_the_library(spans):
    export = decode_export(traces(*spans).SerializeToString())
    found = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(found) == len(spans)
    for span, (name, start, sent) in zip(found, spans, strict=True):
        expected = {key: reference(value) for key, value in sent.items()}
        assert span["spanId"] == SPAN_ID.hex()
        assert (span.get("name", ""), span["startTimeUnixNano"]) == (name, start)
        assert without_nan(pairs(span.get("attributes"))) == expected
        assert without_nan(pairs(span["events"][0].get("attributes"))) == expected


@unhurried
@given(records=st.lists(st.tuples(texts, times, values), min_size=1, max_size=3))
def test_logs_decode_as_by_the_library(records):
    export = decode_export(logs(*records).SerializeToString())
    found = export["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert len(found) == len(records)
    for record, (event, at, body) in zip(found, records, strict=True):
        assert (record.get("eventName", ""), record["timeUnixNano"]) == (event, at)
        assert without_nan(plain(record["body"])) == reference(body)


@unhurried
@given(data=st.binary(max_size=200), cut=st.integers(0, 400), place=st.integers(0, 400))
def test_damaged_bytes_never_raise(data, cut, place):
    whole = traces(("a", 5, {"b": AnyValue(string_value="c" * 90)})).SerializeToString()
    for damaged in (data, b"\n" + data, whole[:cut], whole[:place] + data + whole[place:]):
        assert decode_export(damaged) is None or isinstance(decode_export(damaged), dict)


@pytest.mark.parametrize("value", [b"", b"\n", b'\n{"resourceSpans": []}', b"\n\n[1]", b"{}"])
def test_json_and_nothing_are_not_protobuf(value):
    assert decode_export(value) is None


def test_metrics_are_not_calls():
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="gen_ai.tokens")
    metric.gauge.data_points.add(time_unix_nano=5, as_int=3)
    assert decode_export(request.SerializeToString()) is None


def message(*fields):
    """A message of length-delimited fields, as bytes."""
    found = b""
    for number, content in fields:
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        found += bytes([number << 3 | 2]) + length + bytes([size]) + content
    return found


def test_value_that_nests_deeply_costs_only_itself():
    deep = message((1, b"bottom"))
    for _ in range(5_000):
        deep = message((5, message((1, deep))))
    ends = b"\x41" + (5).to_bytes(8, "little")  # end_time_unix_nano
    attributes = [
        (9, message((1, b"deep"), (2, deep))),
        (9, message((1, b"after"), (2, b"\x18\x07"))),
    ]
    spans = [(2, message((5, b"one"), *attributes) + ends), (2, message((5, b"two")) + ends)]
    export = message((1, message((2, message(*spans)))))
    with pytest.raises(DecodeError):
        ExportTraceServiceRequest.FromString(export)
    first, second = decode_export(export)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert pairs(first["attributes"])["after"] == 7
    assert second["name"] == "two"

"""OpenTelemetry spans and logs as the tests of `requests/otel` write them."""

from monitor.requests.otel.calls import model_calls

AT = 1_772_040_000_000_000_000
QUESTION = "Which river is the longest in Chile?"


def any_value(value):
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(each) for each in value]}}
        case dict():
            return {"kvlistValue": {"values": key_values(value)}}


def key_values(attributes):
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def span(attributes, name="chat m", id="a1", parent="", start=0, end=2, **fields):
    return {
        "traceId": "0f" * 16,
        "spanId": id,
        "parentSpanId": parent,
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(AT + start * 10**9),
        "endTimeUnixNano": str(AT + end * 10**9),
        "attributes": key_values(attributes),
        **fields,
    }


def event(name, attributes):
    return {"name": name, "timeUnixNano": str(AT), "attributes": key_values(attributes)}


def log(name, attributes, body=None, id="a1", **fields):
    return {
        "traceId": "0f" * 16,
        "spanId": id,
        "timeUnixNano": str(AT),
        "eventName": name,
        "attributes": key_values(attributes),
        "body": None if body is None else any_value(body),
        **fields,
    }


def export(*spans, logs=(), resource=None):
    holder = {"attributes": key_values(resource or {"service.name": "gateway"})}
    found = {}
    if spans:
        found["resourceSpans"] = [{"resource": holder, "scopeSpans": [{"spans": list(spans)}]}]
    if logs:
        found["resourceLogs"] = [{"resource": holder, "scopeLogs": [{"logRecords": list(logs)}]}]
    return found


def calls(*spans, **fields):
    return model_calls(export(*spans, **fields)).calls


def the_call(*spans, **fields):
    (call,) = calls(*spans, **fields)
    return call


def spoken(call):
    """Role and text of each message of a call."""
    return [
        (message["role"], "".join(part["text"] for part in message["content"]))
        for message in call.get("messages", [])
    ]


ASKED = [("system", "Be brief."), ("user", QUESTION)]
MESSAGES = [{"role": role, "content": text} for role, text in ASKED]
PARTS = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in ASKED]
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}

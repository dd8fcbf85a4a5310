import json
import tomllib
from pathlib import Path

import pytest

from monitor.errors import ConfigError
from monitor.requests.decoder import Decoder

NOW = 1_772_040_010.0
PAYLOADS = json.loads((Path(__file__).parents[2] / "support" / "payloads.json").read_text())
LEAST = {"ts": "/ts", "api_key": "/api_key"}


def decode(mapping, *documents):
    return Decoder(mapping).decode([json.dumps(one).encode() for one in documents], NOW)


def read(mapping, document) -> dict:
    """The one event of the document, without the fields that say nothing."""
    decoded = decode(mapping, document)
    assert not decoded.rejections
    (event,) = decoded.events
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    derived = ("parts", "joins")
    return {n: value for n, value in fields.items() if value is not None and n not in derived}


ASKED = {
    "prompt": "Who built the Pont du Gard?",
    "system": "You answer briefly.",
    "turns": 1,
    "max_tokens": 512,
    "input_tokens": 14,
    "output_tokens": 33,
    "status": 200,
}


# Presets


def test_native_format_as_a_table_gives_the_same_events():
    fields = [*PAYLOADS["native"][0], "messages"]
    table = {field: f"/{field}" for field in fields}
    assert decode(table, *PAYLOADS["native"]) == decode("native", *PAYLOADS["native"])


def test_litellm_success():
    assert read("litellm", PAYLOADS["litellm"][0]) == ASKED | {
        "ts": 1_772_040_001.062,
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "account": "dana@example.com",
        "end_user": "u-12",
        "ip": "203.0.113.9",
        "user_agent": "python-httpx/0.28.1",
        "model": "gpt-4o-mini",
        "latency_ms": 812,
        "temperature": 0.7,
        "n": 1,
        "logprobs": True,
        "tools": 2,
    }


def test_litellm_failure():
    event = read("litellm", PAYLOADS["litellm"][1])
    assert (event["status"], event["account"], event["model"]) == (429, "team-4", "gpt-4o-mini")
    assert event["prompt"] == "Say hello."
    assert "end_user" not in event


@pytest.mark.parametrize(
    ("status", "code", "read_as"),
    [("failure", "", 500), ("success", None, 200), ("failure", "Timeout", 504), ("new", "", None)],
)
def test_unusable_litellm_status_keeps_the_event(status, code, read_as):
    failed = PAYLOADS["litellm"][1]
    odd = failed | {"status": status, "error_information": {"error_code": code}}
    assert read("litellm", odd).get("status") == read_as


def test_litellm_sends_many_in_one_message():
    assert len(decode("litellm", PAYLOADS["litellm"]).events) == 2


def test_openai_chat_completions():
    assert read("openai", PAYLOADS["openai"][0]) == ASKED | {
        "ts": 1_772_040_000.25,
        "api_key": "key_9f",
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "account": "org-acme",
        "end_user": "u-12",
        "ip": "203.0.113.9",
        "user_agent": "OpenAI/Python 1.99.1",
        "model": "gpt-4o-mini",
        "latency_ms": 812,
        "temperature": 0.7,
        "n": 2,
        "logprobs": True,
        "tools": 1,
    }


def test_openai_responses():
    assert read("openai", PAYLOADS["openai"][1]) == ASKED | {
        "ts": 1_772_040_000.0,
        "api_key": "key_9f",
        "id": "resp_68af",
        "end_user": "u-12",
        "model": "gpt-5",
        "latency_ms": 812,
    }


def test_openai_completions_flattened():
    event = read("openai", PAYLOADS["openai"][2])
    assert event["prompt"] == "Who built\nthe Pont du Gard?"
    assert (event["model"], event["max_tokens"], event["status"]) == ("babbage-002", 16, 200)


@pytest.mark.parametrize("text", ["Plain text", "[1, 2, 3]", "[not json", '{"a": 1}', "[]"])
def test_openai_string_input_is_the_prompt(text):
    line = {"created": 1_772_040_000, "api_key": "k", "request": {"input": text}}
    assert read("openai", line)["prompt"] == text


def test_otel_span_with_an_attributes_object():
    assert read("otel-genai", PAYLOADS["otel-genai"][0]) == ASKED | {
        "ts": pytest.approx(1_772_040_000.25),
        "api_key": "key_9f",
        "id": "5fb397be34d26b51",
        "end_user": "u-12",
        "ip": "203.0.113.9",
        "user_agent": "python-httpx/0.28.1",
        "model": "gpt-4o-mini",
        "temperature": 0.7,
        "n": 2,
    }


def test_otlp_export_gives_only_model_calls():
    decoded = decode("otel-genai", PAYLOADS["otel-genai"][1])
    assert not decoded.rejections
    first, second = decoded.events
    assert first.ts == pytest.approx(1_772_040_001.062)
    assert (first.api_key, first.latency_ms, first.tools) == ("key_9f", 812, 1)
    assert (first.prompt, first.system) == (ASKED["prompt"], ASKED["system"])
    assert (first.max_tokens, first.input_tokens, first.output_tokens) == (512, 14, 33)
    assert (second.api_key, second.status, second.id) == ("88dc28d0", 429, "eee19b7ec3c1b176")


def test_otlp_log_records_are_read_like_spans():
    event = read("otel-genai", PAYLOADS["otel-genai"][2])
    assert (event["api_key"], event["model"]) == ("u-12", "gpt-4o-mini")
    assert event["ts"] == pytest.approx(1_772_040_000.25)


def test_bad_span_is_rejected_alone_and_can_be_sent_again():
    export = json.loads(json.dumps(PAYLOADS["otel-genai"][1]))
    span = export["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
    span["startTimeUnixNano"] = span["endTimeUnixNano"] = "0"
    decoded = decode("otel-genai", export)
    assert [event.api_key for event in decoded.events] == ["88dc28d0"]
    (refused,) = decoded.rejections
    assert refused.reason == "missing_field"
    mended = json.loads(refused.value) | {"startTimeUnixNano": "1772040000000000000"}
    assert read("otel-genai", mended)["api_key"] == "key_9f"


# Tables of one's own


def test_pointer_reaches_into_objects_and_arrays():
    table = LEAST | {"model": "/calls/1/a~1b/m~0n", "id": "/calls/9/x", "ip": "/calls/x"}
    document = {"ts": NOW, "api_key": "k", "calls": [0, {"a/b": {"m~n": "atlas"}}]}
    assert read(table, document) == {"ts": NOW, "api_key": "k", "model": "atlas", "turns": 0}


def test_the_first_usable_place_wins():
    table = LEAST | {"status": ["/a", "/b", "/c"]}
    for document in (
        {"b": 429, "c": 500},
        {"a": None, "b": 429},
        {"a": "rate limited", "b": "429"},
    ):
        assert read(table, {"ts": NOW, "api_key": "k"} | document)["status"] == 429


def test_key_without_a_usable_place_is_rejected():
    decoded = decode(LEAST | {"api_key": ["/a", "/b"]}, {"ts": NOW, "a": "", "b": {}})
    (refused,) = decoded.rejections
    assert (refused.reason, refused.detail) == ("wrong_type", "api_key is an object, not a string")


def test_missing_key_is_rejected_with_place_and_remedy():
    decoded = decode(LEAST | {"api_key": ["/a/b", "/c"]}, {"ts": NOW, "a": {"b": "None"}})
    (refused,) = decoded.rejections
    assert refused.detail == (
        'api_key is missing or empty at /a/b or 1 more places: set api_key = "/its/place"'
    )


@pytest.mark.parametrize(
    ("unit", "ts"),
    [("s", 1772040000), ("ms", 1772040000e3), ("us", 1772040000e6), ("ns", "1772040000000000000")],
)
def test_times_use_their_unit(unit, ts):
    table = LEAST | {"ts": {"path": "/at", "unit": unit}}
    assert read(table, {"at": ts, "api_key": "k"})["ts"] == 1_772_040_000


@pytest.mark.parametrize(
    ("unit", "latency"), [("s", 0.812), ("ms", 812), ("us", "812000"), ("ns", 812_000_000)]
)
def test_latencies_use_their_unit(unit, latency):
    table = LEAST | {"latency_ms": {"path": "/took", "unit": unit}}
    assert read(table, {"ts": NOW, "api_key": "k", "took": latency})["latency_ms"] == 812


def test_words_are_translated_to_values():
    table = LEAST | {"status": {"path": "/outcome", "values": {"ok": 200, "7": 507}}}
    for outcome, status in (("ok", 200), (7, 507), (404, 404), ("404", 404), ("odd", None)):
        document = {"ts": NOW, "api_key": "k", "outcome": outcome}
        assert read(table, document).get("status") == status


def test_table_extends_a_preset():
    settings = tomllib.loads("""
        [mapping]
        preset = "litellm"
        api_key = "/metadata/user_api_key_alias"
        system = []
    """)
    event = read(settings["mapping"], PAYLOADS["litellm"][0])
    assert event["api_key"] == "prod"
    assert event["prompt"] == ASKED["prompt"]


def test_field_without_a_place_is_ignored():
    table = {"preset": "native", "prompt": []}
    assert "prompt" not in read(table, PAYLOADS["native"][0])


@pytest.mark.parametrize(
    ("mapping", "remedy"),
    [
        ("acme", "native, anthropic"),
        ({"preset": ["native"]}, "native, anthropic"),
        ({"api_key": "/k"}, 'ts = "/ts"'),
        ({"preset": "native", "api_key": []}, 'api_key = "/api_key"'),
        (LEAST | {"promt": "/p"}, "prompt"),
        (LEAST | {"prompt": "p"}, "Write it like /request/model"),
        (LEAST | {"prompt": ""}, "Write it like /request/model"),
        (LEAST | {"prompt": "/a~2"}, "~1 for /"),
        (LEAST | {"prompt": 7}, "a JSON Pointer, a list of places, or a table"),
        (LEAST | {"prompt": ["/a", ["/b"]]}, "a JSON Pointer, a list of places, or a table"),
        (LEAST | {"prompt": {"path": "/a", "scale": 2}}, "path and, where needed"),
        (LEAST | {"prompt": {"path": "/a", "unit": "ms"}}, "Only ts and latency_ms"),
        (LEAST | {"ts": {"path": "/a", "unit": "hours"}}, "s, ms, us, ns"),
        (LEAST | {"ts": {"path": "/a", "unit": []}}, "s, ms, us, ns"),
        (LEAST | {"status": {"path": "/a", "values": "x"}}, "{ success = 200 }"),
    ],
)
def test_invalid_mapping_is_refused_with_a_remedy(mapping, remedy):
    with pytest.raises(ConfigError) as caught:
        Decoder(mapping)
    assert remedy in str(caught.value)

"""The text of a response in the formats of the presets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.requests.decoder import Decoder
from monitor.requests.parsing.response_text import text_of

CHAT = {"choices": [{"message": {"role": "assistant", "content": "Hello there."}}]}
MESSAGES = {"content": [{"type": "text", "text": "Hello there."}]}
RESPONSES = {
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello there."}]}]
}
GEMINI = {"candidates": [{"content": {"parts": [{"text": "Hello there."}]}}]}
CONVERSE = {"output": {"message": {"content": [{"text": "Hello there."}]}}}
CHUNKS = [
    {"choices": [{"delta": {"content": "Hello "}}]},
    {"choices": [{"delta": {"content": "there."}}]},
]
OTEL = [{"role": "assistant", "parts": [{"type": "text", "content": "Hello there."}]}]


@pytest.mark.parametrize(
    "response",
    [
        "Hello there.",
        *(CHAT, MESSAGES, RESPONSES, GEMINI, CONVERSE, CHUNKS, OTEL),
        json.dumps(CHAT),
        {"choices": [{"text": "Hello there."}]},
    ],
)
def test_text_is_read_in_all_forms(response: Any):
    assert text_of(response) == "Hello there."


@pytest.mark.parametrize("response", [None, 3, {}, [], {"error": "x"}, {"choices": None}])
def test_other_values_have_no_text(response: Any):
    assert text_of(response) == ""


def test_deeply_nested_value_has_no_text():
    value: Any = "Hello"
    for _ in range(1_000):
        value = {"content": [value]}
    assert text_of(value) == ""


NATIVE = {"ts": 1_780_000_000, "api_key": "sk-1", "prompt": "Hi", "response": "Hello there."}
OPENAI = {
    "timestamp": 1_780_000_000,
    "api_key_id": "sk-1",
    "request": {"body": {"messages": [{"role": "user", "content": "Hi"}]}},
    "response": {"body": CHAT},
}
LITELLM = {
    "endTime": 1_780_000_000,
    "metadata": {"user_api_key_hash": "abc"},
    "messages": [{"role": "user", "content": "Hi"}],
    "response": CHAT,
}
SPAN = {
    "traceId": "0" * 31 + "1",
    "spanId": "0" * 15 + "1",
    "endTimeUnixNano": "1780000000000000000",
    "name": "chat",
    "attributes": [
        {"key": key, "value": {"stringValue": value}}
        for key, value in {
            "gen_ai.operation.name": "chat",
            "api_key.id": "sk-1",
            "gen_ai.input.messages": json.dumps(
                [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]
            ),
            "gen_ai.output.messages": json.dumps(OTEL),
        }.items()
    ],
}
EXPORT = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}


@pytest.mark.parametrize(
    ("preset", "record"),
    [("native", NATIVE), ("openai", OPENAI), ("litellm", LITELLM), ("otel-genai", EXPORT)],
)
def test_presets_name_the_response(preset: str, record: dict[str, Any]):
    assert Decoder(preset).responses(json.dumps(record).encode()) == ["Hello there."]


def test_responses_are_those_of_the_elements():
    lines = [NATIVE, {**NATIVE, "response": None}, {**NATIVE, "response": "Bye."}]
    value = b"\n".join(json.dumps(line).encode() for line in lines)
    assert Decoder().responses(value) == ["Hello there.", "", "Bye."]
    assert len(Decoder().decode([value], 1e10).events) == 3


def test_own_mapping_can_name_the_response():
    mapping = {"preset": "native", "response": ["/answer", "/output/text"]}
    value = json.dumps({**NATIVE, "response": None, "output": {"text": "Hello there."}}).encode()
    assert Decoder(mapping).responses(value) == ["Hello there."]

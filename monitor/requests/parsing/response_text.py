"""The text of a response as servers and gateways log it.

Read are Chat Completions (whole or in chunks), Responses, Completions, Anthropic's Messages,
Gemini, Bedrock's Converse, OpenTelemetry's messages, plain text, and any of these as JSON in a
string.
"""

from __future__ import annotations

from typing import Any

from monitor.requests.parsing.json_text import parse_text

_HOLDERS = (
    *("choices", "candidates", "output", "outputs", "results", "generations", "message", "delta"),
    *("content", "parts", "text", "outputText", "completion", "generated_text", "generation"),
    *("reasoning_content", "thinking", "response", "body"),
)
_DEEPEST = 12


def text_of(value: Any) -> str:
    """The text of a response; empty if there is none."""
    return _text(value, _DEEPEST)


def _text(value: Any, depth: int) -> str:
    if depth == 0:
        return ""
    if type(value) is str:
        opened = parse_text(value) if value[:1] in ("{", "[") else None
        return value if opened is None else _text(opened, depth - 1) or value
    if type(value) is list:
        chunks = any(_is_chunk(each) for each in value)
        return ("" if chunks else "\n").join(filter(None, (_text(x, depth - 1) for x in value)))
    if type(value) is not dict:
        return ""
    found = (_text(value[name], depth - 1) for name in _HOLDERS if name in value)
    return "\n".join(filter(None, found))


def _is_chunk(value: Any) -> bool:
    """Whether this is a piece of a stream."""
    if type(value) is not dict:
        return False
    choices = value.get("choices")
    first = choices[0] if type(choices) is list and choices else value
    return type(first) is dict and "delta" in first

"""Turns: a conversation's messages reduced to three values.

These are the last user text, the system prompt and the number of user turns. Content is a string or
a list of parts (OpenAI, Anthropic), or the parts stand beside the role (OpenTelemetry). Text that
is neither the user's nor the operator's (images, tool calls and results, answers of the model) is
skipped, so an agent's tool results do not count as follow-up turns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

_TEXT = ("text", "input_text")
_OPERATOR = ("system", "developer")


class Turns(NamedTuple):
    """The last user text, all system and developer texts, and the number of user texts."""

    prompt: str | None = None
    system: str | None = None
    number: int = 0


def text_of(content: Any) -> str | None:
    """The text of a string or a list of parts; `None` if there is none."""
    if type(content) is str:
        return content or None
    if type(content) is not list:
        return None
    return "\n".join(text for part in content if (text := _text_of_part(part))) or None


def read_turns(messages: Any) -> Turns:
    """Read a list of messages, a single message, or either as JSON in a string.

    Any other string is a user text. Entries that are not messages are skipped.
    """
    if type(messages) is str:
        decoded = _messages_in(messages)
        if decoded is None:
            return Turns(messages, None, 1) if messages else Turns()
        messages = decoded
    if type(messages) is dict:
        messages = [messages]
    if type(messages) is not list:
        return Turns()
    prompt, system, count = None, [], 0
    for message in messages:
        if type(message) is dict:
            role, content = message.get("role", "user"), message.get("content")
            text = text_of(message.get("parts") if content is None else content)
        else:
            role, text = "user", text_of(message)
        if text is None:
            continue
        if role == "user":
            prompt = text
            count += 1
        elif role in _OPERATOR:
            system.append(text)
    return Turns(prompt, "\n".join(system) or None, count)


def _text_of_part(part: Any) -> str | None:
    if type(part) is str:
        return part
    if type(part) is not dict or part.get("type", "text") not in _TEXT:
        return None
    text = part.get("text", part.get("content"))
    return text if type(text) is str else None


def _messages_in(text: str) -> Any:
    """The messages in a JSON string; `None` if the string is not JSON messages."""
    if text[:1] not in ("[", "{"):
        return None
    try:
        decoded = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    entries = decoded if type(decoded) is list else [decoded]
    have_roles = all(type(entry) is dict and "role" in entry for entry in entries)
    return entries if entries and have_roles else None

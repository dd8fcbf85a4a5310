"""Conversation: the messages that a model call sent, from whatever attributes hold them.

Instrumentations disagree on where the prompt stands: one attribute with a list of messages, one
attribute per message, an event per message, or the whole input of a function as JSON. Often the
same text stands in two of them. All are read, in this order, and text that was read before is
skipped, so that an attribute that the model never saw cannot hide one that it saw.

1. `gen_ai.system_instructions` and the like
2. lists of messages: `gen_ai.input.messages`, `ai.prompt.messages`, `gen_ai.prompt`, …
3. one attribute per message: `gen_ai.prompt.N.…`, `llm.input_messages.N.message.…`, …
4. events: `gen_ai.user.message`, `gen_ai.content.prompt`, …
5. inputs of functions: `input.value`, `langfuse.observation.input`, …
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from monitor.requests.turns import ASSISTANT, DOCUMENT, SYSTEM, TOOL, USER, Part, read_turns

_SYSTEM = ("gen_ai.system_instructions", "gen_ai.system.instructions", "system_instructions")
_JSON = (  # a string in them is JSON that the instrumentation wrote
    *("gen_ai.input.messages", "gen_ai.input_messages", "gen_ai.request.messages"),
    *("ai.prompt.messages", "ai.prompt", "llm.input_messages", "llm.messages", "request_data"),
    *("events", "pydantic_ai.all_messages"),
)
_TEXTS = (  # a string in them may be what the client wrote
    *("gen_ai.prompt", "gen_ai.content.prompt", "llm.prompts", "ai.value", "ai.values"),
    "embedding.text",
)
_INPUTS = (
    *("langfuse.observation.input", "gcp.vertex.agent.llm_request", "mlflow.spaninputs"),
    *("lmnr.span.input", "genkit:input", "braintrust.input_json", "input.value"),
    "traceloop.entity.input",
)
_EVENT_TEXTS = (
    *("gen_ai.event.content", "gen_ai.prompt", "gen_ai.content.prompt", "content", "message"),
    *("body", "gen_ai.input.messages"),
)
_NUMBERED = re.compile(
    r"(gen_ai\.prompt|llm\.prompts|llm\.input_messages|gen_ai\.input\.messages"
    r"|embedding\.embeddings)\.(\d{1,6})\.(?:message\.|prompt\.|embedding\.)?(.+)"
)
_NUMBERED_PART = re.compile(r"contents?\.(\d{1,6})\.(?:message_content\.)?(type|text|content)")
_MESSAGE_EVENT = re.compile(
    r"gen_ai\.(?:(system|user|assistant|tool|developer)\.message|content\.prompt)"
)
_ANSWERS = ("gen_ai.choice", "gen_ai.content.completion")
_ROLES = {SYSTEM: "system", USER: "user", DOCUMENT: "user", TOOL: "tool", ASSISTANT: "assistant"}
_COMPARED = 256  # texts that a text is compared with to see whether it is the beginning of one
_LEAST_CUT = 16  # characters of a text that may be the beginning of another


def is_message_event(name: str) -> bool:
    """Whether an event is a message that a call sent."""
    return _MESSAGE_EVENT.fullmatch(name) is not None


def is_answer_event(name: str) -> bool:
    """Whether an event is an answer of the model."""
    return name in _ANSWERS


class Conversation:
    """The texts of one call, collected from one form after the other."""

    def __init__(self) -> None:
        self._turns: list[tuple[Part, ...]] = []
        self._texts: dict[str, None] = {}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The texts as messages."""
        return [
            {
                "role": _ROLES[parts[0].kind],
                "content": [
                    {"type": "document" if part.kind == DOCUMENT else "text", "text": part.text}
                    for part in parts
                ],
            }
            for parts in self._turns
        ]

    def add(self, messages: Any) -> None:
        """Add the messages of one form, without the texts that another form had.

        Args:
            messages: in any form that `read_turns` reads.
        """
        if not messages:
            return
        turns: dict[tuple[int, int], list[Part]] = {}
        for part in read_turns(messages).parts:
            turns.setdefault((part.turn, part.kind), []).append(part)
        self._extend([tuple(parts) for parts in turns.values()])

    def add_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Add what the attributes of a call hold, except for the inputs of functions."""
        for name in _SYSTEM:
            if content := opened(attributes.get(name)):
                self.add([{"role": "system", "content": content}])
        for name in _JSON:
            messages = opened(attributes.get(name))
            if name == "events" and type(messages) is list:
                messages = [each for each in messages if not _is_answer(each)]
            self.add(messages)
        for name in _TEXTS:
            self.add(attributes.get(name))
        for messages in _numbered(attributes):
            self.add(messages)

    def add_inputs(self, attributes: Mapping[str, Any]) -> None:
        """Add the inputs of functions."""
        for name in _INPUTS:
            self.add(opened(attributes.get(name)))

    def add_event(self, name: str, attributes: Mapping[str, Any], body: Any = None) -> None:
        """Add an event that `is_message_event`.

        Args:
            name: of the event.
            attributes: of the event.
            body: of the log record, if the event is one.
        """
        match = _MESSAGE_EVENT.fullmatch(name)
        role = match[1] if match and match[1] else "user"
        for content in (body, *(attributes.get(key) for key in _EVENT_TEXTS)):
            content = opened(content)
            if type(content) is dict and ("content" in content or "parts" in content):
                self.add([{"role": role, **content}])
            elif content:
                self.add([{"role": role, "content": content}])

    def join(self, other: Conversation) -> None:
        """Add another record of the same call, the one with more text first."""
        added = other._turns
        if sum(map(len, other._texts)) > sum(map(len, self._texts)):
            added, self._turns, self._texts = self._turns, list(other._turns), dict(other._texts)
        self._extend(added)

    def append(self, other: Conversation) -> None:
        """Add the next messages of the same call."""
        self._extend(other._turns)

    def agrees(self, other: Conversation) -> bool:
        """Whether one of the two has all the text of the other."""
        return all(map(self._knows, other._texts)) or all(map(other._knows, self._texts))

    def _extend(self, turns: list[tuple[Part, ...]]) -> None:
        fresh = [
            parts for parts in turns if not all(self._knows(part.text.strip()) for part in parts)
        ]
        self._turns += fresh
        self._texts.update((part.text.strip(), None) for parts in fresh for part in parts)

    def _knows(self, text: str) -> bool:
        if not text or text in self._texts:
            return True
        if len(text) < _LEAST_CUT:
            return False
        return any(seen.startswith(text) for seen in islice(self._texts, _COMPARED))


def opened(value: Any) -> Any:
    """The object or array in a JSON string; any other value unchanged.

    `read_turns` opens the strings that clients write, and JSON that is cut off.
    """
    if type(value) is not str or value[:64].lstrip()[:1] not in ("{", "["):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return value


def _is_answer(event: Any) -> bool:
    return type(event) is dict and event.get("event.name") in _ANSWERS


def _numbered(attributes: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The messages in numbered attributes, one list for each name before the number."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, value in attributes.items():
        match = _NUMBERED.fullmatch(name)
        if match and name.islower():  # every name is there in lower case
            prefix, number, field = match.groups()
            found.setdefault(prefix, {}).setdefault(int(number), {})[field] = value
    return [
        [_numbered_message(fields) for _, fields in sorted(messages.items())]
        for messages in found.values()
    ]


def _numbered_message(fields: dict[str, Any]) -> dict[str, Any]:
    """A message from `{"role": …, "content": …, "contents.0.message_content.text": …}`."""
    role, content = fields.get("role", "user"), []
    parts: dict[int, dict[str, Any]] = {}
    for name, value in fields.items():
        match = _NUMBERED_PART.fullmatch(name)
        if match:
            parts.setdefault(int(match[1]), {})[match[2]] = value
        elif name in ("content", "parts", "text"):
            content.append(value)
        elif name in ("user", "system"):  # llm.prompts.0.user
            role = name
            content.append(value)
    return {"role": role, "content": [*content, *(part for _, part in sorted(parts.items()))]}

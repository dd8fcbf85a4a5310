"""Turns: the text parts of a request, whoever wrote it and however it is spelled.

A request holds messages, and a message holds parts: text, documents, tool results. Clients and
loggers write them in many ways: OpenAI, Anthropic, Gemini, Bedrock, LangChain, OpenTelemetry, a
whole request body, or any of these as JSON in a string, which may be cut off in the middle. All are
read by one walk through the document. It goes by the names of the fields. An object whose fields it
does not know is read whole, because the model may have read it, too. Images and audio are skipped.

Text that is JSON is read as text unless it is a request body and hardly anything else: a client can
put a question beside the messages of a made-up body.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

SYSTEM, USER, DOCUMENT, TOOL, ASSISTANT = range(5)  # kinds of parts, by who or what they are of

MAX_PARTS = 256  # of a request; further text is added to the last part
_MAX_DEPTH = 24  # of nested objects; all strings of deeper ones are read


class Part(NamedTuple):
    """A text in a request.

    Attributes:
        kind: SYSTEM, USER, DOCUMENT, TOOL or ASSISTANT.
        text: not empty.
        turn: number of its message.
    """

    kind: int
    text: str
    turn: int = 0


class Turns(NamedTuple):
    """What a request's messages hold.

    Attributes:
        prompt: the last user text.
        system: all system and developer texts.
        number: user turns; texts of one batch are one turn.
        parts: all texts, in their order.
    """

    prompt: str | None = None
    system: str | None = None
    number: int = 0
    parts: Sequence[Part] = ()


def read_turns(messages: Any) -> Turns:
    """Read messages: a list, a single one, a request body, or any of these as JSON in a string.

    Any other string is a user text. A list of strings is a batch of user texts, not a conversation.
    """
    walk = _Walk()
    walk.read_items(messages, USER, 0)
    parts = walk.finish()
    if not parts:
        return Turns()
    last = max((part.turn for part in parts if part.kind == USER), default=None)
    prompt = [part.text for part in parts if part.kind == USER and part.turn == last]
    system = [part.text for part in parts if part.kind == SYSTEM]
    number = len({part.turn for part in parts if part.kind == USER})
    return Turns("\n".join(prompt) or None, "\n".join(system) or None, number, parts)


def text_of(content: Any) -> str | None:
    """The text of a string, a list of parts or an object; `None` if there is none."""
    if type(content) is str:
        return content or None
    walk = _Walk()
    walk.read(content, USER, 0)
    return "\n".join(part.text for part in walk.finish()) or None


_ROLES = {
    **dict.fromkeys(("system", "developer", "instructions", "systemmessage"), SYSTEM),
    **dict.fromkeys(("user", "human", "humanmessage", "usermessage"), USER),
    **dict.fromkeys(("assistant", "ai", "model", "bot", "chatbot", "gpt"), ASSISTANT),
    **dict.fromkeys(("aimessage", "aimessagechunk", "assistantmessage"), ASSISTANT),
    **dict.fromkeys(("tool", "function", "ipython", "observation", "environment"), TOOL),
    **dict.fromkeys(("toolmessage", "functionmessage", "tool_result", "tool_results"), TOOL),
}
# Kinds of parts by their type. A part of any other type is of its message's kind.
_TYPES = {
    **dict.fromkeys(
        ("document", "file", "input_file", "search_result", "search_results"), DOCUMENT
    ),
    **dict.fromkeys(
        ("tool_result", "tool-result", "tool_call_response", "function_response"), TOOL
    ),
    **dict.fromkeys(("function_call_output", "custom_tool_call_output"), TOOL),
    **dict.fromkeys(("local_shell_call_output", "computer_call_output", "mcp_call"), TOOL),
    **dict.fromkeys(("tool_use", "tool_call", "tool-call", "function_call"), ASSISTANT),
    **dict.fromkeys(("custom_tool_call", "reasoning", "thinking", "redacted_thinking"), ASSISTANT),
}
_TEXT = ("text", "input_text")
_SKIPPED = re.compile(r"(input_)?(image|audio|video)(_url|_file)?", re.IGNORECASE)
# Fields that hold parts, and their kind; `None`: the kind of the object that holds them.
_FIELDS: dict[str, int | None] = {
    **dict.fromkeys(("text", "content", "contents", "parts", "messages", "message", "input")),
    **dict.fromkeys(("message.content", "message.contents", "message_content", "input_text")),
    **dict.fromkeys(("prompt", "prompts", "inputs", "instances", "value", "kwargs", "body")),
    **dict.fromkeys(("request", "chat_history", "history", "query", "question", "variables")),
    **dict.fromkeys(("refusal", "transcript", "summary", "title", "context", "snippet")),
    **dict.fromkeys(("data", "bytes", "file_data", "inlineData", "inline_data")),
    **dict.fromkeys(("guardContent", "json")),
    **dict.fromkeys(("system", "instructions", "preamble", "system_prompt"), SYSTEM),
    **dict.fromkeys(("systemInstruction", "system_instruction"), SYSTEM),
    **dict.fromkeys(("source", "file", "document", "documents", "search_results"), DOCUMENT),
    **dict.fromkeys(("toolResult", "tool_result", "functionResponse", "function_response"), TOOL),
    **dict.fromkeys(("output", "result", "response"), TOOL),
    **dict.fromkeys(("tool_calls", "toolUse", "functionCall", "function_call"), ASSISTANT),
    **dict.fromkeys(("arguments", "args", "thinking", "reasoning", "reasoning_content"), ASSISTANT),
}
_ITEMS = ("messages", "input", "contents", "chat_history", "history")  # lists of messages
_ANYTHING = ("output", "result", "response", "json", "variables")  # objects that are read whole
_SPOKEN = ("content", "contents", "parts", "text", "kwargs")  # of an answer, not of its calls
_ENCODED = ("data", "bytes", "file_data", "content")  # strings that may be base64
_MEDIA_TYPES = {"media_type", "mime_type", "mimeType", "mediaType", "format", "modality"}
_NAMES = frozenset(
    [
        *("type", "role", "id", "name", "model", "object", "status", "version", "index", "detail"),
        *("call_id", "tool_call_id", "tool_use_id", "toolUseId", "custom_id", "filename", "lc"),
        *("url", "uri", "file_id", "fileUri", "signature", "finish_reason", "cache_control"),
        *("from", "author", "sender", *_MEDIA_TYPES),
    ]
)  # fields of an unknown object that hold no text
_BODY = (
    *("messages", "message", "prompt", "input", "inputs", "contents", "content", "role", "parts"),
    "text",
)


class _Walk:
    """One walk through the messages of a request."""

    def __init__(self) -> None:
        self._found: list[tuple[int, list[str], int]] = []
        self._turn = 0

    def finish(self) -> list[Part]:
        return [Part(kind, "\n".join(texts), turn) for kind, texts, turn in self._found]

    def read_items(self, node: Any, kind: int, depth: int) -> None:
        """Read a list whose entries are turns, unless all are strings; or anything else."""
        if type(node) is not list or all(type(each) is str for each in node):
            self.read(node, kind, depth)
            return
        for each in node:
            if type(each) is list:
                self.read_items(each, kind, depth + 1)
            else:
                self._turn += type(each) is not dict or each.get("type") not in _TEXT
                self.read(each, kind, depth + 1)

    def read(self, node: Any, kind: int, depth: int) -> None:
        """Read a string, a list or an object, whose parts are of this kind unless they say so."""
        if type(node) is str:
            self._read_text(node, kind, depth)
        elif type(node) is list:
            for each in node:
                self.read(each, kind, depth + 1)
        elif type(node) is dict:
            self._read_object(node, kind, depth)

    def _add(self, kind: int, text: str) -> None:
        if not text:
            return
        if len(self._found) < MAX_PARTS:
            self._found.append((kind, [text], self._turn))
        else:
            _, texts, turn = self._found[-1]
            texts.append(text)
            self._found[-1] = (USER, texts, turn)

    def _read_text(self, text: str, kind: int, depth: int) -> None:
        document = _document_in(text) if depth <= _MAX_DEPTH else None
        if document is None:
            self._add(kind, text)
            return
        inner = _Walk()
        inner.read_items(document, kind, depth + 1)
        parts = inner.finish()
        if not _accounts_for(parts, document):
            self._add(kind, text)
            return
        first = self._turn
        for part in parts:
            self._turn = first + part.turn
            self._add(part.kind, part.text)

    def _read_object(self, node: dict[str, Any], kind: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            self._add(kind, "\n".join(_strings(node)))
            return
        form = node.get("type")
        form = form if type(form) is str else ""
        role = _role(node, form)
        if role is not None:
            self._turn += 1
            kind = role
        elif _SKIPPED.fullmatch(form):
            return
        else:
            kind = _TYPES.get(form, kind)
        known = False
        for name, value in node.items():
            if name not in _FIELDS:
                continue
            known, field = True, _FIELDS[name]
            inner = kind if field is None or (field == TOOL and kind == ASSISTANT) else field
            if type(value) is str and name in _ENCODED:
                value = _from_base64(value, _media_type(node, name))
            whole = name in _ANYTHING and type(value) is dict and type(value.get("type")) is not str
            if whole or (inner == ASSISTANT and name not in _SPOKEN and type(value) is not str):
                but = _NAMES if inner == ASSISTANT else frozenset[str]()
                self._add(inner, "\n".join(_strings(value, but)))
            elif name in _ITEMS:
                self.read_items(value, inner, depth + 1)
            else:
                self.read(value, inner, depth + 1)
        if not known:
            self._add(kind, "\n".join(_strings(node, _NAMES)))


def _role(node: dict[str, Any], form: str) -> int | None:
    """The kind that an object's role means; `None` if it is not a message."""
    role = node.get("role", node.get("message.role", node.get("from")))
    if role is None and type(node.get("author")) is dict:
        role = node["author"].get("role")
    if type(role) is str and role:
        kind = _ROLES.get(role)
        return _ROLES.get(role.strip().lower(), USER) if kind is None else kind
    path = node.get("id")
    if form == "constructor" and type(path) is list and path and type(path[-1]) is str:
        return _ROLES.get(path[-1].lower())
    if form.lower() in _ROLES and form not in _TYPES:
        return _ROLES[form.lower()]
    return None


def _strings(node: Any, but: frozenset[str] = frozenset()) -> Iterator[str]:
    """All strings in a document, in their order, but not those in fields of these names."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if type(each) is str:
            yield _from_base64(each)
        elif type(each) is list:
            waiting += reversed(each)
        elif type(each) is dict:
            waiting += [each[name] for name in reversed(each) if name not in but]


def _media_type(node: dict[str, Any], name: str) -> object:
    """What an object says about the encoded data in its field of this name."""
    default = "binary" if name in ("bytes", "file_data") else ""
    return next((node[each] for each in node if each in _MEDIA_TYPES), default)


_BASE64 = re.compile(
    r"(?:[A-Za-z0-9+/_-]{16,}|(?:[A-Za-z0-9+/_-]{60,}\r?\n)+[A-Za-z0-9+/_-]*)={0,2}\s*"
)
_DATA_URL = re.compile(
    r"data:((?:[a-z]+/[a-z\d.+-]{1,80})?(?:;[a-z]+=[\w.-]{1,40}){0,3})(;base64)?,", re.IGNORECASE
)
_TEXT_MEDIA = re.compile(r"text|txt|json|xml|yaml|csv|md|html|javascript", re.IGNORECASE)


def _from_base64(text: str, media_type: object = "") -> str:
    """The text in base64 or in a data URL; empty if it holds no text; any other string unchanged.

    A client may call a plain text an image: only what is base64 is left out.
    """
    data = text
    if url := _DATA_URL.match(text):
        data, media_type = text[url.end() :], url[1]
        if url[2] is None:
            return data
    binary = type(media_type) is str and media_type and not _TEXT_MEDIA.search(media_type)
    if not _BASE64.fullmatch(data) or (not binary and len(data) < 64 and data.isalpha()):
        return text
    try:
        decoded = a2b_base64(data.replace("-", "+").replace("_", "/") + "=" * (-len(data) % 4))
        readable = decoded.decode()
        return readable if readable.isprintable() or "\n" in readable else text
    except (Base64Error, ValueError):
        return "" if binary else text


def _document_in(text: str) -> Any:
    """The messages or the request body in a JSON string; `None` if it holds neither."""
    start = text[:64].lstrip()[:1]
    if start not in ("[", "{") or not start:
        return None
    try:
        document = msgspec.json.decode(text)
    except RecursionError:
        return None
    except ValueError as error:
        document = _repaired(text) if "truncated" in str(error) else None
    entries = document if type(document) is list else [document]
    if not all(type(each) is dict for each in entries):
        return None
    return document if any(name in each for each in entries for name in _BODY) else None


_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*("|\\?\Z)|[][{}]', re.DOTALL)
_PARTIAL_ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(u[dD][89abAB]..(\\(u[0-9a-fA-F]{0,3})?)?|u[0-9a-fA-F]{0,3})?\Z"
)


def _repaired(text: str) -> Any:
    """The document in JSON that is cut off; `None` if it cannot be repaired."""
    closing, end, closed = "", 0, True
    for match in _TOKENS.finditer(text):
        token, end = match[0], match.end()
        closed = token[0] != '"' or match[1] == '"'
        if token in "[{":
            closing = ("]" if token == "[" else "}") + closing
        elif token in "]}":
            closing = closing[1:]
    if not closed:
        text = _PARTIAL_ESCAPE.sub(r"\1", text) + '"'
    for rest in (text.rstrip().rstrip(","), text[:end]):  # without what follows the last token
        for middle in ("", ": null", "null"):
            try:
                return msgspec.json.decode(rest + middle + closing)
            except (ValueError, RecursionError):
                continue
    return None


def _accounts_for(parts: list[Part], document: Any) -> bool:
    """Whether the parts are most of the text in a document."""
    read = sum(len(part.text) for part in parts)
    unread = _size(document) - read
    return bool(parts) and (unread <= min(48, read) or unread <= read // 4)


def _size(document: Any) -> int:
    """Characters in a document: of its strings, roles and types apart, and of long names."""
    size, waiting = 0, [document]
    while waiting:
        each = waiting.pop()
        if type(each) is str:
            size += len(_from_base64(each))
        elif type(each) is list:
            waiting += each
        elif type(each) is dict:
            for name, value in each.items():
                size += len(name) if len(name) > 24 else 0
                if name not in ("role", "type") or type(value) is not str or len(value) > 24:
                    waiting.append(value)
    return size

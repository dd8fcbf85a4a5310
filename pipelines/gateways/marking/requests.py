"""Requests: the mark id of X-XM-Mark becomes an argument of the request that vLLM passes on.

An ASGI middleware for servers with the API of vLLM. The header comes from the gateway, which
removes it from what clients send. An argument of the client's own is removed here: otherwise a
client could go without its mark, or put the mark of others into its responses.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from monitor.tracing.marks import is_mark

ARGUMENT = "xm_mark"
_ARGUMENTS = "vllm_xargs"  # of the request's body
_HEADER = b"x-xm-mark"
# A body has the argument, or may hide its name by escapes or in UTF-16.
_SUSPICIOUS = (ARGUMENT.encode(), b"\\u", b"\0")
_LARGEST = 64 << 20  # bytes of a body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def checked_mark(arguments: Mapping[str, Any] | None) -> str | None:
    """The mark id among the extra arguments of a request.

    Raises:
        ValueError: if it has another form.
    """
    mark = (arguments or {}).get(ARGUMENT)
    if mark is not None and not (isinstance(mark, str) and is_mark(mark)):
        raise ValueError(f"{ARGUMENT} is not a mark id")
    return mark


class MarkRequests:
    """The middleware.

    Args:
        app: the ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        marks = [value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER]
        mark = marks[0] if len(marks) == 1 and is_mark(marks[0]) else None
        body, last = await _body(receive)
        changed = _with_mark(body, mark) if last is None else body
        if changed is not body:
            length = (b"content-length", str(len(changed)).encode())
            others = [each for each in scope["headers"] if each[0] != length[0]]
            scope = {**scope, "headers": [*others, length]}
        pending = [last or {"type": "http.request", "body": changed, "more_body": False}]

        async def received() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, received, send)


async def _body(receive: Receive) -> tuple[bytes, Message | None]:
    """The body; the message to pass on instead if the client is gone or the body is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"", message
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _LARGEST:
            return b"", {"type": "http.disconnect"}
        if not message.get("more_body", False):
            return b"".join(parts), None


def _with_mark(body: bytes, mark: str | None) -> bytes:
    """The body with this mark and no other; the same object if there is nothing to change."""
    if mark is None and not any(each in body for each in _SUSPICIOUS):
        return body
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return body  # the server rejects it as well
    if not isinstance(record, dict):
        return body
    given = record.get(_ARGUMENTS)
    arguments = dict(given) if isinstance(given, dict) else {}
    if mark is None and ARGUMENT not in arguments:
        return body
    arguments.pop(ARGUMENT, None)
    if mark is not None:
        arguments[ARGUMENT] = mark
    record[_ARGUMENTS] = arguments
    return json.dumps(record).encode()

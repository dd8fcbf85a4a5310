"""What a request and its response say, collected while they stream through a gateway in Python."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from monitor.requests.parsing.json_text import JSONError, parse, repair

_MOST_BODY = 8 << 20  # bytes of a request that are kept; the rest of a larger body is not read
_TAIL = 16 << 10  # bytes of a response that are kept, to find its token counts
_USAGE = re.compile(rb'"(?:usage|usageMetadata)"\s*:\s*(?=\{)')
_EVENT = re.compile(rb"^data:(?!\s*\[DONE\])", re.MULTILINE)
_decoder = msgspec.json.Decoder(dict[str, Any])


class Exchange:
    """One request and its response.

    Attributes:
        status: of the response; 499 if the client was gone before there was one.
    """

    def __init__(self) -> None:
        self.status = 499
        self._started = time.monotonic()
        self._body: list[bytes] = []
        self._size = 0
        self._tail = b""
        self._events = 0
        self._readable = False
        self._streams = False

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size + len(self._tail)

    def received(self, body: bytes) -> None:
        """Keep a part of the request's body."""
        if body and self._size < _MOST_BODY:
            kept = body[: _MOST_BODY - self._size]
            self._body.append(kept)
            self._size += len(kept)

    def begun(self, status: int, content_type: bytes, encoded: bool) -> None:
        """Note the start of the response. `encoded`: it is compressed."""
        self.status = status
        self._streams = content_type.startswith(b"text/event-stream")
        self._readable = not encoded and (self._streams or b"json" in content_type)

    def sent(self, body: bytes) -> None:
        """Keep the end of the response's body."""
        if self._readable and body:
            if self._streams:
                self._events += len(_EVENT.findall(body))
            self._tail = (self._tail + body)[-_TAIL:]

    def record(self) -> dict[str, Any]:
        """The record that a gateway would log, without the caller: see the preset `openai`."""
        return {
            "end_time": time.time(),
            "status_code": self.status,
            "latency_ms": 1000.0 * (time.monotonic() - self._started),
        }

    def bodies(self) -> dict[str, Any]:
        """The request's body and the token counts of the response. Parses: call it in a thread."""
        usage = self._usage()
        if usage is None and self._events:  # most servers send one event per token
            usage = {"completion_tokens": self._events}
        return {"request": _parsed(b"".join(self._body)), "response": {"usage": usage}}

    def _usage(self) -> Any:
        """The token counts of the response, which stand at its end; `None` if it has none."""
        for found in reversed(list(_USAGE.finditer(self._tail))):
            end = self._tail.find(b"\n", found.end())
            text = self._tail[found.end() : end if end > 0 else len(self._tail)]
            usage = _first_object(text)
            if usage:
                return usage
        return None


def _first_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object at the beginning of a text, which may go on after it."""
    depth = 0
    for at, byte in enumerate(text):
        depth += (byte == ord("{")) - (byte == ord("}"))
        if depth == 0:
            try:
                return _decoder.decode(text[: at + 1])
            except msgspec.MsgspecError:
                return None
    return None


def _parsed(body: bytes) -> Any:
    """The JSON of a body, also if it is cut off or damaged; `None` if it is no JSON."""
    try:
        return parse(body)
    except (JSONError, RecursionError):
        pass
    try:
        return repair(body)
    except (JSONError, RecursionError):
        return None

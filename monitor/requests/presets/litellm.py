"""LiteLLM's pass-through endpoints: the logged message is the client's whole request body."""

from __future__ import annotations

from collections import Counter
from typing import Any

from monitor.requests.parsing.json_text import parse_text


def open_pass_through(document: dict[str, Any], _: Counter[str]) -> list[dict[str, Any]]:
    """The record, with the body of a pass-through request as `passed_body`.

    LiteLLM writes the body as JSON into the content of a single message. The type of call, which
    the client cannot choose, tells such a record from a message whose text happens to be JSON.
    """
    call = document.get("call_type")
    messages = document.get("messages")
    if type(call) is not str or "pass" not in call or "through" not in call:
        return [document]
    if type(messages) is list and len(messages) == 1 and type(messages[0]) is dict:
        messages = messages[0].get("content")
    body = parse_text(messages) if type(messages) is str else messages
    if type(body) is not dict:
        return [document]
    return [{**document, "messages": None, "passed_body": body}]

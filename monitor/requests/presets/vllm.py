"""vLLM's log of requests: text lines, whose prompt and parameters are read here."""

from __future__ import annotations

import re
from ast import literal_eval
from collections import Counter
from typing import Any

_REQUEST = re.compile(
    r"Received request (?P<id>\S+): prompt: "
    r"(?P<prompt>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|None), params: \w+\((?P<params>.*)",
    re.DOTALL,
)
_LINE = ("message", "msg", "log")
_PARAMETER = re.compile(r"\b(n|temperature|max_tokens|logprobs)=(-?[\d.]+)")


def read_log_line(record: dict[str, Any], ignored: Counter[str]) -> list[Any]:
    """The request in a log record, with the fields `request_id`, `prompt` and `params`.

    Returns:
        Nothing if its line is not about a received request; the record itself if it has no line.
    """
    line = next((record[name] for name in _LINE if type(record.get(name)) is str), None)
    if line is None:
        return [record]
    found = _REQUEST.search(line)
    if found is None:
        ignored["other_type"] += 1
        return []
    try:
        prompt = literal_eval(found["prompt"])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        prompt = found["prompt"][1:-1]
    params = dict(reversed(_PARAMETER.findall(found["params"])))  # the first of each name
    return [{**record, "request_id": found["id"], "prompt": prompt, "params": params}]

"""Presets: the mapping tables that ship with the package, one TOML file for each format.

A file is a table as an operator would write it under `[mapping]` (`monitor/requests/mappings.py`).
Formats that a table cannot describe have code as well: it makes the records of a document that
`root` and `each` led to, and may add fields to them. It counts what is no record, by reason.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monitor.requests.presets import otel
from monitor.requests.presets.bedrock import split_session
from monitor.requests.presets.litellm import open_pass_through
from monitor.requests.presets.vllm import read_log_line

_FOLDER = Path(__file__).parent

NAMES = ("native", *sorted({file.stem for file in _FOLDER.glob("*.toml")} - {"native"}))
BINARY = {"otel-genai": otel.decode_binary}  # read values that are no JSON

Prepare = Callable[[dict[str, Any], Counter[str]], list[Any]]

_CODE: dict[str, Prepare] = {
    "bedrock": split_session,
    "litellm": open_pass_through,
    "litellm-spendlogs": open_pass_through,
    "vllm": read_log_line,
}


def code(preset: str, own: Mapping[str, Any], table: Mapping[str, Any]) -> Prepare | None:
    """The code of a preset.

    Args:
        preset: its name.
        own: what the operator maps.
        table: the whole mapping.
    """
    if preset == "otel-genai":
        return otel.ModelCalls(own, table)
    return _CODE.get(preset)


def load(name: str) -> dict[str, Any]:
    """The mapping table of a preset."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))

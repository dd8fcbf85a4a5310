"""Presets: the mapping tables that ship with the package, one TOML file for each format.

A file is a table as an operator would write it under `[mapping]` (`monitor/requests/mappings.py`).
Formats that a table cannot describe have a function as well: it makes the records of a document
that `root` and `each` led to, and may add fields to them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitor.requests.presets.litellm import open_pass_through
from monitor.requests.presets.otel import model_calls
from monitor.requests.presets.vllm import read_log_line

_FOLDER = Path(__file__).parent

NAMES = ("native", *sorted({file.stem for file in _FOLDER.glob("*.toml")} - {"native"}))

CODE: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "litellm": open_pass_through,
    "litellm-spendlogs": open_pass_through,
    "otel-genai": model_calls,
    "vllm": read_log_line,
}


def load(name: str) -> dict[str, Any]:
    """The mapping table of a preset."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))

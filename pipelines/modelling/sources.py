"""Where the data that the models were learned from come from, as their files state."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from monitor.config import Settings


class _Notes(msgspec.Struct):
    source: str = msgspec.field(name="from", default="unknown")
    sources: list[str] = []


def data_seen(settings: Settings) -> dict[str, str]:
    """The sources of the models and of the baseline that the settings name."""
    files: dict[str, tuple[Path | None, Any]] = {
        "content model": (settings.content, ("monitor.prompts", "content.json")),
        "baseline": (settings.reference, ("monitor.records", "reference.json")),
        "task model": (settings.tasks, ("monitor.records.harvest", "tasks.json")),
    }
    return {
        name: _source(resources.files(room).joinpath(shipped) if file is None else file)
        for name, (file, (room, shipped)) in files.items()
    }


def _source(file: Any) -> str:
    notes = msgspec.json.decode(file.read_bytes(), type=_Notes)
    return f"{notes.source}: {', '.join(notes.sources)}" if notes.sources else notes.source

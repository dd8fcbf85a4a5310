"""Reading files of requests in tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from monitor.errors import InputError
from pipelines.traffic.files import LineFile

Rows = list[dict[str, Any]]
ROWS: Rows = [{"ts": 1_772_040_000 + i, "api_key": f"k{i % 3}", "id": str(i)} for i in range(9)]

reuse_path = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)


def read(path: Path, **options: Any) -> list[bytes]:
    with LineFile(path, **options) as file:
        return [each for batch in file.batches() for each in batch if each.strip()]


def read_to_damage(path: Path) -> tuple[list[bytes], str]:
    """The elements before the damage, and the error."""
    found: list[bytes] = []
    try:
        with LineFile(path) as file:
            for batch in file.batches():
                found += batch
    except InputError as error:
        return found, str(error)
    pytest.fail("no error")


def parsed(found: list[bytes]) -> Rows:
    return [json.loads(each) for each in found]

"""The layout: imports run downward, rooms and files stay small."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("monitor", "pipelines")
ROOM_FILES, FILE_LINES = 13, 400


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the import contracts of a checkout."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_import_contracts_hold(checkout: Path) -> None:
    result = lint_imports(checkout)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("monitor/sketches/habits.py", "monitor.engine"),
        ("monitor/detectors/burst.py", "pipelines.traffic.files"),
        ("pipelines/traffic/files.py", "pipelines.show.style"),
        ("pipelines/inspect/keys.py", "rich"),
    ],
)
def test_import_contracts_reject_upward_import(checkout: Path, module: str, imported: str) -> None:
    file = checkout / module
    file.write_text(f"{file.read_text()}\nimport {imported}  # noqa: F401\n")
    result = lint_imports(checkout)
    assert result.returncode == 1
    assert "BROKEN" in result.stdout


def test_import_contracts_reject_circle(checkout: Path) -> None:
    file = checkout / "monitor/store/base.py"
    file.write_text(f"{file.read_text()}\nimport monitor.store.memory  # noqa: F401\n")
    result = lint_imports(checkout)
    assert result.returncode == 1
    assert "no import circles BROKEN" in result.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_and_files_stay_small(package: str) -> None:
    rooms: dict[Path, int] = {}
    for file in (ROOT / package).rglob("*.py"):
        if file.name != "__init__.py":
            rooms[file.parent] = rooms.get(file.parent, 0) + 1
        assert len(file.read_text().splitlines()) <= FILE_LINES, file
    assert {room: count for room, count in rooms.items() if count > ROOM_FILES} == {}

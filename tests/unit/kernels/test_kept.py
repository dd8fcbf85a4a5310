from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.kernels import kept as module
from monitor.kernels.kept import kept


class Table(NamedTuple):
    values: bytes
    names: dict[int, str]


TABLE = Table(b"\x01\x02", {3: "three"})


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(module, "packaged_folder", lambda: tmp_path / "packaged")
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path


def unmade() -> Table:
    raise AssertionError("made again")


def test_table_is_made_once():
    assert kept("table", b"data", Table, lambda: TABLE) == TABLE
    assert kept("table", b"data", Table, unmade) == TABLE


def test_table_of_other_data_is_made():
    kept("table", b"data", Table, lambda: TABLE)
    other = TABLE._replace(values=b"")
    assert kept("table", b"other data", Table, lambda: other) == other


def test_damaged_file_is_made_again(folder: Path):
    kept("table", b"data", Table, lambda: TABLE)
    (file,) = folder.glob("table-*")
    file.write_bytes(file.read_bytes()[:-3])
    assert kept("table", b"data", Table, lambda: TABLE) == TABLE
    assert kept("table", b"data", Table, unmade) == TABLE


def test_table_is_made_where_no_file_can_be_written(folder: Path):
    folder.rmdir()
    assert kept("table", b"data", Table, lambda: TABLE) == TABLE

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.kernels import expressions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(expressions, "cache_folder", lambda: tmp_path)
    return tmp_path


def matches(patterns: list[str], text: bytes) -> list[int]:
    """The indices of the patterns that match."""
    found: list[int] = []
    expressions.database(patterns).scan(
        text, match_event_handler=lambda index, *_: found.append(index)
    )
    return found


def test_cached_database_matches_as_the_compiled_one(folder: Path) -> None:
    for _ in range(2):
        assert matches(["red", r"black\s+ink", "blue"], b"Blue and Black  ink") == [2, 1]
        assert len(list(folder.iterdir())) == 1


def test_other_expressions_have_a_file_of_their_own(folder: Path) -> None:
    assert matches(["red"], b"red") == matches(["blue"], b"blue") == [0]
    assert len(list(folder.iterdir())) == 2


def test_damaged_file_is_replaced(folder: Path) -> None:
    matches(["red"], b"")
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole[:200] + b"?" + whole[201:]):
        file.write_bytes(damaged)
        assert matches(["red"], b"Red") == [0]
        assert file.read_bytes() == whole


def test_folder_that_cannot_be_written_is_not_needed(folder: Path) -> None:
    folder.rmdir()
    assert matches(["red"], b"red") == [0]

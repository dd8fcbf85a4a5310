"""`xm simulate`: when the traffic starts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.support.commands import Xm


@pytest.mark.parametrize(
    ("start", "seconds"), [("now", 0), ("-2h", -7200), ("2026-03-02T00:00:00Z", None)]
)
def test_simulate_starts_when_asked(xm: Xm, tmp_path: Path, start: str, seconds: int) -> None:
    now = time.time()
    ended = xm("simulate", tmp_path / "a.jsonl", "--hours", 0.1, "--keys", 60, "--start", start)
    assert ended.status == 0
    first = json.loads((tmp_path / "a.jsonl").read_text().partition("\n")[0])["ts"]
    wanted = 1_772_409_600 if seconds is None else now + seconds
    assert wanted <= first < wanted + 120


def test_simulate_rejects_a_start_of_another_form(xm: Xm, tmp_path: Path) -> None:
    ended = xm("simulate", tmp_path / "a.jsonl", "--start", "yesterday")
    assert (ended.status, "write now, -2h" in ended.error) == (2, True)

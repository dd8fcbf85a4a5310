from __future__ import annotations

import pytest

from tests.benchmarks.publish import published

PAGE = "before\n<!-- speed.a -->\n<!-- end -->\nmiddle\n<!-- speed.a --day -->\nold\n<!-- end -->\n"
OUTPUT = "a 1/s\n\n2026-11-28, x86_64: `python -m tests.benchmarks.speed.a {}`\n\n| 1 |\n"


def test_published_replaces_block_of_command():
    page = published(PAGE, OUTPUT.format("--day /data/day.jsonl"))
    assert page.endswith(
        "<!-- speed.a --day -->\n"
        "2026-11-28, x86_64: `python -m tests.benchmarks.speed.a --day day.jsonl`\n\n| 1 |\n"
        "<!-- end -->\n"
    )
    assert published(page, OUTPUT.format("--day /data/day.jsonl")) == page


def test_published_prefers_marker_with_most_words():
    assert published(PAGE, OUTPUT.format("--keys 3")).endswith("old\n<!-- end -->\n")


@pytest.mark.parametrize("output", ["Traceback", OUTPUT.format("").replace("speed.a", "speed.b")])
def test_published_rejects_output_without_place(output: str):
    with pytest.raises(ValueError, match="no "):
        published(PAGE, output)

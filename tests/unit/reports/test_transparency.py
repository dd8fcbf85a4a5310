"""The transparency report: the figures, their sources, nothing else."""

from __future__ import annotations

import pytest

from pipelines.cases.review.figures import Figure, FigureTable, Transparency
from pipelines.reports.transparency import transparency_document, transparency_report

FIGURES = Transparency(
    1_767_225_600.0,
    1_775_001_600.0,
    [
        FigureTable(
            "Cases",
            [
                Figure("Cases opened", 1_234, "count", "1,234", "entries of cases"),
                Figure(
                    "Cases about <b>groups</b>", None, "count", "fewer than 5", "entries of cases"
                ),
            ],
        ),
        FigureTable("Alerts withdrawn", [Figure("By a person", 7, "count", "7", "audit")]),
        FigureTable("Nothing counted", []),
    ],
    ["Cases before 2026-02-01 are on the topic only."],
)


def test_every_figure_has_a_source() -> None:
    document = transparency_document(FIGURES)
    assert [(each.number, each.what) for each in document.sources] == [
        (1, "entries of cases"),
        (2, "audit"),
    ]
    assert not document.has_digests


def test_markdown_prints_figures_with_sources_in_tables() -> None:
    text = transparency_report(FIGURES, "md").decode()
    assert "2026-01-01 to 2026-03-31, days in UTC." in text
    assert "| Cases opened | 1,234 | \\[1\\] |" in text
    assert "| Cases about &lt;b&gt;groups&lt;/b&gt; | fewer than 5 | \\[1\\] |" in text
    assert "| No. | Source |\n|---|---|\n| \\[1\\] | entries of cases |\n" in text


@pytest.mark.parametrize("kind", ["html", "pdf"])
def test_empty_period_gives_a_report(kind: str) -> None:
    assert transparency_report(Transparency(1.0, 2.0, []), kind)

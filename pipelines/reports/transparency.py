"""The transparency report: counts of a period, nothing personal."""

from __future__ import annotations

from pipelines.cases.review.figures import FigureTable, Transparency
from pipelines.reports import render, words
from pipelines.reports.blocks import (
    Block,
    Column,
    Document,
    Items,
    Row,
    Section,
    Source,
    Table,
    Text,
)

_METHOD = "A number in brackets names what a figure was counted from."
_NOBODY = (
    "The report contains counts only. It names no customer, no key, no case and no employee. A "
    "count that is small enough to point at somebody is not printed in full."
)


def transparency_document(figures: Transparency) -> Document:
    """The report on a period."""
    names = dict.fromkeys(row.source for table in figures.tables for row in table.rows)
    numbers = {name: number for number, name in enumerate(names, 1)}
    sections = [Section(table.title, [_table(table, numbers)]) for table in figures.tables]
    about: list[Block] = [Text(_NOBODY)]
    if figures.notes:
        about.append(Items([Text(each) for each in figures.notes]))
    sections.append(Section("About these figures", about))
    period = f"{words.day(figures.since)} to {words.day(figures.until - 1.0)}, days in UTC"
    return Document(
        title="Transparency report",
        subject=f"{period}.",
        sections=sections,
        sources=[Source(number, name, "") for name, number in numbers.items()],
        method=_METHOD,
        confidential=False,
    )


def _table(table: FigureTable, numbers: dict[str, int]) -> Block:
    """The figures of a table, with the numbers of their sources."""
    if not table.rows:
        return Text("Nothing was counted.")
    rows = [Row([row.label, row.text], (numbers[row.source],)) for row in table.rows]
    return Table([Column("Figure", 64), Column("Count", 26, right=True)], rows)


def transparency_report(figures: Transparency, kind: str) -> bytes:
    """The report as `md`, `html` or `pdf`."""
    document = transparency_document(figures)
    if kind == "md":
        return render.markdown(document).encode()
    page = render.html(document)
    return render.pdf(page) if kind == "pdf" else page.encode()

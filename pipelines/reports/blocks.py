"""The parts of a document. HTML, PDF and Markdown are rendered from the same parts.

Every part that states a number names its sources: the numbers of the case's entries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

Sources = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph, or a row of a list."""

    kind: ClassVar[str] = "text"
    text: str
    sources: Sources = ()


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"
    rows: list[Text]


@dataclass(frozen=True, slots=True)
class Pair:
    """A value with its name, and what it means beside it."""

    label: str
    value: str
    sources: Sources = ()
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Values with their names."""

    kind: ClassVar[str] = "pairs"
    rows: list[Pair]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        share: of the table's width, in percent.
        right: whether its cells are aligned right, as numbers are.
        code: whether its cells are identifiers.
    """

    name: str
    share: int
    right: bool = False
    code: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    cells: list[str]
    sources: Sources = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table. A last column shows the sources of each row."""

    kind: ClassVar[str] = "table"
    columns: list[Column]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody wrote, word for word."""

    kind: ClassVar[str] = "quote"
    text: str
    by: str
    sources: Sources = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as SVG, with the sentence below it."""

    kind: ClassVar[str] = "picture"
    svg: str
    caption: str
    sources: Sources = ()


Block = Text | Items | Pairs | Table | Quote | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document under its own heading.

    Attributes:
        wide: whether it is printed on pages in landscape.
    """

    title: str
    blocks: list[Block]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """An entry of the case that the document cites, and its SHA-256; empty for other sources."""

    number: int
    what: str
    digest: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    Attributes:
        subject: the line below the title, and where it is from.
        warning: what a reader has to know before anything else; empty without.
        method: how sources are cited, for the section on them.
        confidential: whether each page says so.
    """

    title: str
    subject: str
    sections: list[Section]
    sources: list[Source]
    subject_sources: Sources = ()
    warning: str = ""
    method: str = ""
    confidential: bool = True

    @property
    def has_digests(self) -> bool:
        """Whether the sources are entries of a case."""
        return any(source.digest for source in self.sources)


def cited(sections: list[Section]) -> set[int]:
    """The numbers of all entries that sections cite."""
    found: set[int] = set()
    for section in sections:
        for block in section.blocks:
            match block:
                case Text() | Quote() | Picture():
                    found.update(block.sources)
                case Items() | Pairs() | Table():
                    for row in block.rows:
                        found.update(row.sources)
    return found


def shortened(document: Document, most: int, where: str) -> Document:
    """A document whose tables have at most `most` rows each.

    Args:
        where: where the other rows are, for the sentence below a table.
    """
    sections = []
    for section in document.sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Table) and len(block.rows) > most:
                rest = f"{len(block.rows) - most:,} more rows are in {where}."
                cited_by = block.rows[most].sources
                blocks += [replace(block, rows=block.rows[:most]), Text(rest, cited_by)]
            else:
                blocks.append(block)
        sections.append(replace(section, blocks=blocks))
    return replace(document, sections=sections)

"""Read tables as requests: one JSON object per row, with the names of the columns.

CSV and TSV need a header row. A cell that is empty is left out; one that holds JSON stays a string
that holds JSON, which mappings and messages are read through. Parquet, Arrow and Avro keep their
types; bytes in them are text.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib.util import find_spec
from math import isfinite
from typing import IO, Any

import msgspec

from monitor.errors import ConfigError
from monitor.requests.framing.elements import MAX_BYTES
from pipelines.traffic.elements import BATCH, Elements
from pipelines.traffic.unpack import Chunks, DamagedError, Member

_DELIMITERS = ",\t;|"
_NAME = re.compile(r"[A-Za-z_@$](?:[\w .@$/()\[\]-]|:(?! )){0,127}", re.ASCII)
_ENCODE = msgspec.json.Encoder().encode


# CSV


def delimiter_of(head: bytes) -> str | None:
    """The delimiter of a table by its header row; `None` if the text is no table.

    A single column is a table only if its first cell is quoted JSON.
    """
    if head.lstrip()[:1] in (b"{", b"[", b"\x1e"):
        return None
    header, _, rest = head.decode("utf-8", "replace").lstrip("\r\n").partition("\n")
    best, columns = None, 1
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([header], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        if len(names) > columns and _are_names(names):
            best, columns = delimiter, len(names)
    if best is None and rest.startswith('"{""') and _are_names([header.strip('\r"')]):
        return ","
    return best


def _are_names(names: Sequence[str]) -> bool:
    names = [name.strip() for name in names]
    return all(map(_NAME.fullmatch, names)) and len({*map(str.lower, names)}) == len(names)


def csv_elements(
    head: bytes, chunks: Chunks, delimiter: str, max_elements: int = BATCH
) -> Iterator[Elements]:
    """The rows of a table in UTF-8, each as a JSON object.

    A row with more cells than the header has, as a delimiter without quotes makes it, is handed on
    as a JSON string: the decoder rejects it, and its cells are not read as those beside them.

    Args:
        head: the beginning of the text; it tells whether quotes in cells are doubled or escaped.

    Raises:
        DamagedError: quotes are not as in RFC 4180, or the last one has no end.
    """
    csv.field_size_limit(MAX_BYTES)
    escaped = b'\\"' in head and b'""' not in head
    rows = csv.reader(
        _text_lines(chunks),
        delimiter=delimiter,
        strict=True,
        doublequote=not escaped,
        escapechar="\\" if escaped else None,
    )
    names = [name.strip() for name in next(rows, [])]
    values: list[bytes] = []
    lines: list[int] = []
    begin = rows.line_num + 1
    try:
        for row in rows:
            if len(row) > len(names):
                values.append(_ENCODE(delimiter.join(row)))
            elif row:
                cells = zip(names, row, strict=False)
                values.append(_ENCODE({name: cell for name, cell in cells if cell != ""}))
            if len(lines) < len(values):
                lines.append(begin)
            begin = rows.line_num + 1
            if len(values) >= max_elements:
                yield Elements(values, lines)
                values, lines = [], []
    except csv.Error as error:
        if values:
            yield Elements(values, lines)
        raise DamagedError(f"row that begins on line {begin} is no CSV ({error})") from error
    if values:
        yield Elements(values, lines)


def _text_lines(chunks: Chunks) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    open_line = ""
    for chunk in chunks:
        *lines, open_line = (open_line + decoder.decode(chunk)).split("\n")
        for line in lines:
            yield line + "\n"
    if open_line:
        yield open_line


# Columnar files

_PARQUET, _ARROW, _AVRO = COLUMNAR = (b"PAR1", b"ARROW1", b"Obj\x01")


def table_elements(member: Member, head: bytes) -> tuple[str, Iterator[Elements]] | None:
    """The format and rows of a Parquet, Arrow or Avro file; `None` if the data is none of them.

    Raises:
        ConfigError: the extra that reads it is not installed.
        DamagedError: later; the file cannot be read to its end.
    """
    if head.startswith((_PARQUET, _ARROW)):
        _require("pyarrow", "parquet", member.name)
        parquet = head.startswith(_PARQUET)
        rows = _numbered(_arrow_rows(member.seekable(), parquet=parquet))
        return "Parquet" if parquet else "Arrow", rows
    if head.startswith(_AVRO):
        _require("fastavro", "avro", member.name)
        return "Avro", _numbered(_avro_rows(member.seekable()))
    return None


def _require(package: str, extra: str, name: str) -> None:
    if not find_spec(package):
        raise ConfigError(
            f"{name} needs the extra `{extra}` to be read. Install it with "
            f"`pip install 'extraction-monitor[{extra}]'`."
        )


def _numbered(batches: Iterator[list[dict[str, Any]]]) -> Iterator[Elements]:
    number = 1
    for rows in batches:
        values = [_ENCODE({name: _plain(cell) for name, cell in row.items()}) for row in rows]
        yield Elements(values, range(number, number + len(values)))
        number += len(values)


def _arrow_rows(file: IO[bytes], *, parquet: bool) -> Iterator[list[dict[str, Any]]]:
    import pyarrow
    from pyarrow import ipc
    from pyarrow import parquet as pq

    try:
        if parquet:
            batches = pq.ParquetFile(file, coerce_int96_timestamp_unit="us").iter_batches(BATCH)
        else:
            reader = ipc.open_file(file)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        for batch in batches:
            table = pyarrow.Table.from_batches([batch])
            yield table.cast(_microseconds(batch.schema), safe=False).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DamagedError("table is damaged or cut off") from error


def _microseconds(schema: Any) -> Any:
    """The schema with times in microseconds, which Python's have."""
    import pyarrow

    for at, column in enumerate(schema):
        if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            schema = schema.set(at, column.with_type(pyarrow.timestamp("us", column.type.tz)))
    return schema


def _avro_rows(file: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    import fastavro

    rows: list[dict[str, Any]] = []
    try:
        for row in fastavro.reader(file):
            rows.append(row if type(row) is dict else {"value": row})
            if len(rows) == BATCH:
                yield rows
                rows = []
    except (ValueError, EOFError, OSError, KeyError, IndexError) as error:
        if rows:
            yield rows
        raise DamagedError("Avro file is damaged or cut off") from error
    if rows:
        yield rows


def _plain(cell: Any) -> Any:
    """A cell as JSON has it: bytes as text, decimals as numbers, a map's pairs as an object."""
    kind = type(cell)
    if kind is bytes:
        return cell.decode("utf-8", "replace")
    if kind is dict:
        return {str(name): _plain(each) for name, each in cell.items()}
    if kind is list:
        if cell and all(type(pair) is tuple and len(pair) == 2 for pair in cell):
            return {str(name): _plain(each) for name, each in cell}
        return [_plain(each) for each in cell]
    if kind is Decimal:
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    if kind is float and not isfinite(cell):
        return None
    if kind is timedelta:
        return cell.total_seconds()
    if cell is None or kind in (str, int, float, bool, datetime, date, time):
        return cell
    return str(cell)

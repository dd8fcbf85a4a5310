"""CSV and columnar files: what is written is what is read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc
from pyarrow import parquet as pq

from monitor.errors import ConfigError, InputError
from monitor.requests.decoder import Decoder
from pipelines.traffic import tables
from pipelines.traffic.files import LineFile
from tests.support.files import ROWS, Rows, parsed, read, reuse_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests"


# CSV


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@reuse_path
@given(
    cells=st.lists(
        st.tuples(
            *[st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)] * 2
        ),
        min_size=1,
        max_size=6,
    ),
    size=st.integers(1, 60),
)
def test_csv_reads_what_was_written(
    path: Path, delimiter: str, cells: list[tuple[str, str]], size: int
) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow(["ts", "api_key", "gen_ai.prompt"])
        writer.writerows((1, *row) for row in cells)
    rows = [{"ts": "1", "api_key": key, "gen_ai.prompt": prompt} for key, prompt in cells]
    expected = [{name: cell for name, cell in row.items() if cell} for row in rows]
    assert parsed(read(path, chunk_size=size)) == expected


def test_csv_cell_with_messages_is_read(path: Path) -> None:
    messages = json.dumps([{"role": "user", "content": 'Say "hi",\nplease'}])
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([["ts", "api_key", "messages"], [1_772_040_000, "k", messages]])
    event = Decoder().decode(read(path), 2e9).events[0]
    assert (event.ts, event.prompt) == (1_772_040_000.0, 'Say "hi",\nplease')


def test_csv_of_one_column_holds_json(path: Path) -> None:
    path.write_text('message\n"{""ts"": 1}"\n')
    assert parsed(read(path)) == [{"message": '{"ts": 1}'}]


def test_csv_row_with_more_cells_than_names_is_rejected(path: Path) -> None:
    path.write_text("ts,prompt,api_key\n1772040000,Hello, you,k\n1772040000,Hi,k\n")
    decoded = Decoder().decode(read(path), 2e9)
    assert [event.prompt for event in decoded.events] == ["Hi"]
    assert len(decoded.rejections) == 1


def test_csv_with_escaped_quotes_is_read(path: Path) -> None:
    path.write_text('ts,prompt\n1,"Say \\"hi\\", please"\n')
    assert parsed(read(path)) == [{"ts": "1", "prompt": 'Say "hi", please'}]


def test_csv_line_counts_newlines_in_cells(path: Path) -> None:
    path.write_text('ts,api_key\n1,"a\nb"\n2,c\n')
    with LineFile(path) as file:
        list(file.batches())
        assert list(file.numbers) == [2, 4]


@pytest.mark.parametrize("line", ["hello", "Nov 27 10:00:00 gw app[1]: x, y", "1,2", "a,,b", "a,a"])
def test_text_that_is_no_table_is_lines(path: Path, line: str) -> None:
    path.write_text(f"{line}\nx\n")
    assert read(path) == [line.encode(), b"x"]


# Columnar files


def arrow(rows: Rows) -> pa.Table:
    return pa.Table.from_pylist(rows)


def test_parquet_reads_what_was_written(path: Path) -> None:
    rows = [
        {"ts": float(i), "api_key": "k", "n": i, "meta": {"user": ["a", None]}}
        for i in range(5_000)
    ]
    pq.write_table(arrow(rows), path, compression="zstd")
    with LineFile(path) as file:
        assert parsed([x for batch in file.batches() for x in batch]) == rows
        assert f"{file.origin} {file.numbers[-1]}" == f"{path}, row 5000"
        assert (file.format, file.size) == ("Parquet", path.stat().st_size)


def test_parquet_keeps_times_maps_and_bytes(path: Path) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 0, 250_000, UTC)
    table = pa.table(
        {
            "ts": pa.array([round(moment.timestamp() * 1e6) * 1_000 + 7]).cast(
                pa.timestamp("ns", "UTC")
            ),
            "api_key": pa.array([b"sk-1"]),
            "attributes": pa.array([[("a", "1")]], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, path)
    (row,) = parsed(read(path))
    assert row["api_key"] == "sk-1"
    assert row["attributes"] == {"a": "1"}
    assert Decoder().decode(read(path), 2e9).events[0].ts == moment.timestamp()


def test_parquet_is_read_from_archives_and_pipes(path: Path) -> None:
    out = io.BytesIO()
    pq.write_table(arrow(ROWS), out)
    path.write_bytes(gzip.compress(out.getvalue()))
    assert parsed(read(path)) == ROWS


def test_arrow_file_is_read(path: Path) -> None:
    with path.open("wb") as out, ipc.new_file(out, arrow(ROWS).schema) as writer:
        writer.write_table(arrow(ROWS))
    assert parsed(read(path)) == ROWS


def test_avro_container_is_read(path: Path) -> None:
    schema = {
        "type": "record",
        "name": "Event",
        "fields": [{"name": "Body", "type": "bytes"}, {"name": "Offset", "type": "long"}],
    }
    with path.open("wb") as out:
        fastavro.writer(out, schema, [{"Body": b'{"ts": 1}', "Offset": 5}])
    assert parsed(read(path)) == [{"Body": '{"ts": 1}', "Offset": 5}]


@pytest.mark.parametrize(
    ("magic", "extra"), [(b"PAR1", "parquet"), (b"ARROW1", "parquet"), (b"Obj\x01", "avro")]
)
def test_table_without_its_extra_names_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, magic: bytes, extra: str
) -> None:
    path.write_bytes(magic + bytes(20))
    monkeypatch.setattr(tables, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"extraction-monitor\[{extra}\]"):
        read(path)


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.99])
def test_cut_off_parquet_is_named(path: Path, cut: float) -> None:
    out = io.BytesIO()
    pq.write_table(arrow(ROWS), out)
    path.write_bytes(out.getvalue()[: int(cut * len(out.getvalue()))])
    with pytest.raises(InputError, match="damaged or cut off"):
        read(path)

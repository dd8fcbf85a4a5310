"""Read recorded requests as they are, in batches of elements. The content decides the format.

A file is plain or packed (`unpack.py`), and holds JSON (`elements.py`) or a table (`tables.py`).
Memory is bounded by one read and one element. No data is dropped silently: damaged data yields the
elements before the damage first, and then raises `InputError` with its place.
"""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from io import FileIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast

from monitor.errors import InputError
from pipelines.traffic.elements import (
    BATCH,
    Elements,
    encoding_of,
    is_telling,
    json_elements,
    to_utf8,
)
from pipelines.traffic.tables import COLUMNAR, csv_elements, delimiter_of, table_elements
from pipelines.traffic.unpack import PIECE, DamagedError, Member, is_hidden, peek, tells, unpack


class LineFile:
    """A file of requests, one per line or in another format.

    Args:
        path: the file; `-` is stdin.
        opened: what to read instead, with random access. `path` is its name then.
        chunk_size: bytes per read.
        twice: allow `rewind`. What a pipe holds is then copied to a temporary file.

    Attributes:
        name: the path, or "stdin".
        format: what the content was found to be, such as "JSON lines, gzip".
        size: bytes as stored (packed, if the file is); `None` if unknown, as for a pipe.
        lines: elements yielded so far, including blank ones.
        numbers: the line, row or record of each element of the last batch.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        opened: IO[bytes] | None = None,
        chunk_size: int = PIECE,
        twice: bool = False,
    ) -> None:
        self.name = "stdin" if str(path) == "-" else str(path)
        self._file = _open(path) if opened is None else opened
        self.size = _size(self._file)
        self.format = ""
        self.lines = 0
        self.numbers: Sequence[int] = []
        self._chunk_size = chunk_size
        self._member, self._unit = self.name, "line"
        self._read = 0
        copied = twice and self.size is None
        self._copy = TemporaryFile(prefix="xm-") if copied else None  # noqa: SIM115
        self._again: IO[bytes] | None = None

    @property
    def position(self) -> int:
        """Bytes of `size` read so far."""
        if self.size is None:
            return self._read
        return self.size if self._file.closed else self._file.tell()

    @property
    def origin(self) -> str:
        """Where the last batch is from, to be completed with one of `numbers`: "a.csv, line"."""
        return f"{self._member}, {self._unit}"

    def rewind(self) -> None:
        """Read from the beginning again, once."""
        self.lines, self.numbers, self._read = 0, [], 0
        if self._copy is None:
            self._file.seek(0)
        else:
            self._copy.seek(0)
            self._again, self._copy = self._copy, None

    def forget(self) -> None:
        """Keep no copy of what follows: the file is not read again."""
        self._copy = None

    def batches(self, max_lines: int = BATCH) -> Iterator[list[bytes]]:
        """Yield lists of up to `max_lines` elements without newlines, each as soon as it is read.

        Raises:
            InputError: reading fails, or the data is damaged, cut off or in no format that is read.
        """
        stored = self._file if self.size is not None else None
        try:
            for member in unpack(Member(self.name, self._chunks(), stored)):
                self._member, self._unit, self.numbers = member.name, "line", []
                for batch in self._elements(member, max_lines):
                    self.numbers = batch.lines
                    self.lines += len(batch.values)
                    yield batch.values
        except DamagedError as error:
            where = f"after {self._unit} {self.numbers[-1]}" if self.numbers else "at its beginning"
            raise InputError(
                f"Cannot read {self._member} {where}: its {error}. The requests before it were "
                "read. Fetch or write the file again."
            ) from error

    def _elements(self, member: Member, max_lines: int) -> Iterator[Elements]:
        head, rest = peek(member.chunks, _tells_kind)
        member = member._replace(chunks=chain([head], rest))
        if table := table_elements(member, head):
            kind, found = table
            self._unit = "row"
        else:
            if encoding := encoding_of(head):
                rest = to_utf8(member.chunks, encoding)
            elif head:
                rest = chain([head.removeprefix(BOM_UTF8)], rest)
            head, rest = peek(rest, is_telling)
            text = chain([head], rest) if head else rest
            if delimiter := delimiter_of(head):
                kind, found = "CSV", csv_elements(head, text, delimiter, max_lines)
            else:
                kind, found = json_elements(head, text, max_lines)
            kind = f"{kind} in {encoding.upper()}" if encoding else kind
        self.format = ", ".join([kind, *reversed(member.packing)])
        return found

    def _chunks(self) -> Iterator[bytes]:
        try:
            if self._again is not None:
                while chunk := self._again.read(self._chunk_size):
                    yield chunk
            while chunk := self._file.read(self._chunk_size):
                self._read += len(chunk)
                if self._copy is not None:
                    self._copy.write(chunk)
                yield chunk
        except OSError as error:
            raise InputError(
                f"Cannot read {self.name} after line {self.lines}: {error.strerror}. Check the "
                "disk or connection and start again."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: str | Path) -> IO[bytes]:
    """A file, unbuffered: a read from a pipe returns what is there and does not wait for more."""
    try:
        file = FileIO(0, closefd=False) if str(path) == "-" else FileIO(os.fspath(path))
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror}. Name a file of requests, a folder of files, "
            "or - for stdin."
        ) from error
    return cast("IO[bytes]", file)


def _size(file: IO[bytes]) -> int | None:
    """Bytes of a file; `None` for a pipe."""
    if isinstance(file, FileIO):
        status = os.fstat(file.fileno())
        return status.st_size if stat.S_ISREG(status.st_mode) else None
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _tells_kind(head: bytes) -> bool:
    """Whether the beginning of a member tells its encoding, and whether it is a columnar file."""
    wide = head[:1] in (b"\xef", b"\xfe", b"\xff") or b"\0" in head[:2]
    return len(head) >= (8 if wide else 2) and tells(head, COLUMNAR)


def expand(paths: Sequence[str]) -> list[str]:
    """The files that paths name: a folder stands for the files in it, a pattern for its matches.

    Raises:
        InputError: a folder or pattern names no file.
    """
    return [file for path in paths for file in _expand(path)]


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        found = [
            str(file)
            for file in sorted(Path(path).rglob("*"))
            if file.is_file() and not is_hidden(str(file.relative_to(path)))
        ]
    elif os.path.exists(path) or not any(sign in path for sign in "*?["):
        return [path]
    else:
        found = sorted(file for file in glob(path, recursive=True) if os.path.isfile(file))
    if not found:
        raise InputError(f"{path} has no file. Name a file of requests, a folder of files, or -.")
    return found


Progress = Callable[[LineFile], None]  # called after each batch of lines


def no_progress(file: LineFile) -> None:
    """Ignore progress."""

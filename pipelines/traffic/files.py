"""Read request files in batches of lines: files of any size, plain or gzip, or stdin.

The first bytes, not the name, decide whether the data is gzip. Memory is bounded by one read and
one line. No data is dropped silently: a line above the message limit is cut one byte above it, and
the decoder rejects it with a reason; damaged gzip data yields its complete lines first and then
raises `InputError` with the number of the broken line.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from itertools import chain
from pathlib import Path

from monitor.errors import InputError
from monitor.requests.framing.elements import MAX_BYTES

_GZIP = b"\x1f\x8b"


class LineFile:
    """A file of lines.

    Args:
        path: the file; `-` is stdin.
        chunk_size: bytes per read.

    Attributes:
        name: the path, or "stdin".
        size: bytes as stored (compressed, if gzip); `None` if unknown, as for a pipe.
        position: bytes of `size` read so far.
        lines: lines yielded so far, including blank ones.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: str | Path, *, chunk_size: int = 1 << 20) -> None:
        self.name = "stdin" if str(path) == "-" else str(path)
        try:
            # Unbuffered: a read from a pipe returns what is there and does not wait for more.
            self._file = FileIO(0, closefd=False) if str(path) == "-" else FileIO(os.fspath(path))
        except OSError as error:
            raise InputError(
                f"Cannot read {path}: {error.strerror}. Name a file with one request per line, "
                "plain or gzip, or - for stdin."
            ) from error
        status = os.fstat(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.position = 0
        self.lines = 0
        self._chunk_size = chunk_size

    def batches(self, max_lines: int = 2_000) -> Iterator[list[bytes]]:
        """Yield lists of up to `max_lines` lines without newlines, each as soon as it is read.

        Raises:
            InputError: reading fails, or gzip data is damaged or cut off.
        """
        open_line = bytearray()
        for chunk in self._plain():
            first, *others = chunk.split(b"\n")
            open_line += first[: MAX_BYTES + 1 - len(open_line)]
            if others:
                lines = [bytes(open_line), *others]
                open_line = bytearray(lines.pop())
                for start in range(0, len(lines), max_lines):
                    batch = lines[start : start + max_lines]
                    self.lines += len(batch)
                    yield batch
        if open_line:
            self.lines += 1
            yield [bytes(open_line)]

    def _plain(self) -> Iterator[bytes]:
        """The content in pieces of at most `chunk_size` bytes, decompressed if it is gzip."""
        chunks = self._chunks()
        head = b""
        while len(head) < len(_GZIP) and (chunk := next(chunks, b"")):
            head += chunk
        stream = chain([head], chunks)
        return self._decompressed(stream) if head.startswith(_GZIP) else stream

    def _chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self._file.read(self._chunk_size):
                self.position += len(chunk)
                yield chunk
        except OSError as error:
            raise InputError(
                f"Cannot read {self.name} after line {self.lines}: {error.strerror}. Check the "
                "disk or connection and start again."
            ) from error

    def _decompressed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        member = None  # a gzip file may hold several members in a row
        for chunk in chunks:
            data, more = chunk, False
            while data or more:
                if member is None:
                    data = data.lstrip(b"\0")  # some tools pad with zeros
                    if not data:
                        break
                    member = zlib.decompressobj(wbits=31)
                try:
                    plain = member.decompress(data, self._chunk_size)
                except zlib.error as error:
                    raise self._broken("damaged") from error
                yield plain
                if member.eof:
                    data, more, member = member.unused_data, False, None
                else:
                    data, more = member.unconsumed_tail, len(plain) == self._chunk_size
        if member is not None:
            raise self._broken("cut off")

    def _broken(self, how: str) -> InputError:
        return InputError(
            f"The gzip data of {self.name} is {how} in line {self.lines + 1}; all lines before it "
            "were read. Fetch or compress the file again."
        )

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


Progress = Callable[[LineFile], None]  # called after each batch of lines


def no_progress(file: LineFile) -> None:
    """Ignore progress."""

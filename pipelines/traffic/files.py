"""Request files: lines in batches from a file of any size, plain or gzip, or from stdin.

Whether the data is gzip is read from its first bytes, not from its name. Memory is bounded by
one read and one line. Nothing is lost in silence: a line larger than a message may be is cut
where it is just too large, so that decoding rejects it and says why; damaged gzip data delivers
its whole lines first and then raises `InputError` naming the line it breaks off in.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from itertools import chain
from pathlib import Path
from types import TracebackType

from monitor.errors import InputError
from monitor.requests.decoder import LARGEST

_GZIP = b"\x1f\x8b"


class LineFile:
    """A file of lines, or stdin for `-`.

    Attributes:
        name: what messages call the file.
        size: bytes of the file as it is stored, for a progress bar; `None` where nobody knows.
        position: bytes of `size` read so far.
        lines: lines delivered so far, blank ones included.
    """

    def __init__(self, path: str | Path, *, read: int = 1 << 20) -> None:
        self.name = "stdin" if str(path) == "-" else str(path)
        try:
            # Unbuffered: a read returns what a pipe holds now and waits for no more.
            self._file = FileIO(0, closefd=False) if str(path) == "-" else FileIO(os.fspath(path))
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}): name a file of requests, one a line, "
                "plain or gzip, or - for stdin."
            ) from error
        status = os.fstat(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.position = 0
        self.lines = 0
        self._read = read

    def batches(self, most: int = 2_000) -> Iterator[list[bytes]]:
        """Lists of up to `most` lines without their newlines, each as soon as it can be had."""
        open_line = bytearray()
        for chunk in self._plain():
            first, *others = chunk.split(b"\n")
            open_line += first[: LARGEST + 1 - len(open_line)]
            if others:
                lines = [bytes(open_line), *others]
                open_line = bytearray(lines.pop())
                for start in range(0, len(lines), most):
                    batch = lines[start : start + most]
                    self.lines += len(batch)
                    yield batch
        if open_line:
            self.lines += 1
            yield [bytes(open_line)]

    def _plain(self) -> Iterator[bytes]:
        """The content in pieces of at most `read` bytes, unpacked where it is gzip."""
        chunks = self._chunks()
        head = b""
        while len(head) < len(_GZIP) and (chunk := next(chunks, b"")):
            head += chunk
        stream = chain([head], chunks)
        return self._unpacked(stream) if head.startswith(_GZIP) else stream

    def _chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self._file.read(self._read):
                self.position += len(chunk)
                yield chunk
        except OSError as error:
            raise InputError(
                f"{self.name} cannot be read beyond line {self.lines} ({error.strerror}): "
                "see to the disk or connection it comes from and start again."
            ) from error

    def _unpacked(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        member = None  # of the file, which may be several gzip files in a row
        for chunk in chunks:
            data, more = chunk, False
            while data or more:
                if member is None:
                    data = data.lstrip(b"\0")  # some tapes and tools pad with zeros
                    if not data:
                        break
                    member = zlib.decompressobj(wbits=31)
                try:
                    plain = member.decompress(data, self._read)
                except zlib.error as error:
                    raise self._broken("damaged") from error
                yield plain
                if member.eof:
                    data, more, member = member.unused_data, False, None
                else:
                    data, more = member.unconsumed_tail, len(plain) == self._read
        if member is not None:
            raise self._broken("cut off")

    def _broken(self, how: str) -> InputError:
        return InputError(
            f"The gzip data of {self.name} is {how} in line {self.lines + 1}, all lines before "
            "it were read: fetch or pack the file again."
        )

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


Progress = Callable[[LineFile], None]  # called as a file is read, with how far that has come


def no_progress(file: LineFile) -> None:
    """Report nothing."""

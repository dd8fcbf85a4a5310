"""Notices that a file has changed."""

from __future__ import annotations

from pathlib import Path


class Watched:
    """A file, or a link to one that may be replaced by another, as in Kubernetes.

    Args:
        file: must exist.

    Raises:
        OSError: if it cannot be found.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._read()

    def changed(self) -> bool:
        """Whether it has changed since the last call or the start.

        Raises:
            OSError: if it cannot be found.
        """
        before, self._stamp = self._stamp, self._read()
        return before != self._stamp

    def _read(self) -> tuple[int, int, int]:
        found = self._file.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size

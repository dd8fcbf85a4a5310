"""Writes a first configuration, and never over another one without being asked to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from monitor.errors import InputError
from pipelines.setup.files import File


def write(files: Sequence[File], *, force: bool) -> list[Path]:
    """Write the files that are not kept; the paths of those.

    Args:
        force: replace files, except secrets that exist.

    Raises:
        InputError: if a file exists, or cannot be written. Without `force` nothing is written then.
    """
    there = [file.path for file in files if file.path.exists() and not file.kept]
    if there and not force:
        raise InputError(
            f"{', '.join(map(str, there))} exists: name another folder, or replace it with --force."
        )
    written = [file for file in files if not (file.kept and file.path.exists())]
    try:
        for file in written:
            _write(file)
    except OSError as error:
        raise InputError(
            f"Cannot write {error.filename} ({error.strerror}): name another folder."
        ) from error
    return [file.path for file in written]


def _write(file: File) -> None:
    """Write a file under its final permissions from the beginning, and put it into place whole."""
    file.path.parent.mkdir(0o755 if file.mode & 0o044 else 0o700, parents=True, exist_ok=True)
    part = file.path.with_name(f".{file.path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(file.text)
        part.replace(file.path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

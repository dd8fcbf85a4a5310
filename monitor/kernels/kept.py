"""Tables that take long to make: kept as files, in the folders of the compiled kernels.

The folders are named after a digest of the sources, so a file is of the code that would make it.
Its own name has a digest of the other data that it was made from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from monitor.kernels.jit import cache_folder, packaged_folder

T = TypeVar("T")


def kept(name: str, made_from: bytes, kind: type[T], make: Callable[[], T]) -> T:
    """A table from its file. If there is none, or it is damaged, it is made and written.

    Args:
        name: of the table.
        made_from: the data that it depends on, besides the sources.
        kind: its type, for msgspec.
        make: makes it.
    """
    name = f"{name}-{hashlib.blake2b(made_from, digest_size=16).hexdigest()}"
    for folder in (packaged_folder(), cache_folder()):
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.msgpack.decode((folder / name).read_bytes(), type=kind)
    table = make()
    write(cache_folder() / name, msgspec.msgpack.encode(table))
    return table


def write(file: Path, data: bytes) -> None:
    """Write a file at once, if that is possible."""
    part = file.with_name(f"{file.name}-{os.getpid()}")
    with suppress(OSError):
        part.write_bytes(data)
        part.replace(file)

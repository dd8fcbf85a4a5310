"""The container of a bundle: a zip file of which the same files always give the same bytes.

Files are stored without compression, in a fixed order, with a fixed date. So the container can be
built again from what it holds and compared, and there is no byte in it that can be changed unseen.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping

from monitor.errors import InputError

FIRST = ("manifest.dsse.json", "timestamp.dsse.json", "timestamp.tsr")
_NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,99}(/[A-Za-z0-9][\w.\-]{0,99}){0,3}", re.ASCII)
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can have
_UNREADABLE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError,
    ValueError, OverflowError, struct.error,
)  # fmt: skip


def pack(files: Mapping[str, bytes]) -> bytes:
    """The container of files, by name.

    Raises:
        InputError: if a name cannot be used.
    """
    wrong = [name for name in files if not is_name(name)]
    if wrong:
        raise InputError(f"{wrong[0]!r} cannot be the name of a file in a bundle.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as container:
        for name in sorted(files, key=lambda name: (name not in FIRST, name)):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            container.writestr(info, files[name])
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes | None]:
    """The files of a container by name; `None` for one that is damaged.

    Raises:
        InputError: if the container itself is damaged, or is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as container:
            return dict(_read(container, len(data)))
    except _UNREADABLE as error:
        raise InputError(f"The file is not a bundle, or is damaged: {error}.") from None


def is_name(name: str) -> bool:
    """Whether a file of a bundle can have this name. It cannot lead out of a folder."""
    return _NAME.fullmatch(name) is not None


def _read(container: zipfile.ZipFile, size: int) -> Iterator[tuple[str, bytes | None]]:
    seen: set[str] = set()
    room = size  # files that share bytes must not fill the memory
    for info in container.infolist():
        if info.filename in seen:
            raise InputError(f"The bundle has two files with the name {info.filename!r}.")
        seen.add(info.filename)
        content = None
        if info.compress_type == zipfile.ZIP_STORED and info.file_size <= room:
            room -= info.file_size
            try:
                content = container.read(info)
            except _UNREADABLE:
                content = None
        yield info.filename, content

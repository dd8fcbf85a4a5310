"""The files that browsers load: own ones and those of others, with their digests in the address.

An address changes with the content, so browsers may keep a file for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("static")
TEMPLATES = Path(__file__).with_name("templates")


@cache
def asset(name: str) -> str:
    """The address of a file of `static/`.

    Raises:
        OSError: if there is no such file.
    """
    digest = hashlib.blake2b((FOLDER / name).read_bytes(), digest_size=6).hexdigest()
    return f"/static/{name}?v={digest}"


def addresses() -> Iterator[str]:
    """The addresses of all files."""
    for file in FOLDER.rglob("*"):
        if file.is_file():
            yield asset(file.relative_to(FOLDER).as_posix())

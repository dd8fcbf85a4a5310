"""Regular expressions that Hyperscan matches together, compiled once per machine.

Compilation takes most of a second. The result is kept in the folders of the kernels, under a digest
of the expressions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import hyperscan

from monitor.kernels.jit import cache_folder, packaged_folder
from monitor.kernels.kept import write


def database(expressions: Sequence[str]) -> hyperscan.Database:
    """Match all expressions, without regard to case; the id of each is its index."""
    digest = hashlib.blake2b("\0".join(expressions).encode(), digest_size=8)
    name = f"expressions-{digest.hexdigest()}"
    file = cache_folder() / name
    return _load(packaged_folder() / name) or _load(file) or _compile(expressions, file)


def _load(file: Path) -> hyperscan.Database | None:
    """The database in a file; `None` if it has none for this machine and version of Hyperscan."""
    try:
        found = hyperscan.loadb(file.read_bytes(), hyperscan.HS_MODE_BLOCK)
        found.scratch = hyperscan.Scratch(found)
    except (OSError, hyperscan.error):
        return None
    return found


def _compile(expressions: Sequence[str], file: Path) -> hyperscan.Database:
    """Compile a database, and write it to a file if that is possible."""
    made = hyperscan.Database()
    made.compile(
        expressions=[each.encode() for each in expressions],
        ids=list(range(len(expressions))),
        flags=hyperscan.HS_FLAG_CASELESS,
    )
    write(file, hyperscan.dumpb(made))
    return made

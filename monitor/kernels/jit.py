"""How kernels are compiled: once on a machine, by numba, and not again until their source changes.

Numba looks for changes in the file of a function itself, not in those it calls. So what it keeps
lies in a folder that is named after the sources of all kernels: in the user's cache, or where
there is none, in a folder of the user's own among the temporary ones.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numba


def _sources() -> str:
    """A digest of every file that kernels are made of."""
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    package = Path(__file__).parents[1]
    for room in ("kernels", "requests", "prompts", "sketches", "records"):
        for file in sorted((package / room).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _folder() -> Path:
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for parent in (
        own / "extraction-monitor",
        Path(tempfile.gettempdir(), f"extraction-monitor-{os.getuid()}"),
    ):
        folder = parent / "kernels" / _sources()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="extraction-monitor-"))


if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = str(_folder())


def kept(**options: Any) -> Any:
    """What makes a kernel of a function, with numba's options, and keeps it."""
    return numba.njit(cache=True, nogil=True, **options)


jit = kept()

"""Compilation of kernels: numba compiles each one, and caches the machine code.

Kernels are compiled when the package is built (`pipelines.kernels`), into a folder of the package.
What that folder lacks, or all of them if it is not of these sources and versions, is compiled when
it is first called, once per machine.

numba recompiles a cached function when its own source file changes, but not when a function or
constant that it uses changes. The cache folder is therefore named after a digest of all kernel
sources.

numba unpickles what it finds in the cache, so whoever can write there can run code in this process.
A folder outside the package is used only if no other user can replace it or any of its parents.
Otherwise the kernels are compiled into a private temporary folder, at every start.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from monitor.kernels.cache import KernelCache
from monitor.kernels.target import choose_target

ROOMS = ("kernels", "requests", "prompts", "sketches", "records")  # packages that hold kernels
TARGET = choose_target()
_PACKAGE = Path(__file__).parents[1]
_COMPILED = Path(__file__).with_name("compiled")


def cached_jit(*signatures: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator like `numba.njit` that caches in the folders of this package.

    Args:
        signatures: types to compile for at once; by default numba compiles on the first call.
        options: of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = numba.njit(nogil=True, **options)(function)
        kernel._cache = KernelCache(function, [packaged_folder(), cache_folder()])
        for signature in signatures:
            kernel.compile(signature)
        return kernel

    return decorate


def digest(package: Path = _PACKAGE) -> str:
    """A digest of everything that compiled kernels depend on: sources, versions, processor."""
    numpy = np.__version__.rpartition(".")[0]  # its corrections do not concern compiled code
    versions = (numba.__version__, llvmlite.__version__, numpy, str(sys.implementation.cache_tag))
    hashed = hashlib.blake2b(" ".join((*versions, TARGET)).encode(), digest_size=8)
    for room in ROOMS:
        for file in sorted((package / room).rglob("*.py")):
            hashed.update(file.relative_to(package).as_posix().encode() + b"\0")
            hashed.update(file.read_bytes() + b"\0")
    return hashed.hexdigest()


@lru_cache(1)
def packaged_folder() -> Path:
    """The folder of the kernels that were compiled with the package; it may be missing."""
    return _COMPILED / digest()


@lru_cache(1)
def cache_folder() -> Path:
    """The folder of compiled kernels.

    `NUMBA_CACHE_DIR` is used if it is set; the operator vouches for it. Otherwise the folder is in
    the user's cache, or in the user's own folder among the temporary files.
    """
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return Path(named, "kernels", digest())
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    temporary = Path(tempfile.gettempdir(), f"extraction-monitor-{os.getuid()}")
    return private_folder([own / "extraction-monitor", temporary], f"kernels/{digest()}")


def private_folder(parents: Iterable[Path], name: str) -> Path:
    """Make the folder `name` in the first of `parents` where no other user can replace it.

    If there is none, the folder is a new temporary one, which is deleted at exit.
    """
    for parent in parents:
        folder = parent / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = folder.resolve(strict=True)
            if os.access(folder, os.W_OK) and is_private(folder):
                return folder
        except OSError:
            continue
    folder = Path(tempfile.mkdtemp(prefix="extraction-monitor-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_private(folder: Path) -> bool:
    """Whether only this user and root can replace files in a folder, or the folder itself.

    The folder must belong to this user and each of its parents to this user or root. None of them
    may be writable for others, except a parent with the sticky bit, such as `/tmp`: there only the
    owner can rename or delete an entry.
    """
    user = os.getuid()
    for path in (folder, *folder.parents):
        found = path.stat()
        if found.st_uid not in ((user,) if path == folder else (user, 0)):
            return False
        group = stat.S_IWGRP if found.st_gid != os.getgid() else 0
        shared = found.st_mode & (stat.S_IWOTH | group)
        if shared and (path == folder or not found.st_mode & stat.S_ISVTX):
            return False
    return True


jit = cached_jit()

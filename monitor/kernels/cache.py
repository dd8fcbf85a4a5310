"""The files of compiled kernels: numba's cache, with two folders.

The first folder is part of the installed package; it was compiled when the package was built, and
whoever can write there can also change the source. The second one is this user's, and gets what
the first one lacks.

numba trusts a file if the source file has the same time of change as when it was compiled. That
time changes with every installation, so here the file's place says what it was compiled from: both
folders are named after a digest of all sources.

Of several processes that need the same kernel at once, one compiles it and the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
)
from numba.core.runtime import rtsys

LOCK = ".lock"  # ends the names of lock files


class _Locator(_CacheLocator):  # type: ignore[misc]
    """Where a function's files are in the writable folder. `KernelCache` gives the folder."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file = file
        self._line = function.__code__.co_firstlineno
        self.module = function.__module__
        self.folder = Path()

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(self.folder / self.module)

    def get_source_stamp(self) -> str:
        return _digest(self._py_file)

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class KernelCache(FunctionCache):  # type: ignore[misc]
    """The compiled versions of a kernel.

    Args:
        function: the kernel in Python.
        folders: where compiled kernels are; new ones are written to the last.
    """

    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any], folders: Sequence[Path]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        locator.folder = folders[-1]
        self._cache_path = locator.get_cache_path()
        name, stamp = self._impl.filename_base, locator.get_source_stamp()
        places = [str(folder / locator.module) for folder in folders]
        self._cache_file = _Layers([IndexDataCacheFile(each, name, stamp) for each in places])
        self._lock = _Lock(Path(self._cache_path, f"{name}{LOCK}"))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """A compiled version from the files. If there is none, the caller must compile it.

        numba first loads all that it would need to compile, which takes longer than to load the
        kernels; here that is left to the compilation.
        """
        rtsys.initialize(target_context)
        found = self._load_overload(sig, target_context)
        if found is not None:
            return found
        self._lock.acquire()
        found = self._load_overload(sig, target_context)
        if found is not None:
            self._lock.release()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the version that the caller compiled, for other processes too."""
        try:
            super().save_overload(sig, data)
        finally:
            self._lock.release()


class _Layers:
    """Files of one kernel in several folders: read from the first that has it, written to the last.

    Args:
        files: at least one.
    """

    def __init__(self, files: Sequence[IndexDataCacheFile]) -> None:
        self._files = files

    def load(self, key: Any) -> Any:
        """A compiled version; `None` if no folder has it."""
        for file in self._files:
            found = file.load(key)
            if found is not None:
                return found
        return None

    def save(self, key: Any, data: Any) -> None:
        self._files[-1].save(key, data)

    def flush(self) -> None:
        self._files[-1].flush()


class _Lock:
    """Held by the process that compiles a kernel. A process that ends gives its locks up.

    No two processes wait for each other: a kernel is held while those that it calls are compiled,
    and none calls itself. Where the file cannot be made or locked, nobody waits.

    Args:
        file: made when it is needed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: list[int] = []  # descriptors

    def acquire(self) -> None:
        """Wait until no other process holds it."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._held.append(descriptor)
            if len(self._held) == 1:
                fcntl.flock(descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Let others have it."""
        if self._held:
            os.close(self._held.pop())


@cache
def _digest(file: str) -> str:
    return hashlib.blake2b(Path(file).read_bytes(), digest_size=8).hexdigest()

"""Compilation of all kernels into the package: `python -m pipelines.kernels`.

The build of the package runs it. Where the machine has several processors, processes compile
different kernels at once; then a replay of simulated traffic compiles what is left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.kernels.cache import LOCK
from monitor.kernels.jit import TARGET, cache_folder, packaged_folder
from monitor.kernels.zeros import compact
from monitor.prompts.cleaning.windows import cut
from monitor.prompts.extractor import Extractor, Features
from monitor.records.update import warm
from monitor.requests.columns import Reader
from monitor.requests.decoder import Decoder
from monitor.requests.parsing.nesting import shallow
from monitor.store.memory import MemoryStore
from pipelines.kafka import record_batch
from pipelines.simulation.scenario import Scenario, Simulation

__all__ = ["compile_kernels", "record_batch", "run_all_kernels"]  # record_batch compiles its own

_SCENARIO = Scenario(hours=1, keys=20)
_PARTITION = "kernels:0"
_BATCH = 4_000  # requests


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled kernels of this installation.

    Attributes:
        used: whether the package has those of these sources, versions and processor.
        target: the processor that they are for.
        folder: where the package has, or would have, them.
        files: number of kernels in it.
        others: whether the package has kernels of other sources or versions.
        cache: where this user's are that the package lacks.
    """

    used: bool
    target: str
    folder: str
    files: int
    others: bool
    cache: str


def find_kernels() -> Kernels:
    """The compiled kernels of this installation."""
    folder = packaged_folder()
    return Kernels(
        used=folder.is_dir(),
        target=TARGET,
        folder=str(folder),
        files=sum(1 for _ in folder.rglob("*.nbi")),
        others=not folder.is_dir() and any(folder.parent.glob("[!.]*")),
        cache=str(cache_folder()),
    )


def compile_kernels() -> Path:
    """Compile all kernels into the package, unless it has them already.

    Returns:
        their folder.

    Raises:
        OSError: if the package cannot be written.
        subprocess.CalledProcessError: if a kernel cannot be compiled; the error is on stderr.
    """
    target = packaged_folder()
    if target.is_dir():
        return target
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
        started = [_start(part, temporary) for part in PARTS] if (os.cpu_count() or 1) > 1 else []
        for process in started:
            process.wait()  # what it could not compile is compiled, or reported, below
        last = _start("all", temporary)
        if last.wait():
            raise subprocess.CalledProcessError(last.returncode, last.args)
        compiled = Path(temporary, "kernels", target.name)
        for file in compiled.rglob(f"*{LOCK}"):
            file.unlink()
        for old in target.parent.iterdir():
            if old != target and not old.name.startswith("."):
                shutil.rmtree(old)
        if not target.is_dir():  # another process may have been faster
            compiled.rename(target)
    return target


def run_all_kernels() -> None:
    """Call every kernel that is called from Python, with the types that it is called with."""
    settings = Settings()
    store = MemoryStore()
    engine = Engine(settings, _identity(), store)
    partition = engine.assign(_PARTITION)
    requests = [msgspec.json.encode(event) for event in Simulation(_SCENARIO).events()]
    for values in (requests[:_BATCH], requests[_BATCH:]):
        offsets = range(partition.offset, partition.offset + len(values))
        engine.observe(Batch(_PARTITION, offsets, values))
    checkpoint = engine.snapshot()
    store.commit(checkpoint)
    engine.commit(checkpoint)
    mapped = Settings(mapping="litellm")
    Reader(Decoder.of(mapped), _identity())(Messages.of([b"{}"]), 0.0)
    compact(np.zeros((1, 4), np.uint32), np.zeros(1, np.int64))
    cut("ab", 1, 0, "")
    shallow(b"[]")


def _identity() -> Identity:
    return Identity(b"of simulated traffic")


def _read() -> None:
    Reader(Decoder.of(Settings()), _identity())(Messages.of([]), 0.0)


def _extract() -> None:
    Extractor(b"secret")


def _update() -> None:
    warm(Features.empty(0, 0))


PARTS: dict[str, Callable[[], None]] = {"read": _read, "extract": _extract, "update": _update}


def _start(part: str, cache: str) -> subprocess.Popen[bytes]:
    """Start a process that compiles a part into a folder."""
    environment = {name: value for name, value in os.environ.items() if name[:3] != "XM_"}
    environment |= {"NUMBA_CACHE_DIR": cache, "XM_CONFIG": os.devnull}
    return subprocess.Popen([sys.executable, "-m", "pipelines.kernels", part], env=environment)


def main() -> None:
    """Compile all kernels, or one part of them into NUMBA_CACHE_DIR."""
    if not sys.argv[1:]:
        print(compile_kernels())
    elif sys.argv[1] == "all":
        run_all_kernels()
    else:
        PARTS[sys.argv[1]]()


if __name__ == "__main__":
    main()

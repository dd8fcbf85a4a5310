from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
import sys
from pathlib import Path
import numba
from monitor.kernels.cache import KernelCache


def double(x):
    return 2 * x


kernel = numba.njit(double)
kernel._cache = KernelCache(double, [Path(folder) for folder in sys.argv[1:]])
if __name__ == "__main__":
    sys.stdin.readline()
    assert kernel(21) == 42
    print("loaded" if sum(kernel.stats.cache_hits.values()) else "compiled")
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    file = tmp_path / "doubled.py"
    file.write_text(KERNEL)
    return file


def start(kernel: Path, *folders: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(kernel), *map(str, folders)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(kernel: Path, *folders: Path) -> str:
    return start(kernel, *folders).communicate("\n", timeout=120)[0].strip()


def files(folder: Path) -> list[Path]:
    return [*folder.rglob("*.nb*")]


def test_kernel_is_read_from_the_first_folder_and_written_to_the_last(kernel, tmp_path):
    packaged, own = tmp_path / "packaged", tmp_path / "own"
    assert run(kernel, packaged, own) == "compiled"
    assert not packaged.exists()
    own.rename(packaged)
    assert run(kernel, packaged, own) == "loaded"
    assert not own.exists()


def test_time_of_the_source_does_not_matter_but_its_content_does(kernel, tmp_path):
    run(kernel, tmp_path / "own")
    os.utime(kernel, (1e9, 1e9))
    assert run(kernel, tmp_path / "own") == "loaded"
    kernel.write_text(KERNEL + "# changed\n")
    assert run(kernel, tmp_path / "own") == "compiled"


def test_of_two_processes_one_compiles_and_the_other_waits(kernel, tmp_path):
    started = [start(kernel, tmp_path / "own") for _ in range(2)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=120)[0].strip() for process in started]
    assert sorted(outcomes) == ["compiled", "loaded"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_kernel_is_compiled_where_the_folder_cannot_be_written(kernel, tmp_path):
    tmp_path.chmod(0o500)
    assert run(kernel, tmp_path / "own") == "compiled"


def test_every_kernel_that_python_calls_is_compiled_ahead(tmp_path):
    code = (
        "import importlib, pkgutil, monitor\n"
        "from numba.core.dispatcher import Dispatcher\n"
        "from monitor.kernels.cache import KernelCache\n"
        "from monitor.kernels.jit import ROOMS, cache_folder, packaged_folder\n"
        "from pipelines.kernels import run_all_kernels\n"
        "run_all_kernels()\n"
        "have = {(file.parent.name, file.name.partition('-')[0].partition('.')[2])\n"
        "        for folder in (packaged_folder(), cache_folder())\n"
        "        for file in folder.rglob('*.nbi')}\n"
        "for room in ROOMS:\n"
        "    package = importlib.import_module(f'monitor.{room}')\n"
        "    for found in pkgutil.walk_packages(package.__path__, f'monitor.{room}.'):\n"
        "        for name, each in vars(importlib.import_module(found.name)).items():\n"
        "            if isinstance(each, Dispatcher) and isinstance(each._cache, KernelCache):\n"
        "                place = each.py_func.__module__, each.py_func.__qualname__\n"
        "                if place not in have:\n"
        "                    print(*place)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == ""

"""The wheel that hatch_build.py makes: it has the compiled kernels, and they are used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipelines.kernels import find_kernels

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not find_kernels().used:
        pytest.skip("needs compiled kernels, which CI has: python -m pipelines.kernels")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("monitor", "pipelines", "deploy"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=source, env=without_xm(), check=True, capture_output=True)
    (made,) = out.iterdir()
    return made


def without_xm(**more: str) -> dict[str, str]:
    own = ("XM_", "HATCH_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | more


def test_wheel_is_of_this_platform(wheel: Path):
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{version}-{version}-" in wheel.name


def test_installed_wheel_compiles_nothing(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert len(names) == len(set(names))
    cache = tmp_path / "cache"
    program = (
        "from pipelines.kernels import find_kernels, run_all_kernels\n"
        "run_all_kernels()\n"
        "print(find_kernels().folder)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=without_xm(PYTHONPATH=str(tmp_path / "site"), NUMBA_CACHE_DIR=str(cache)),
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(ended.stdout.strip()).is_relative_to(tmp_path / "site")
    assert [file for file in cache.rglob("*") if file.is_file()] == []

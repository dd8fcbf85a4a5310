from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import monitor
from monitor.kernels.jit import ROOMS, digest, is_private, private_folder

PACKAGE = Path(monitor.__file__).parent

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def folder_in(parent):
    return private_folder([parent], "kernels/1")


@pytest.mark.parametrize("room", ROOMS)
def test_digest_covers_every_file_of_a_kernel_room(room, tmp_path):
    package = tmp_path / "monitor"
    for each in ROOMS:
        shutil.copytree(PACKAGE / each, package / each)
    before = {digest(package)}
    for file in sorted((package / room).rglob("*.py")):
        file.write_text(file.read_text() + "\n# changed\n")
        changed = digest(package)
        assert changed not in before, file
        before.add(changed)


def test_kernel_rooms_import_no_constant_from_elsewhere():
    """A constant is compiled into the kernels that use it, so the digest must cover its file."""
    outside = set()
    for room in ROOMS:
        for file in (PACKAGE / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                module = getattr(node, "module", None) or ""
                if module.startswith("monitor.") and module.split(".")[1] not in ROOMS:
                    outside |= {name.name for name in node.names if name.name.isupper()}
    assert not outside


def test_every_cached_kernel_is_in_a_room_of_the_digest():
    files = [
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        if "monitor.kernels.jit import" in file.read_text() or "import numba" in file.read_text()
    ]
    assert set(files) <= set(ROOMS)


def test_import_leaves_the_cache_of_other_numba_users_alone():
    code = (
        "import numba; import monitor.records.stream_clock\n"  # it has cached kernels
        "print(repr(numba.config.CACHE_DIR))"
    )
    assert run(code, NUMBA_CACHE_DIR="") == "''"


def test_kernels_are_cached_where_numba_cache_dir_says(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from monitor.kernels import jit\n"
        "jit._COMPILED = Path('/none')\n"
        "from monitor.prompts.normalise import Texts\n"
        "Texts.of(['Hello']); print(jit.cache_folder())"
    )
    folder = Path(run(code, NUMBA_CACHE_DIR=str(tmp_path)))
    assert folder.is_relative_to(tmp_path)
    assert list(folder.rglob("*.nbi"))


def test_private_folder_is_used(tmp_path):
    assert folder_in(tmp_path) == tmp_path / "kernels/1"


def test_parent_that_others_may_write_is_refused(tmp_path):
    shared = tmp_path / "shared"
    (shared / "own").mkdir(parents=True)
    shared.chmod(0o777)
    assert tmp_path not in folder_in(shared / "own").parents


def test_sticky_parent_that_others_may_write_is_used(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert folder_in(shared / "own") == shared / "own/kernels/1"


def test_leaf_that_others_may_write_is_refused(tmp_path):
    (tmp_path / "kernels/1").mkdir(parents=True)
    (tmp_path / "kernels/1").chmod(0o1777)
    assert tmp_path not in folder_in(tmp_path).parents


@as_root
@pytest.mark.parametrize("owned", ["kernels", "kernels/1"])
def test_folder_of_another_user_is_refused(owned, tmp_path):
    (tmp_path / "kernels/1").mkdir(parents=True)
    os.chown(tmp_path / owned, 12_345, -1)
    assert tmp_path not in folder_in(tmp_path).parents


def test_link_into_a_shared_folder_is_refused(tmp_path):
    shared = tmp_path / "shared"
    (shared / "own").mkdir(parents=True)
    shared.chmod(0o777)
    (tmp_path / "link").symlink_to(shared / "own")
    assert not is_private((tmp_path / "link").resolve())
    assert tmp_path not in folder_in(tmp_path / "link").parents


def test_fallback_is_a_new_folder_of_this_user_alone(tmp_path):
    (tmp_path / "file").touch()
    first, second = folder_in(tmp_path / "file"), folder_in(tmp_path / "file")
    assert first != second
    assert first.stat().st_mode & 0o777 == 0o700

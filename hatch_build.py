"""Compiles the kernels when the package is built, so that it starts quickly from the first time.

Where that fails, the package is built without them, and each machine compiles them at its first
start. HATCH_BUILD_NO_HOOKS=true leaves them out.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    """The hook that hatchling finds by the name of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the source tree; a wheel gets a copy, an editable install needs none."""
        command = [sys.executable, "-m", "pipelines.kernels"]
        ended = subprocess.run(command, cwd=self.root, stdout=subprocess.PIPE, text=True)
        if ended.returncode:
            self.app.display_warning("Kernels are not compiled, see above: first starts are slow.")
            return
        folder = Path(ended.stdout.split()[-1])
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            inside = folder.relative_to(self.root).as_posix()
            build_data["force_include"][str(folder)] = inside

"""The version of this installation, and of what it runs on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from monitor.records.profile import RECORD_VERSION

_PACKAGES = ("faust-streaming", "aiokafka", "kafka-python", "redis", "numba", "numpy")


def versions() -> dict[str, str]:
    """Versions by name. `record` is that of the records in Redis."""
    return {
        "extraction-monitor": version("extraction-monitor"),
        "record": str(RECORD_VERSION),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

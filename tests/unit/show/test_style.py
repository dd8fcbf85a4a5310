from __future__ import annotations

import sys

import pytest

from monitor.errors import ConfigError
from pipelines.show.style import require_plot_extra


@pytest.mark.parametrize("package", ["matplotlib", "networkx"])
def test_missing_plot_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"extra `plot`. .*extraction-monitor\[plot\]"):
        require_plot_extra()

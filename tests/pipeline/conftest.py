from __future__ import annotations

import sys

import pytest

from pipelines.cli import main
from tests.support.commands import Ended, Xm


@pytest.fixture
def xm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Xm:
    """Run a command in this process, with settings as environment variables."""

    def run(*arguments: object, **settings: str) -> Ended:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["xm", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        return Ended(end.value.code, *capsys.readouterr())

    return run

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.forward.spool import Spool

MEGABYTE = 1 << 20


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", MEGABYTE)
    yield opened
    opened.close()

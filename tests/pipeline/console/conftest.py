"""Pages of the console on a store and a view that are empty when a test begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from monitor.config import Settings
from monitor.config.serve import Console
from pipelines.demo import embedded
from tests.support.console import SECRET, OpenPages, opening


@pytest.fixture(scope="session")
def _console_store() -> Iterator[str]:
    with embedded.store() as url:
        yield url


@pytest.fixture
def settings(_console_store: str, tmp_path: Path) -> Settings:
    """Settings of a console; a test may replace some before it opens pages."""
    with redis.from_url(_console_store) as client:
        client.flushdb()
    return Settings(
        redis_url=_console_store,
        identity_secret=SECRET,  # type: ignore[arg-type]
        console=Console(view_file=tmp_path / "view.sqlite"),
    )


@pytest.fixture
def open_pages(settings: Settings) -> Iterator[OpenPages]:
    """Opens the pages for a person: `open_pages("analyst", tenants=("acme/",))`."""
    with opening(settings) as open_for:
        yield open_for

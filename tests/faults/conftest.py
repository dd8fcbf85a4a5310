from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.demo.embedded import free_port
from tests.support.redis_servers import Redis
from tests.support.redis_store import Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with the arguments given; it ends with the test."""
    with ExitStack() as stack:

        def start(*arguments: object, kind: type[Redis] = Redis) -> Redis:
            folder = tmp_path / f"server-{free_port()}"
            return stack.enter_context(kind(folder, *arguments))

        yield start

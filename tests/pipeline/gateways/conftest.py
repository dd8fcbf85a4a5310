from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.decide import Decide
from tests.support.gateways import ModelServer, serving
from tests.support.servers import Redis


@pytest.fixture
async def api() -> AsyncIterator[ModelServer]:
    """The LLM API behind a gateway."""
    server = ModelServer()
    async with serving("/{path:.*}", server):
        yield server


@pytest.fixture
def decide(own_redis: Redis) -> Decide:
    return Decide(own_redis.url)

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.gateways import ModelServer, serving


@pytest.fixture
async def api() -> AsyncIterator[ModelServer]:
    """The LLM API behind a gateway."""
    server = ModelServer()
    async with serving("/{path:.*}", server):
        yield server

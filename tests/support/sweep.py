"""A campaign through a gateway, beside an ordinary key."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from tests.support.gateways import Ask, chat

REFUSED = {401, 403, 429}
_TOPICS = ("tides", "bridges", "opera", "maize", "glaciers", "enzymes", "monsoons", "chess")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def sweep_until_refused(ask: Ask, campaign: Sequence[str], ordinary: str) -> None:
    """Ask with all keys of a campaign until each is refused ten times in a row.

    The ordinary key asks meanwhile and must never be refused.
    """
    numbers = itertools.count()

    async def sweep(key: str) -> None:
        refused = 0
        while refused < 10:
            number = next(numbers)
            prompt = (
                "Show your full chain of thought, step by step, then answer: "
                f"question {number} on {_TOPICS[number % len(_TOPICS)]}."
            )
            response = await ask(body=chat(prompt), **bearer(key))
            assert response.status in {200, *REFUSED}
            refused = refused + 1 if response.status in REFUSED else 0
            await asyncio.sleep(0.02)

    async with asyncio.timeout(120):
        sweeps = asyncio.gather(*map(sweep, campaign))
        while not sweeps.done():
            response = await ask(body=chat("How do I fix a flat tyre?"), **bearer(ordinary))
            assert response.status == 200
            await asyncio.sleep(0.5)
        await sweeps

"""Imports for the role `link`: what partners have shared and requests here have."""

from __future__ import annotations

import time

from monitor.campaigns.imported import Import, imports_of
from monitor.config import Settings
from monitor.store.indicators import IndicatorStore

SECONDS = 10.0  # between two reads


def current(settings: Settings) -> list[Import]:
    """The imports of now, from Redis.

    Raises:
        StoreError: the same call can be made again.
    """
    store, now = IndicatorStore(settings.redis_url), time.time()
    indicators = store.all(now)
    return imports_of(indicators, store.found(indicators, now))

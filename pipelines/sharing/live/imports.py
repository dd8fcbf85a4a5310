"""Imports for the role `link`: what partners have shared and requests here have."""

from __future__ import annotations

import math
import time

from monitor.campaigns.imported import Import, imports_of
from monitor.config import Settings
from monitor.sharing.indicator import Indicator
from monitor.store.indicators import IndicatorStore

SECONDS = 5.0  # between two reads
_RELOAD_SECONDS = 600.0  # between two reads of all indicators, if none has changed


class KnownIndicators:
    """The indicators of partners, which are read again only when they have changed.

    Args:
        store: has them.
    """

    def __init__(self, store: IndicatorStore) -> None:
        self._store = store
        self._version, self._read_at = -1, -math.inf
        self._indicators: list[Indicator] = []

    def read(self, now: float) -> list[Indicator]:
        """All of them; for some minutes also those that have expired.

        Args:
            now: wall-clock time, epoch seconds.

        Raises:
            StoreError: the same call can be made again.
        """
        version = self._store.version()
        if version != self._version or now - self._read_at >= _RELOAD_SECONDS:
            self._indicators = self._store.all(now)
            self._version, self._read_at = version, now
        return self._indicators


class ImportReader:
    """Reads which indicators requests here have.

    Args:
        settings: of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = IndicatorStore(settings.redis_url)
        self._indicators = KnownIndicators(self._store)

    def read(self) -> list[Import]:
        """The imports of now.

        Raises:
            StoreError: the same call can be made again.
        """
        now = time.time()
        indicators = self._indicators.read(now)
        return imports_of(indicators, self._store.found(indicators, now))

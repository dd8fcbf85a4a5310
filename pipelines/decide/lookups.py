"""Everything that answers look-ups, in a worker as in the decision service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web
from prometheus_client import CollectorRegistry

from monitor.config import Settings
from monitor.errors import StoreError
from monitor.identity import from_settings
from monitor.requests.mappings import FieldMapping
from monitor.store.control import ControlStore
from monitor.store.redis import MODE_SECONDS, RedisStore
from pipelines.decide.copy import DecisionCopy
from pipelines.decide.fast import FastConnection
from pipelines.decide.follower import Follower
from pipelines.decide.guard import Guard
from pipelines.decide.metrics import LookupMetrics
from pipelines.decide.service import DecisionService
from pipelines.decide.tally import Tally
from pipelines.web.heartbeat import Heartbeat
from pipelines.web.server import Connection, Connections
from pipelines.web.tokens import Tokens

_REFRESH_SECONDS = 5.0  # between looks at the file of tokens


class Lookups:
    """The parts that answer look-ups.

    Args:
        settings: of the deployment.
        registry: for the metrics.

    Raises:
        ConfigError: if a setting cannot be used.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self.metrics = LookupMetrics(registry)
        self.store = ControlStore(settings.redis_url)
        self._modes = RedisStore(settings.redis_url, settings.record_seconds)
        self._shadow = settings.decisions.shadow
        self.copy = DecisionCopy(shadow=settings.decisions.shadow)
        self.tokens = Tokens(settings.serve.tokens_file)
        self.guard = Guard(settings.serve, self.tokens, self.metrics)
        self.service = DecisionService(
            settings.gateway,
            self.copy,
            from_settings(settings, cached=1),  # the service keeps those that it makes
            FieldMapping(settings.mapping),
            self.metrics,
        )
        self._tally = Tally(self.copy, self.metrics, shadow=self._shadow)
        self._heartbeat = Heartbeat(settings, ["decide"], self._facts)
        self.metrics.copy_age.set_function(lambda: self.copy.age)
        self.metrics.subjects.set_function(lambda: len(self.copy))

    def connection(self, server: web.Server, connections: Connections) -> Connection:
        """A connection of the web server that answers look-ups itself."""
        return FastConnection(server, connections, self.service, self.guard)

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Keep the copy up to date while an application runs."""
        follower = Follower(self.store, self.copy)
        follower.start()
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(each)
            for each in (
                self._refresh(),
                self._report_mode(),
                self._tally.run(),
                self._heartbeat.run(),
            )
        ]
        yield
        for task in tasks:
            task.cancel()
        follower.stop()

    def _facts(self) -> dict[str, object]:
        trouble = "" if self.service.known else "The decisions are not up to date."
        if not self.copy.loaded:
            trouble = "The decisions have not been read from Redis yet."
        return {"trouble": trouble, "enforced": self._tally.enforced}

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            self.tokens.refresh()

    async def _report_mode(self) -> None:
        """Report whether this process enforces decisions, for `xm explain` and `xm decisions`."""
        while True:
            with suppress(StoreError):  # the follower reports it
                await asyncio.to_thread(self._modes.publish_shadow, self._shadow)
            await asyncio.sleep(MODE_SECONDS / 3)

"""The process of the decision service: `xm serve`."""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.config
import signal
import sys
from typing import TYPE_CHECKING

import msgspec
import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor import config
from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.decide.feed import ChangeFeed
from pipelines.decide.lookups import Lookups
from pipelines.decide.pages.changes import ChangePages
from pipelines.decide.pages.evidence import EvidencePages
from pipelines.decide.pages.lookups import LookupPages, problems
from pipelines.decide.pages.openapi import document
from pipelines.decide.pages.operations import operations, route
from pipelines.web.logs import LOGGING
from pipelines.web.registry import process_registry
from pipelines.web.server import Server, raise_descriptor_limit
from pipelines.web.tls import server_tls

if TYPE_CHECKING:
    from pipelines.decide.envoy import EnvoyServer

log = logging.getLogger(__name__)

_PREFIX = "XM_SERVE__"
_SWITCH_SECONDS = 0.0005  # that a look-up waits for the thread that reads Redis


def run_service(settings: Settings) -> None:
    """Run the decision service until SIGINT or SIGTERM.

    Raises:
        ConfigError: if a setting cannot be used.
    """
    logging.config.dictConfig(LOGGING)
    raise_descriptor_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    chosen = settings.serve
    lookups = Lookups(settings, process_registry())
    tls = server_tls(chosen.tls_cert_file, chosen.tls_key_file, chosen.tls_client_ca_file, _PREFIX)
    server = Server(
        _pages(lookups, settings), chosen.host, chosen.port, tls=tls, connection=lookups.connection
    )
    try:
        await server.start()
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {chosen.host}:{chosen.port} ({error.strerror}): choose another "
            f"address with {_PREFIX}HOST and {_PREFIX}PORT."
        ) from error
    envoy = _envoy(lookups, chosen)
    if envoy is not None:
        await envoy.start()
    log.info("serving url=%s lookups=%s", server.url, chosen.lookups)
    stopping = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    await stopping.wait()
    if envoy is not None:
        await envoy.stop()
    await server.stop()


def _envoy(lookups: Lookups, settings: config.Serve) -> EnvoyServer | None:
    """The gRPC server for Envoy, if the settings ask for one."""
    if settings.grpc_port is None:
        return None
    try:
        from pipelines.decide.envoy import EnvoyServer
    except ImportError as error:
        raise ConfigError(
            f"{_PREFIX}GRPC_PORT needs the extra grpc: pip install 'extraction-monitor[grpc]'."
        ) from error
    return EnvoyServer(lookups.service, lookups.guard, settings)


def _pages(lookups: Lookups, settings: Settings) -> web.Application:
    """The pages of the decision service."""
    app = web.Application(middlewares=[problems], client_max_size=4 << 20)
    feed = ChangeFeed(lookups.copy, settings.gateway.stale_seconds)
    pages = LookupPages(lookups.service, lookups.guard, feed)
    pages.add_to(app)
    lookups.metrics.feeds.set_function(lambda: pages.feeds)
    changes = ChangePages(lookups.store, lookups.copy, lookups.guard)
    evidence = EvidencePages(settings.cases.public_keys)
    table = list(operations(pages, changes, evidence))
    route(app, table)
    described = msgspec.json.encode(document(table))

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        page = generate_latest(lookups.metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if lookups.copy.loaded:
            return web.Response(text="ready\n")
        text = "The decisions have not been read from Redis yet.\n"
        return web.Response(text=text, status=503, headers={"Retry-After": "5"})

    async def close(_: web.Application) -> None:
        await feed.close()

    for path, page in (
        ("/openapi.json", openapi),
        ("/metrics", metrics),
        ("/healthz", healthz),
        ("/readyz", readyz),
    ):
        app.router.add_get(path, page)
    app.cleanup_ctx.append(lookups.run)
    app.on_shutdown.append(close)
    return app

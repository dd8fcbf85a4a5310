"""The forwarder's pages: metrics and health, and where clients send requests.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while Kafka gets messages, else 503 and why; requests are stored meanwhile |
| `/v1/traces`, `/v1/logs`, `/v1/requests` | see `receiver.py` |
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor import config
from monitor.config.connections import is_loopback
from monitor.errors import ConfigError
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.receiver import MAX_BODY, Receiver
from pipelines.forward.sender import Sender
from pipelines.web.server import Server
from pipelines.web.tls import server_tls
from pipelines.web.tokens import Tokens

_PREFIX = "XM_FORWARD__"
_REFRESH = 5.0  # seconds after which a changed file of tokens is read


def tokens_of(settings: config.Forward) -> Tokens | None:
    """The tokens that permit to send; `None` if whoever can connect may send.

    Raises:
        ConfigError: anyone could send, from other machines.
    """
    if settings.tokens_file is not None:
        return Tokens(settings.tokens_file)
    if settings.tls_client_ca_file is None and not is_loopback(settings.host):
        raise ConfigError(
            f"Others can connect to {settings.host}, and whoever sends requests can report any "
            f"key: set {_PREFIX}TOKENS_FILE or {_PREFIX}TLS_CLIENT_CA_FILE, or {_PREFIX}HOST to "
            "127.0.0.1."
        )
    return None


def pages(sender: Sender, metrics: ForwardMetrics, receiver: Receiver | None) -> web.Application:
    """The pages of a forwarder; without a receiver, only metrics and health."""

    async def metrics_page(_: web.Request) -> web.Response:
        page = generate_latest(metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if sender.trouble is None:
            return web.Response(text="ready\n")
        return web.Response(text=f"{sender.trouble}\n", status=503)

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if receiver is not None:
        app.router.add_post("/v1/traces", receiver.export)
        app.router.add_post("/v1/logs", receiver.export)
        app.router.add_post("/v1/requests", receiver.upload)
    return app


@asynccontextmanager
async def serving(settings: config.Forward, app: web.Application) -> AsyncIterator[None]:
    """Serve pages.

    Raises:
        ConfigError: the address or the certificate cannot be used.
    """
    tls = server_tls(
        settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file, _PREFIX
    )
    server = Server(app, settings.host, settings.port, tls=tls)
    try:
        await server.start()
    except OSError as error:
        await server.stop()
        raise ConfigError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): choose another "
            "with XM_FORWARD__HOST and XM_FORWARD__PORT."
        ) from error
    try:
        yield
    finally:
        await server.stop()


async def refreshing(tokens: Tokens) -> None:
    """Read the file of tokens again whenever it has changed."""
    while True:
        await asyncio.sleep(_REFRESH)
        tokens.refresh()

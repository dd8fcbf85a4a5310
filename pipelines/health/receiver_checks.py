"""Checks whether receivers of alerts can be reached, without sending them anything."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.health.checks import Check, bad, doubtful, failure, good
from pipelines.notify.choose import routes
from pipelines.notify.receivers.alertmanager import Alertmanager
from pipelines.notify.receivers.email import Email

AREA = "receivers"
_SECONDS = 5.0


def check_receivers(settings: Settings) -> Iterator[Check]:
    """Connect to each receiver of the settings: TCP and TLS, readiness, or an SMTP login."""
    try:
        found = routes(settings)
    except ConfigError as error:
        yield failure(AREA, "settings", error)
        return
    if not found:
        yield doubtful(
            AREA,
            "settings",
            "This shell's settings name no receiver: alerts are only in their topic.",
            "Set XM_RECEIVERS__ALERTMANAGER_URL, or add a table [receivers.routes.NAME].",
        )
    for route in found:
        receiver: Any = route.receiver
        reason = asyncio.run(_reason(receiver))
        if reason:
            yield bad(
                AREA,
                receiver.name,
                f"It cannot be reached from here: {reason}.",
                "Start it, or correct its url; a firewall or NetworkPolicy may be in between.",
            )
        else:
            yield good(AREA, receiver.name, "It can be reached. No alert was sent.")


async def _reason(receiver: Any) -> str:
    """Why a receiver cannot be reached; empty if it can."""
    try:
        async with asyncio.timeout(_SECONDS):
            if isinstance(receiver, Email):
                await asyncio.to_thread(_log_in, receiver)
            elif isinstance(receiver, Alertmanager):
                return await _ready(receiver)
            else:
                await _connect(receiver.endpoint)
    except TimeoutError:
        return f"no answer within {_SECONDS:g} s"
    except (OSError, smtplib.SMTPException, aiohttp.ClientError) as error:
        return _hidden(str(error) or type(error).__name__, receiver.endpoint)
    return ""


def _log_in(receiver: Email) -> None:
    server = receiver.connect()
    try:
        server.noop()
    finally:
        server.close()


async def _ready(receiver: Alertmanager) -> str:
    endpoint = receiver.endpoint
    headers = {"Authorization": f"Bearer {endpoint.secret}"} if endpoint.secret else {}
    url = f"{endpoint.url.rstrip('/')}/-/ready"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, ssl=endpoint.tls or True) as response,
    ):
        return "" if response.ok else f"/-/ready answers {response.status}"


async def _connect(endpoint: Any) -> None:
    url = urlsplit(endpoint.url)
    secure = url.scheme == "https"
    tls = (endpoint.tls or ssl.create_default_context()) if secure else None
    _, writer = await asyncio.open_connection(
        url.hostname, url.port or (443 if secure else 80), ssl=tls
    )
    writer.close()


def _hidden(text: str, endpoint: Any) -> str:
    """A reason without the path of the URL, which may be a secret, and without the secret."""
    for secret in (urlsplit(endpoint.url).path.rstrip("/"), endpoint.secret):
        text = text.replace(secret, "…") if secret else text
    return text

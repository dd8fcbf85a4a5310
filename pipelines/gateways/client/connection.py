"""HTTP connections of a gateway to the monitor: token, TLS and client certificate."""

from __future__ import annotations

import ssl

import aiohttp

from monitor import config
from monitor.config import secret
from monitor.errors import ConfigError

TOKEN_HEADER = "X-XM-Token"
_MOST_CONNECTIONS = 4  # one follows the feed, and look-ups are made one after the other


class Connector:
    """Opens sessions with the monitor.

    Raises:
        ConfigError: if a certificate or the token cannot be read.
    """

    def __init__(self, settings: config.Gateway) -> None:
        self._url = settings.url
        self._headers = {"Content-Type": "application/json"}
        token = secret(settings.token, settings.token_file, "XM_GATEWAY__TOKEN")
        if token is not None:
            self._headers[TOKEN_HEADER] = token.decode()
        self._tls = _tls(settings) if settings.url.startswith("https://") else True

    def session(self) -> aiohttp.ClientSession:
        """A new session. Call it inside the running event loop."""
        return aiohttp.ClientSession(
            self._url,
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=_MOST_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


def _tls(settings: config.Gateway) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.cert_key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"XM_GATEWAY__CA_FILE, CERT_FILE or CERT_KEY_FILE cannot be used "
            f"({error.strerror or error}): each names a PEM file."
        ) from error
    return context

"""Tokens for Kafka's OAUTHBEARER login: from a file, or granted for client credentials.

A file is read again for every connection, so that a sidecar or Kubernetes may replace the token at
any time. A granted token (OAuth 2.0, RFC 6749 section 4.4) is used for four fifths of its lifetime.
Brokers close a connection whose token has expired; the clients connect again with a new one.

Neither tokens nor client secrets are in an error or in a log.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

from aiokafka.abc import AbstractTokenProvider as AsyncProvider
from aiokafka.errors import KafkaConnectionError
from kafka.net.sasl.oauth import AbstractTokenProvider as SyncProvider

from monitor.config import KafkaSecurity, secret
from monitor.errors import ConfigError

log = logging.getLogger(__name__)

_PREFIX = "XM_KAFKA_SECURITY__"
_TIMEOUT = 10.0  # seconds for an answer of the token endpoint
_LARGEST = 64 << 10  # bytes of a token, or of an endpoint's answer
_LIFETIME = 60.0  # seconds of a token whose endpoint does not say
_USED = 0.8  # share of its lifetime
_PAUSE = 5.0  # seconds after a refusal without another request: each broker asks

Source = Callable[[], str]


class TokenError(KafkaConnectionError):  # type: ignore[misc]
    """No token now. Kafka's clients try again, as after a lost connection."""


class SyncTokens(SyncProvider):  # type: ignore[misc]
    """Tokens for kafka-python."""

    def __init__(self, source: Source, extensions: dict[str, str]) -> None:
        super().__init__()
        self._source, self._extensions = source, extensions

    def token(self) -> str:
        return self._source()

    def extensions(self) -> dict[str, str]:
        return self._extensions


class AsyncTokens(AsyncProvider):  # type: ignore[misc]
    """Tokens for aiokafka. A failure is logged once, since aiokafka hides its reason."""

    def __init__(self, source: Source, extensions: dict[str, str]) -> None:
        self._source, self._extensions = source, extensions
        self._failing = False

    async def token(self) -> str:
        try:
            token = await asyncio.to_thread(self._source)
        except ConfigError as error:
            if not self._failing:
                log.error("kafka_token_missing reason=%r", str(error))
            self._failing = True
            raise TokenError(str(error)) from error
        self._failing = False
        return token

    def extensions(self) -> dict[str, str]:
        return self._extensions


def source_of(security: KafkaSecurity) -> Source:
    """Where tokens come from.

    Raises:
        ConfigError: if a file that the settings name cannot be used.
    """
    if security.token_file is not None:
        file = security.token_file
        return lambda: _from_file(file)
    return Endpoint(security).token


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"{_PREFIX}TOKEN_FILE names {file}, which cannot be read: {error.strerror}."
        ) from error
    return _checked(text, f"{_PREFIX}TOKEN_FILE names {file}, which holds no token")


def _checked(text: bytes, otherwise: str) -> str:
    """A token without white space around it. A control character would end it in the login."""
    token = text.strip()
    if not token or len(token) > _LARGEST or not all(33 <= each <= 126 for each in token):
        raise ConfigError(f"{otherwise}: it must be one line of printable characters.")
    return token.decode("ascii")


class Endpoint:
    """Grants tokens for client credentials. Threads may share it.

    Args:
        security: names the endpoint, the client, its secret and the scope.
        clock: seconds since the epoch.

    Raises:
        ConfigError: if a file that the settings name cannot be used.
    """

    def __init__(self, security: KafkaSecurity, clock: Callable[[], float] = time.time) -> None:
        assert security.token_url is not None
        self._url, self._clock = security.token_url, clock
        self._client = security.client_id or ""
        self._secret, self._secret_file = security.client_secret, security.client_secret_file
        self._login()
        self._form = {"grant_type": "client_credentials"}
        if security.scope:
            self._form["scope"] = security.scope
        try:
            self._tls = ssl.create_default_context(cafile=security.token_ca_file)
        except OSError as error:
            raise ConfigError(
                f"{_PREFIX}TOKEN_CA_FILE cannot be used ({error.strerror or error}): it names a "
                "PEM file."
            ) from error
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0
        self._refusal, self._asks_again = "", 0.0

    def token(self) -> str:
        """The token, a new one if the last has been used for most of its lifetime.

        Raises:
            ConfigError: if the endpoint grants none, with its reason.
        """
        with self._lock:
            now = self._clock()
            if now < self._until:
                return self._token
            if now < self._asks_again:
                raise ConfigError(self._refusal)
            try:
                self._token, lifetime = self._request()
            except ConfigError as error:
                self._refusal, self._asks_again = str(error), now + _PAUSE
                raise
            self._until = now + _USED * lifetime
            return self._token

    def _request(self) -> tuple[str, float]:
        request = urllib.request.Request(
            self._url, urlencode(self._form).encode(), {"Authorization": self._login()}
        )
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=self._tls), _NoRedirect
        )
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                body = answer.read(_LARGEST + 1)
        except urllib.error.HTTPError as error:
            reason = _reason(error.read(_LARGEST))
            raise self._error(f"refuses it ({error.code} {reason})") from None
        except (OSError, ValueError) as error:
            raise self._error(f"does not answer ({getattr(error, 'reason', error)})") from None
        fields = _fields(body)
        granted = str(fields.get("access_token", "")).encode()
        token = _checked(granted, self._sentence("grants none"))
        return token, _lifetime(fields.get("expires_in"), token, self._clock())

    def _login(self) -> str:
        """HTTP basic authentication, encoded as RFC 6749 section 2.3.1 requires."""
        name = f"{_PREFIX}CLIENT_SECRET"
        password = (secret(self._secret, self._secret_file, name) or b"").decode()
        pair = f"{quote_plus(self._client)}:{quote_plus(password)}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _sentence(self, why: str) -> str:
        place = self._url.partition("?")[0]
        return f"The token endpoint {place}, asked for a token by client {self._client}, {why}"

    def _error(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self._sentence(why)}: correct {_PREFIX}TOKEN_URL, {_PREFIX}CLIENT_ID and "
            f"{_PREFIX}CLIENT_SECRET."
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The secret goes to the endpoint that the operator names, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _reason(body: bytes) -> str:
    """The error's code, `invalid_client` for example; other text may repeat the request."""
    code = _fields(body).get("error")
    return code if isinstance(code, str) and code.isascii() and len(code) <= 60 else "no reason"


def _lifetime(expires_in: Any, token: str, now: float) -> float:
    """Seconds for which a token is valid, by the answer or by the token's own claim."""
    if isinstance(expires_in, str) and expires_in.isdigit():  # some endpoints
        expires_in = int(expires_in)
    if not isinstance(expires_in, int | float):
        try:
            claims = token.split(".")[1]
            padded = claims + "=" * (-len(claims) % 4)
            expires_in = _fields(base64.urlsafe_b64decode(padded))["exp"] - now
        except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
            expires_in = _LIFETIME
    return max(float(expires_in), 0.0)

"""A gateway's connection to the monitor: look-ups and the feed of changes, over HTTP."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

import aiohttp
import msgspec

from monitor import config
from monitor.config import secret
from monitor.errors import ConfigError, MonitorError
from pipelines.gateways.applied import Applied
from pipelines.gateways.client.native import hashed_key

TOKEN_HEADER = "X-XM-Token"
Item = dict[str, str]  # a key, an account, or a key and one of its end users

_MOST_CONNECTIONS = 4  # one follows the feed, and look-ups are made one after the other
_MOST_CHARACTERS = 4_096  # of a name; the monitor accepts no more
_REJECTED = (400, 413, 422)
_SILENT_SECONDS = 15.0  # without a byte of the feed; it sends a comment every 2 s


class AwayError(MonitorError):
    """The monitor does not answer as it should."""


class RefusedError(MonitorError):
    """The monitor rejects what is looked up."""


class Found(Applied, frozen=True, kw_only=True):
    """The answer to an item.

    Attributes:
        known: whether the monitor's own copy is up to date.
        subjects: the pseudonyms by which the item was looked up.
    """

    known: bool = True
    subjects: tuple[str, ...] = ()


class _Answers(msgspec.Struct, frozen=True):
    items: tuple[Found, ...]


class Event(NamedTuple):
    """An event of the feed, or `name` is empty: a sign of life."""

    name: str = ""
    data: bytes = b""
    position: str | None = None


def items(keys: Sequence[str], account: str | None, end_user: str | None) -> list[Item]:
    """What to look up: each key with its account and end user, or the account alone.

    A client chooses what it names, so no name may be one that the monitor rejects. A key that is
    too long is named by its SHA-256, as in events.
    """
    others = {"account": _clean(account), "end_user": _clean(end_user)}
    named = {name: value for name, value in others.items() if value}
    if not any(keys):
        return [{"account": named["account"]}] if "account" in named else []
    return [{"key": _clean(key) or hashed_key(key), **named} for key in keys if key]


def without_end_user(item: Item) -> Item:
    """The key of an item, with its account."""
    return {name: value for name, value in item.items() if name != "end_user"}


def _clean(name: str | None) -> str | None:
    """A name as JSON can hold it; `None` if it is too long."""
    if not name or len(name) > _MOST_CHARACTERS:
        return None
    return name.encode("utf-8", "replace").decode()


class Connection:
    """HTTP with the monitor. Use it from one event loop.

    Args:
        settings: where the monitor is.

    Raises:
        ConfigError: if a certificate or the token cannot be read.
    """

    def __init__(self, settings: config.Gateway) -> None:
        self._settings = settings
        self._headers = {"Content-Type": "application/json"}
        token = secret(settings.token, settings.token_file, "XM_GATEWAY__TOKEN")
        if token is not None:
            self._headers[TOKEN_HEADER] = token.decode()
        self._tls = _tls(settings) if settings.url.startswith("https://") else True
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def look_up(self, looked_up: Sequence[Item]) -> Sequence[Found]:
        """What applies to each item, within the timeout of the settings.

        Raises:
            AwayError: if there is no usable answer.
            RefusedError: if the monitor rejects an item.
        """
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
        body = msgspec.json.encode({"items": looked_up})
        try:
            async with self._open().post("/v1/decisions", data=body, timeout=timeout) as response:
                content = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise AwayError(str(error) or type(error).__name__) from error
        if status in _REJECTED:
            raise RefusedError(f"POST /v1/decisions answers {status}")
        if status != 200:
            raise AwayError(f"POST /v1/decisions answers {status}")
        try:
            found = msgspec.json.decode(content, type=_Answers).items
        except msgspec.MsgspecError as error:
            raise AwayError(f"POST /v1/decisions answers something else: {error}") from error
        if len(found) != len(looked_up):
            raise AwayError(f"POST /v1/decisions answers {len(found)} of {len(looked_up)} items")
        return found

    async def feed(self, position: str | None) -> AsyncGenerator[Event, None]:
        """The events of the feed until it ends.

        Args:
            position: of the last event that is known; `None`: everything is sent again.

        Raises:
            AwayError: if the monitor refuses, or the connection breaks.
        """
        headers = {"Accept": "text/event-stream"}
        if position is not None:
            headers["Last-Event-ID"] = position
        timeout = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=_SILENT_SECONDS)
        try:
            async with self._open().get(
                "/v1/decisions/feed", headers=headers, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise AwayError(f"GET /v1/decisions/feed answers {response.status}")
                event = Event(position=position)
                async for line in response.content:
                    name, _, value = line.strip(b"\r\n").partition(b":")
                    value = value.removeprefix(b" ")
                    if name == b"event":
                        event = event._replace(name=value.decode())
                    elif name == b"data":
                        event = event._replace(data=event.data + value)
                    elif name == b"id":
                        event = event._replace(position=value.decode())
                    elif not name and not value:
                        yield event
                        event = Event(position=event.position)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AwayError(str(error) or type(error).__name__) from error
        raise AwayError("the feed ended")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                self._settings.url,
                headers=self._headers,
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=_MOST_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


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

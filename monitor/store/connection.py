"""The Redis server that takes writes: how it is named, and how long it is asked.

| URL | |
|---|---|
| `redis://[user:password@]host[:6379][/db]` | one server |
| `unix://[user:password@]/path[?db=0]` | one server, by its socket on this machine |
| `redis+sentinel://[user:password@]host[:26379],host…/name[/db]` | the primary `name`, \
wherever the Sentinels at these hosts have it at present |
| `redis+cluster://[user:password@]host[:6379],host…` | a Cluster (`cluster.py`), by some of its \
servers |
| `rediss://…`, `rediss+sentinel://…`, `rediss+cluster://…` | the same over TLS, to the Sentinels \
too |

Options follow a question mark, under redis-py's names: `ssl_ca_certs`, `ssl_certfile` and
`ssl_keyfile` name files, `ssl_check_hostname=false` takes any name that the CA has signed;
`sentinel_username` and `sentinel_password` are the login at the Sentinels. What is special in a
URL is written `%XX` in a password.

An answer is waited for so many seconds, the timeout. What fails sooner (a connection that was
lost, a primary that is a replica now) is tried again, up to twice; so an error comes within twice
the timeout.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, groupby, islice
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from monitor.errors import ConfigError, StoreError
from monitor.store.record_block import Packed
from monitor.store.redis_errors import explain, passes

Command = tuple[Any, ...]  # its name and arguments: str, bytes, int; or a Packed

# Strict, so that a password with a special character is not taken for a host and shown.
HOST = r"(?:\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d+)?"
LOGIN, OPTIONS = r"(?:[^@/?#]*@)?", r"(?:\?[^@#]*)?"
_TCP = re.compile(rf"rediss?://{LOGIN}{HOST}(?:/\d*)?{OPTIONS}")
_SOCKET = re.compile(rf"unix://{LOGIN}/[^@?#]+{OPTIONS}")
_SENTINELS = re.compile(
    rf"(rediss?)\+sentinel://({LOGIN})({HOST}(?:,{HOST})*)/([\w.-]+)((?:/\d*)?{OPTIONS})"
)
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_PAUSES = (0.05, 0.25)  # seconds before another attempt
_TOGETHER = 1000  # commands a system call
_T = TypeVar("_T")

Node = Callable[[], AbstractContextManager[Any]]  # gives a connection to one server


class Primary:
    """Connections to the server that takes writes at present.

    Args:
        url: see above.
        timeout: seconds.

    Attributes:
        slotted: whether only keys with the same part in braces are in reach of one transaction.

    Raises:
        ConfigError: if the URL cannot be used.
    """

    slotted = False

    def __init__(self, url: str, timeout: float) -> None:
        self._timeout = timeout
        try:
            self._name = self._open(url)
        except (ValueError, TypeError, RedisError) as error:
            unknown = re.search(r"argument '(\w+)'", str(error))
            why = f"there is no option {unknown[1]}" if unknown else error
            raise ConfigError(
                f"XM_REDIS_URL cannot be used ({why}): write redis://USER:PASSWORD@HOST:6379/0, "
                "redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379/NAME/0 or "
                "redis+cluster://USER:PASSWORD@HOST:6379,HOST:6379, rediss for TLS, and special "
                "characters of the password as %XX."
            ) from None

    def __str__(self) -> str:
        return self._name

    def ask(self, question: Callable[[], _T]) -> _T:
        """The answer to a question that may be asked again if its answer is lost.

        Raises:
            StoreError: if there is no answer, in time or in earnest.
        """
        begun = time.monotonic()
        for pause in (*_PAUSES, None):
            try:
                return question()
            except RedisError as error:
                late = time.monotonic() - begun >= self._timeout
                if not self._passes(error) or pause is None or late:
                    raise StoreError(explain(error, self._name, cluster=self.slotted)) from None
                time.sleep(pause * random.uniform(0.5, 1.0))
        raise AssertionError

    def connection(self, key: str = "") -> AbstractContextManager[Any]:
        """A connection for one's own to the server that has a key."""
        return borrowed(self._pool)

    def nodes(self) -> list[Node]:
        """What gives a connection, for each server that keys are on."""
        return [self.connection]

    def _open(self, url: str) -> str:
        """Be ready for connections; what to call the server."""
        name, self._pool = _open(url, self._timeout)
        self._pool.make_connection()  # only here redis-py looks at its options
        return name

    def _passes(self, error: RedisError) -> bool:
        return passes(error)


@contextmanager
def borrowed(pool: redis.ConnectionPool) -> Iterator[Any]:
    """A connection of a pool; closed, and its WATCH with it, unless all went well."""
    connection: Any = pool.get_connection()
    try:
        connection.check_health()
        yield connection
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def execute(connection: Any, commands: Iterable[Command]) -> list[Any]:
    """Send commands in one go and read their answers, or raise the first that is an error.

    As redis-py's pipeline does, for a quarter of its CPU time.
    """
    commands, count = iter(commands), 0
    while some := list(islice(commands, _TOGETHER)):
        for packed, together in groupby(some, lambda command: isinstance(command, Packed)):
            if packed:
                blocks = cast("list[Packed]", list(together))
                data = [block.data for block in blocks]
                count += sum(block.commands for block in blocks)
            else:
                single = list(together)
                data = [b"".join(map(pack_command, single))]
                count += len(single)
            connection.send_packed_command(data, check_health=False)
    return [connection.read_response() for _ in range(count)]


def transact(connection: Any, commands: Iterable[Command]) -> list[Any]:
    """The answers to commands of which all are executed or none.

    Raises:
        WatchError: if something that the connection watches has changed.
    """
    *_, answers = execute(connection, chain([("MULTI",)], commands, [("EXEC",)]))
    if answers is None:
        raise WatchError("what is watched has changed")
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return cast("list[Any]", answers)


def info(connection: Any, section: str) -> dict[str, str]:
    """What a server says of itself."""
    (text,) = execute(connection, [("INFO", section)])
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


def _open(url: str, timeout: float) -> tuple[str, redis.ConnectionPool]:
    """What to call the server, and a pool of connections to it."""
    if found := _SENTINELS.fullmatch(url):
        return _through_sentinels(*found.groups(), timeout=timeout)
    if _TCP.fullmatch(url):
        options = options_of(url, timeout)
        name = f"{options['host']}:{options.get('port', 6379)}"
    elif _SOCKET.fullmatch(url):
        options = options_of(url, timeout)
        del options["socket_keepalive"]
        name = options["path"]
    else:
        raise ValueError("it has another form")
    return name, redis.ConnectionPool(**options)


def _through_sentinels(
    scheme: str, login: str, hosts: str, service: str, rest: str, *, timeout: float
) -> tuple[str, redis.ConnectionPool]:
    options = options_of(f"{scheme}://{login}any{rest}", timeout)
    del options["host"]
    tls = {"ssl": options.pop("connection_class", None) is not None}
    login_there = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    shared = {name: each for name, each in options.items() if name.startswith("ssl_")}
    addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(address.hostname, address.port or 26379) for address in addresses],
        sentinel_kwargs=waits(timeout / len(addresses)) | shared | tls | login_there,
    )
    pool = SentinelConnectionPool(service, sentinel, **options, **tls)  # type: ignore[no-untyped-call]
    return f"{service} of {hosts}", pool


def options_of(url: str, timeout: float) -> dict[str, Any]:
    """What redis-py makes of a URL, and our settings above it."""
    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    for name in _FILES:
        if name in options and not os.access(options[name], os.R_OK):
            raise ValueError(f"{name} is {options[name]}, which cannot be read")
    return options | waits(timeout) | {"health_check_interval": 15}


def waits(timeout: float) -> dict[str, Any]:
    """A connection's settings, above all how long it waits."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }

"""Connections to the Redis server that accepts writes, by URL, with a bound on the waiting time.

| URL | |
|---|---|
| `redis://[user:password@]host[:6379][/db]` | one server |
| `unix://[user:password@]/path[?db=0]` | one server, by its socket on this machine |
| `redis+sentinel://[user:password@]host[:26379],host…/name[/db]` | the primary `name`, as the \
Sentinels at these hosts report it |
| `redis+cluster://[user:password@]host[:6379],host…` | a Cluster (`cluster.py`), by some of its \
servers |
| `rediss://…`, `rediss+sentinel://…`, `rediss+cluster://…` | the same over TLS, to the Sentinels \
too |

Options follow a question mark, under redis-py's names: `ssl_ca_certs`, `ssl_certfile` and
`ssl_keyfile` name files, `ssl_check_hostname=false` accepts any host name that the CA has signed;
`sentinel_username` and `sentinel_password` are the login at the Sentinels. Write special characters
of a password as `%XX`.

A call waits at most `timeout` seconds for each answer. What fails sooner (a lost connection, a
primary that has become a replica) is tried again, up to twice. So an error comes within twice the
timeout.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from monitor.backoff import pauses
from monitor.errors import ConfigError
from monitor.store.record_block import Packed
from monitor.store.redis_errors import is_transient, to_store_error

Command = tuple[Any, ...]  # its name and arguments: str, bytes, int; or a Packed

# Strict: a password with a special character must not pass for a host and be shown.
HOST = r"(?:\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d+)?"
LOGIN, QUERY = r"(?:[^@/?#]*@)?", r"(?:\?[^@#]*)?"
_TCP = re.compile(rf"rediss?://{LOGIN}{HOST}(?:/\d*)?{QUERY}")
_SOCKET = re.compile(rf"unix://{LOGIN}/[^@?#]+{QUERY}")
_SENTINELS = re.compile(
    rf"(rediss?)\+sentinel://({LOGIN})({HOST}(?:,{HOST})*)/([\w.-]+)((?:/\d*)?{QUERY})"
)
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_RETRIES = 2
_PAUSES = (0.05, 0.25)  # seconds, the first and the longest
_COMMANDS_PER_SEND = 1000
_T = TypeVar("_T")

Node = Callable[[], AbstractContextManager[Any]]  # opens a connection to one server


class Primary:
    """Connections to the server that accepts writes.

    Args:
        url: see above.
        timeout: seconds to wait for an answer.

    Attributes:
        is_cluster: whether a transaction reaches only keys with the same hash tag, the part of the
            name in braces.

    Raises:
        ConfigError: if the URL cannot be used.
    """

    is_cluster = False

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

    def run(self, operation: Callable[[], _T]) -> _T:
        """Run an operation that may be repeated if its answer is lost, and return its result.

        Raises:
            StoreUnavailableError: if it fails and a later call may succeed.
            StoreRefusedError: if the server will refuse the same call again.
        """
        start = time.monotonic()
        for pause in (*islice(pauses(*_PAUSES), _RETRIES), None):
            try:
                return operation()
            except RedisError as error:
                late = time.monotonic() - start >= self._timeout
                if not self._may_retry(error) or pause is None or late:
                    raise to_store_error(error, self._name, cluster=self.is_cluster) from None
                time.sleep(pause)
        raise AssertionError

    def connection(self, key: str = "") -> AbstractContextManager[Any]:
        """A connection, for one user at a time, to the server that has a key."""
        return pooled(self._pool)

    def by_server(self, keys: Sequence[str]) -> list[Sequence[str]]:
        """Keys in groups that one connection serves."""
        return [keys] if keys else []

    def nodes(self) -> list[Node]:
        """For each server with keys, what opens a connection to it."""
        return [self.connection]

    def _open(self, url: str) -> str:
        """Create the pool; return the server's name for messages, without the login."""
        name, self._pool = _open(url, self._timeout)
        self._pool.make_connection()  # redis-py checks its options only here
        return name

    def _may_retry(self, error: RedisError) -> bool:
        return is_transient(error)


@contextmanager
def pooled(pool: redis.ConnectionPool) -> Iterator[Any]:
    """A connection of a pool. It is closed after any failure, and its WATCH ends with it."""
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
    """Send commands as one pipeline and return their answers, or raise the first error.

    redis-py's own pipeline takes four times the CPU.
    """
    commands, count = iter(commands), 0
    while chunk := list(islice(commands, _COMMANDS_PER_SEND)):
        for packed, group in groupby(chunk, lambda command: isinstance(command, Packed)):
            if packed:
                blocks = cast("list[Packed]", list(group))
                data = [block.data for block in blocks]
                count += sum(block.commands for block in blocks)
            else:
                single = list(group)
                data = [b"".join(map(pack_command, single))]
                count += len(single)
            connection.send_packed_command(data, check_health=False)
    return [connection.read_response() for _ in range(count)]


def transact(connection: Any, commands: Iterable[Command]) -> list[Any]:
    """Run commands as one MULTI/EXEC and return their answers.

    Raises:
        WatchError: if a key that the connection watches has changed.
    """
    *_, answers = execute(connection, chain([("MULTI",)], commands, [("EXEC",)]))
    if answers is None:
        raise WatchError("a watched key has changed")
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return cast("list[Any]", answers)


def info(connection: Any, section: str) -> dict[str, str]:
    """A section of a server's INFO, by field."""
    (text,) = execute(connection, [("INFO", section)])
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


def _open(url: str, timeout: float) -> tuple[str, redis.ConnectionPool]:
    """The server's name for messages, and a pool of connections to it."""
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
        raise ValueError("it has an unknown form")
    return name, redis.ConnectionPool(**options)


def _through_sentinels(
    scheme: str, login: str, hosts: str, service: str, rest: str, *, timeout: float
) -> tuple[str, redis.ConnectionPool]:
    options = options_of(f"{scheme}://{login}any{rest}", timeout)
    del options["host"]
    tls = {"ssl": options.pop("connection_class", None) is not None}
    sentinel_login = {
        name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")
    }
    shared = {name: each for name, each in options.items() if name.startswith("ssl_")}
    addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(address.hostname, address.port or 26379) for address in addresses],
        sentinel_kwargs=timeouts(timeout / len(addresses)) | shared | tls | sentinel_login,
    )
    pool = SentinelConnectionPool(service, sentinel, **options, **tls)  # type: ignore[no-untyped-call]
    return f"{service} of {hosts}", pool


def options_of(url: str, timeout: float) -> dict[str, Any]:
    """redis-py's options of a URL, with our timeouts."""
    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    for name in _FILES:
        if name in options and not os.access(options[name], os.R_OK):
            raise ValueError(f"{name} is {options[name]}, which cannot be read")
    return options | timeouts(timeout) | {"health_check_interval": 15}


def timeouts(timeout: float) -> dict[str, Any]:
    """Options of a connection: it waits `timeout` seconds and does not retry by itself."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }

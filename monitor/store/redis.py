"""Records in Redis (or Valkey): the truth that workers share.

| key | value | expires |
|---|---|---|
| `xm:p:<pseudonym>` | the record's bytes (`sketches/profile.py`) | when idle for `record_days` |
| `xm:o:<topic>:<partition>` | a partition's state, its offset included | never |
| `xm:c:<topic>:<partition>` | the number of the latest claim to it | never |
| `xm:d:<pseudonym>` | a decision as JSON | with the decision |

A checkpoint is one MULTI/EXEC: Redis refuses all of it or applies all of it. Writing the same
checkpoint twice does nothing new, so a lost answer is simply asked for again. It watches the
claims of its partitions: once a successor has claimed one, nothing of a predecessor who does not
know it yet is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from monitor.decisions import Decision
from monitor.errors import ConfigError, FencedError, StoreError
from monitor.store.base import Checkpoint, fenced

RECORD, PARTITION, CLAIM, DECISION = "xm:p:", "xm:o:", "xm:c:", "xm:d:"
_MGET = 1000  # keys a command, so that Redis serves others in between
_T = TypeVar("_T")


class RedisStore:
    """A store on a Redis server.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads them.
        record_seconds: life of an idle key's record.
        timeout: seconds to wait for an answer.

    Raises:
        ConfigError: if the url cannot be read.
    """

    def __init__(self, url: str, record_seconds: float, timeout: float = 5.0) -> None:
        try:
            self._redis = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                socket_keepalive=True,
                health_check_interval=15,
                retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 2),
                protocol=2,
            )
        except ValueError as error:
            raise ConfigError(f"XM_REDIS_URL cannot be used: {error}.") from error
        kwargs = self._redis.connection_pool.connection_kwargs
        self._name = kwargs.get("path") or f"{kwargs.get('host')}:{kwargs.get('port')}"
        self._record_seconds = int(record_seconds)

    def __repr__(self) -> str:
        return f"RedisStore({self._name})"

    def load(self, keys: Sequence[str]) -> list[bytes | None]:
        def mget() -> list[bytes | None]:
            found: list[bytes | None] = []
            for i in range(0, len(keys), _MGET):
                names = [RECORD + key for key in keys[i : i + _MGET]]
                found += cast("list[bytes | None]", self._redis.mget(names))
            return found

        return self._ask(mget)

    def claim(self, name: str) -> tuple[int, bytes | None]:
        def transaction() -> tuple[int, bytes | None]:
            pipe = self._redis.pipeline(transaction=True)
            pipe.incr(CLAIM + name)
            pipe.get(PARTITION + name)
            number, state = pipe.execute()
            return number, state

        return self._ask(transaction)

    def commit(self, checkpoint: Checkpoint) -> None:
        def transaction() -> None:
            with self._redis.pipeline(transaction=True) as pipe:
                self._check_claims(pipe, checkpoint.claims)
                for key, record in checkpoint.records.items():
                    pipe.set(RECORD + key, record, ex=self._record_seconds)
                for decision in checkpoint.decisions:
                    seconds = max(1, int(decision.seconds))
                    pipe.set(DECISION + decision.key, msgspec.json.encode(decision), ex=seconds)
                for name, state in checkpoint.partitions.items():
                    pipe.set(PARTITION + name, state)
                pipe.execute()

        self._ask(transaction)

    def _check_claims(self, pipe: Any, claims: Mapping[str, int]) -> None:
        """Begin the transaction, which fails if a claim changes before its end."""
        if not claims:
            return
        names = [CLAIM + name for name in claims]
        pipe.watch(*names)
        for name, claim, latest in zip(claims, claims.values(), pipe.mget(names), strict=True):
            if int(latest or 0) != claim:
                raise fenced(name)
        pipe.multi()

    def decision(self, key: str) -> Decision | None:
        value = self._ask(lambda: cast("bytes | None", self._redis.get(DECISION + key)))
        return msgspec.json.decode(value, type=Decision) if value else None

    def ping(self) -> None:
        self._ask(lambda: cast("Any", self._redis.set("xm:ready", b"", ex=60)))

    def _ask(self, question: Callable[[], _T]) -> _T:
        try:
            return question()
        except redis.exceptions.WatchError as error:
            raise FencedError("A partition was taken up by another worker meanwhile.") from error
        except redis.exceptions.RedisError as error:
            raise StoreError(self._remedy(error)) from error

    def _remedy(self, error: redis.exceptions.RedisError) -> str:
        text = str(error) or type(error).__name__
        where = f"Redis at {self._name}"
        if isinstance(error, redis.exceptions.AuthenticationError) or "NOAUTH" in text:
            return f"{where} refuses the login ({text}): put user and password into XM_REDIS_URL."
        if isinstance(error, redis.exceptions.ReadOnlyError) or "READONLY" in text:
            return f"{where} answers READONLY: point XM_REDIS_URL at the primary."
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "maxmemory" in text:
            return f"{where} is full ({text}): raise its maxmemory or lower XM_RECORD_DAYS."
        if isinstance(error, redis.exceptions.BusyLoadingError) or "LOADING" in text:
            return f"{where} is loading its data: it will be used as soon as it is ready."
        if isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
            return f"{where} is away ({text}): start it, or correct XM_REDIS_URL."
        return f"{where} answers {text}."

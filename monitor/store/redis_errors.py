"""Redis errors as `StoreError`: one sentence with the remedy, and whether a retry can help.

Neither user nor password is in a sentence, whatever the server or the library wrote.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from redis import exceptions
from redis.sentinel import MasterNotFoundError

from monitor.errors import StoreRefusedError, StoreUnavailableError

#: What the ACL of the monitor's user must allow; and `+select` for another database than 0.
ACL = (
    "~xm:* +get +mget +set +del +hget +hset +hgetall +hdel +hscan +incr +rpush +lrange +watch "
    "+multi +exec +ping +info +xadd +xread +xrange +xrevrange +scan "
    "+memory|usage "  # for `xm keys`
    "+hmget +hlen +expire +zadd +zscore +zcard +zrange +zrevrange "  # for cases, sharing, responses
    "+zremrangebyrank +zremrangebyscore"
)
#: And on a Cluster.
CLUSTER_ACL = "+cluster|slots"


class _Case(NamedTuple):
    """An error, by its class and by words in its text, and what to report."""

    error: type[Exception]
    words: str  # regular expression; empty: any text
    raises: type[StoreUnavailableError] | type[StoreRefusedError]
    answer: str


_CODES: dict[type[Exception], str] = {
    exceptions.NoPermissionError: "NOPERM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.MovedError: "MOVED",
    exceptions.ClusterDownError: "CLUSTERDOWN",
}
_REFUSED, _UNAVAILABLE = StoreRefusedError, StoreUnavailableError
_IS_A_CLUSTER = "is a Cluster: write redis+cluster://HOST:PORT,HOST:PORT in XM_REDIS_URL"
_IS_MOVING = (
    "is moving a slot that is in use: the monitor uses it as soon as that is done; if it never "
    "ends, run `redis-cli --cluster fix`"
)

# The first case that matches applies.
_CASES = [
    _Case(exceptions.ConnectionError, "CERTIFICATE_VERIFY_FAILED", _REFUSED,
          "shows a certificate that fails verification ({detail}): name the file of its CA in "
          "XM_REDIS_URL, ?ssl_ca_certs=FILE, and the server as the certificate does"),
    _Case(exceptions.ConnectionError, "CERTIFICATE_REQUIRED", _REFUSED,
          "requires a client certificate: name one in XM_REDIS_URL, "
          "?ssl_certfile=FILE&ssl_keyfile=FILE"),
    _Case(exceptions.ConnectionError, "EOF occurred", _UNAVAILABLE,
          "closed the TLS connection: start it, or name a client certificate in XM_REDIS_URL if it "
          "requires one, ?ssl_certfile=FILE&ssl_keyfile=FILE"),
    _Case(exceptions.NoPermissionError, "", _REFUSED,
          f"does not let this user {{detail}}: grant it `{ACL}`"),
    _Case(exceptions.ResponseError, "unknown command", _REFUSED,
          "has a command disabled and cannot {detail}: enable it again, or do without what needs "
          "it"),
    _Case(exceptions.AuthenticationError, "", _REFUSED,
          "refuses the login: put its user and password into XM_REDIS_URL"),
    _Case(exceptions.ResponseError, "DB index is out of range", _REFUSED,
          "does not have this database: correct the number at the end of XM_REDIS_URL"),
    _Case(exceptions.ResponseError, "WRONGTYPE", _REFUSED,
          "holds a value of another type under a key that starts with xm: another program writes "
          "there, so give the monitor a database of its own"),
    _Case(exceptions.ReadOnlyError, "", _UNAVAILABLE,
          "is read-only: point XM_REDIS_URL at the primary"),
    _Case(exceptions.OutOfMemoryError, "", _UNAVAILABLE,
          "is full: raise its maxmemory or lower XM_RECORD_DAYS"),
    _Case(exceptions.BusyLoadingError, "", _UNAVAILABLE,
          "is loading its data: the monitor uses it as soon as it is ready"),
    _Case(exceptions.MasterDownError, "", _UNAVAILABLE,
          "is a replica that has lost its primary: point XM_REDIS_URL at the primary"),
    _Case(exceptions.ResponseError, "MISCONF", _UNAVAILABLE,
          "cannot write to its disk and accepts no writes: see its log; often the disk is full"),
    _Case(exceptions.ResponseError, "NOREPLICAS", _UNAVAILABLE,
          "has fewer replicas than its min-replicas-to-write: start them"),
    _Case(exceptions.ClusterCrossSlotError, "", _REFUSED, _IS_A_CLUSTER),
    _Case(exceptions.AskError, "", _REFUSED, _IS_A_CLUSTER),  # or its subclass MovedError
    _Case(exceptions.TryAgainError, "", _REFUSED, _IS_A_CLUSTER),
    _Case(exceptions.ClusterDownError, "", _REFUSED, _IS_A_CLUSTER),
    _Case(exceptions.ResponseError, "cluster support disabled", _REFUSED,
          "is not a Cluster: write redis for redis+cluster in XM_REDIS_URL"),
    _Case(exceptions.ConnectionError, "max number of clients", _UNAVAILABLE,
          "has too many clients: raise its maxclients"),
    _Case(exceptions.ConnectionError, "closed by server|reset by peer", _UNAVAILABLE,
          "closes connections: start it, or write rediss for redis in XM_REDIS_URL if it expects "
          "TLS"),
]  # fmt: skip

_CLUSTER_CASES = [
    _Case(exceptions.NoPermissionError, "", _REFUSED,
          f"does not let this user {{detail}}: grant it `{ACL} {CLUSTER_ACL}`"),
    _Case(exceptions.MovedError, "", _UNAVAILABLE,
          "does not agree on the owner of a slot: a failover ends by itself; otherwise see "
          "`redis-cli --cluster check`"),
    _Case(exceptions.AskError, "", _UNAVAILABLE, _IS_MOVING),
    _Case(exceptions.TryAgainError, "", _UNAVAILABLE, _IS_MOVING),
    _Case(exceptions.ClusterDownError, "", _UNAVAILABLE,
          "has slots that no server serves: a failover ends by itself; otherwise start the servers "
          "that are down"),
]  # fmt: skip


def to_store_error(
    error: exceptions.RedisError, name: str, *, cluster: bool = False
) -> StoreUnavailableError | StoreRefusedError:
    """What to raise for an error of the server or Cluster of this name."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MasterNotFoundError):
        return _sentinel_error(text, name)
    for case in _CLUSTER_CASES + _CASES if cluster else _CASES:
        if _is_a(error, case.error) and re.search(case.words, text):
            return case.raises(f"Redis at {name} {case.answer.format(detail=_detail(text))}.")
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
        return StoreUnavailableError(
            f"Redis at {name} is away ({error}): start it, or correct XM_REDIS_URL."
        )
    return StoreUnavailableError(f"Redis at {name} answers {text}.")


def _is_a(error: exceptions.RedisError, kind: type[Exception]) -> bool:
    """Whether an error is of a kind, or an EXEC was refused because of one that is."""
    if isinstance(error, exceptions.ExecAbortError) and kind in _CODES:
        return _CODES[kind] in str(error)
    return isinstance(error, kind)


def is_transient(error: exceptions.RedisError) -> bool:
    """Whether the next attempt, some milliseconds later, may succeed."""
    lasting = exceptions.AuthenticationError, exceptions.BusyLoadingError
    transient = exceptions.ConnectionError, exceptions.TimeoutError, exceptions.WatchError
    return isinstance(error, transient) and not isinstance(error, lasting)


def _sentinel_error(text: str, name: str) -> StoreUnavailableError | StoreRefusedError:
    if re.search("Authentication|NoPermission", text):
        return StoreRefusedError(
            f"The Sentinels of {name} refuse the login: put "
            "?sentinel_username=USER&sentinel_password=PASSWORD into XM_REDIS_URL."
        )
    return StoreUnavailableError(
        f"No Sentinel knows a primary for {name}: a failover ends by itself; otherwise start what "
        "is down, or correct XM_REDIS_URL."
    )


def _detail(text: str) -> str:
    """The command or the reason that the text of an error names."""
    command = re.search(r"'([\w|]+)' command|unknown command '?(\w+)", text)
    certificate = re.search(r"certificate verify failed: ([^(]+?)\.? \(", text)
    if command:
        return f"run {command[1] or command[2]}"
    return certificate[1] if certificate else "touch the keys xm:*"

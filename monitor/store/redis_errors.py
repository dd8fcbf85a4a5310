"""Why Redis refuses: each of its errors as one sentence with the remedy in it.

Neither user nor password is in a sentence, whatever the server or the library said.
"""

from __future__ import annotations

import re

from redis import exceptions
from redis.sentinel import MasterNotFoundError

#: What the ACL of the monitor's user must allow; and `+select` for another database than 0.
ACL = (
    "~xm:* +get +mget +set +hset +hgetall +hdel +hscan +incr +watch +multi +exec +ping +info "
    "+scan +memory|usage"  # for `xm keys`
)
#: And on a Cluster.
CLUSTER_ACL = "+cluster|slots"

# The first line with a word that is in the error, or in the name of its class, is the answer.
_ANSWERS = (
    ("CERTIFICATE_VERIFY_FAILED", "shows a certificate that does not pass ({detail}): name the "
     "file of its CA in XM_REDIS_URL, ?ssl_ca_certs=FILE, and the server as the certificate does"),
    ("CERTIFICATE_REQUIRED|EOF occurred", "ends TLS connections: start it, or name a certificate "
     "in XM_REDIS_URL if it wants yours, ?ssl_certfile=FILE&ssl_keyfile=FILE"),
    ("NoPermission|NOPERM", "does not let this user {detail}: grant it `" + ACL + "`"),
    ("unknown command", "has been left without a command, so nothing can {detail} there: give the "
     "command back, or do without what asks for it"),
    ("Authentication|NOAUTH|WRONGPASS", "refuses the login: put its user and password into "
     "XM_REDIS_URL"),
    ("ReadOnly|READONLY", "answers READONLY: point XM_REDIS_URL at the primary"),
    ("OutOfMemory|OOM", "is full: raise its maxmemory or lower XM_RECORD_DAYS"),
    ("BusyLoading", "is loading its data: it will be used as soon as it is ready"),
    ("MasterDown", "is a replica that has lost its primary: point XM_REDIS_URL at the primary"),
    ("MISCONF", "cannot write to its disk and so takes nothing: its log says why, often the disk "
     "is full"),
    ("NOREPLICAS", "has fewer replicas than its min-replicas-to-write: start them"),
    ("CrossSlot|MovedError|AskError|ClusterDown|TryAgain", "is a Cluster: write "
     "redis+cluster://HOST:PORT,HOST:PORT in XM_REDIS_URL"),
    ("cluster support disabled", "is no Cluster: write redis for redis+cluster in XM_REDIS_URL"),
    ("max number of clients", "has too many clients: raise its maxclients"),
    ("closed by server|reset by peer", "closes connections: start it, or write rediss for redis "
     "in XM_REDIS_URL if it wants TLS"),
)  # fmt: skip

_OF_A_CLUSTER = (
    ("NoPermission|NOPERM", f"does not let this user {{detail}}: grant it `{ACL} {CLUSTER_ACL}`"),
    ("MovedError", "does not agree on who has which slot: a failover ends by itself; else see "
     "`redis-cli --cluster check`"),
    ("AskError|TryAgain", "is moving a slot that is in use: it will be used as soon as that is "
     "done; if it never is, `redis-cli --cluster fix` ends it"),
    ("ClusterDown", "has slots that nobody serves at present: a failover ends by itself; else "
     "start what is away"),
)  # fmt: skip


def explain(error: exceptions.RedisError, name: str, *, cluster: bool = False) -> str:
    """One sentence on an error of the server or the Cluster of this name."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MasterNotFoundError):
        return _of_sentinels(text, name)
    for words, answer in _OF_A_CLUSTER + _ANSWERS if cluster else _ANSWERS:
        if re.search(words, text):
            return f"Redis at {name} {answer.format(detail=_detail(text))}."
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
        return f"Redis at {name} is away ({error}): start it, or correct XM_REDIS_URL."
    return f"Redis at {name} answers {text}."


def passes(error: exceptions.RedisError) -> bool:
    """Whether it may be gone with the next attempt."""
    lasting = exceptions.AuthenticationError, exceptions.BusyLoadingError
    passing = exceptions.ConnectionError, exceptions.TimeoutError, exceptions.WatchError
    return isinstance(error, passing) and not isinstance(error, lasting)


def _of_sentinels(text: str, name: str) -> str:
    if re.search("Authentication|NoPermission", text):
        return (
            f"The Sentinels of {name} refuse the login: put "
            "?sentinel_username=USER&sentinel_password=PASSWORD into XM_REDIS_URL."
        )
    return (
        f"No Sentinel has a primary for {name} at present: a failover ends by itself; else start "
        "what is away, or correct XM_REDIS_URL."
    )


def _detail(text: str) -> str:
    """The part of an error that tells an operator more."""
    command = re.search(r"'([\w|]+)' command|unknown command '?(\w+)", text)
    certificate = re.search(r"certificate verify failed: ([^(]+?)\.? \(", text)
    if command:
        return f"run {command[1] or command[2]}"
    return certificate[1] if certificate else "touch the keys xm:*"

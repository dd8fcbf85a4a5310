"""Checks of Redis: version, rights, memory, persistence and clock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from monitor.errors import StoreError
from monitor.store.cluster import connect
from monitor.store.connection import Command, Node, Primary, execute, info
from monitor.store.redis_errors import CLUSTER_ACL
from pipelines.health.checks import Check, bad, doubtful, failure, good, worst
from pipelines.health.deployment import MOST_SKEW, SKEW

AREA = "Redis"
_OLDEST = (6, 0)  # ACLs, streams
_FULL, _FILLING = 0.95, 0.8  # of maxmemory
_SECONDS = 60  # life of the keys that are written to try rights
_TIMEOUT = 5.0


def check_redis(url: str) -> Iterator[Check]:
    """All checks of Redis; on a Cluster, of each server, and the worst counts."""
    server = connect(url, _TIMEOUT)
    try:
        nodes = server.nodes()
        for node in nodes:
            server.run(partial(_ping, node))
    except StoreError as error:
        yield failure(AREA, "connection", error)
        return
    servers = f", {len(nodes)} servers" if server.is_cluster else ""
    yield good(AREA, "connection", f"{server} answers{servers}.")
    yield check_rights(server)
    checks: list[Check] = []
    for node in nodes:
        try:
            checks += server.run(partial(_node, node))
        except StoreError as error:
            checks.append(failure(AREA, "state", error))
    yield from worst(checks)


def _ping(node: Node) -> None:
    with node() as connection:
        execute(connection, [("PING",)])


def _node(node: Node) -> list[Check]:
    with node() as connection:
        asked = time.time()
        facts: dict[str, str] = {}
        for section in ("server", "memory", "persistence", "replication"):
            facts |= info(connection, section)
        waited = time.time() - asked
    return [
        _version(facts),
        _role(facts),
        _eviction(facts),
        _memory(facts),
        _persistence(facts),
        *_clock(facts, asked, waited),
    ]


def _version(facts: dict[str, str]) -> Check:
    text = facts.get("redis_version", "0")
    name = f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {text}"
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST:
        return bad(
            AREA,
            "version",
            f"{name} is too old.",
            f"Upgrade to {'.'.join(map(str, _OLDEST))} or later, or to Valkey.",
        )
    return good(AREA, "version", f"{name}.")


def _role(facts: dict[str, str]) -> Check:
    if facts.get("role", "master") != "master":
        return bad(
            AREA,
            "role",
            "This server is a replica and accepts no writes.",
            "Point XM_REDIS_URL at the primary, or at its Sentinels.",
        )
    replicas = int(facts.get("connected_slaves", 0))
    return good(AREA, "role", f"Primary with {replicas} replicas.")


def _eviction(facts: dict[str, str]) -> Check:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return bad(
            AREA,
            "eviction",
            f"maxmemory-policy is {policy}: a full Redis deletes records and decisions.",
            "CONFIG SET maxmemory-policy noeviction, and write it into redis.conf.",
        )
    return good(AREA, "eviction", "Nothing is evicted (noeviction).")


def _memory(facts: dict[str, str]) -> Check:
    used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    machine = int(facts.get("total_system_memory", 0))
    limit = most or machine
    share = used / limit if limit else 0.0
    of = "maxmemory" if most else "the machine's memory"
    text = f"{used / 1e6:,.0f} MB used, {share:.0%} of {of}"
    remedy = "Raise maxmemory or lower XM_RECORD_DAYS. `xm keys --memory` shows what a key takes."
    if share > _FULL:
        return bad(AREA, "memory", f"{text}: soon no checkpoint can be written.", remedy)
    if share > _FILLING:
        return doubtful(AREA, "memory", f"{text}.", remedy)
    return good(AREA, "memory", f"{text}.")


def _persistence(facts: dict[str, str]) -> Check:
    aof = facts.get("aof_enabled") == "1"
    for field, what in (
        ("aof_last_write_status", "write to the append-only file"),
        ("aof_last_bgrewrite_status", "rewrite of the append-only file"),
        ("rdb_last_bgsave_status", "snapshot"),
    ):
        if (aof or field.startswith("rdb")) and facts.get(field, "ok") != "ok":
            return bad(
                AREA,
                "persistence",
                f"The last {what} failed.",
                "See its log; often the disk is full.",
            )
    if not aof:
        return doubtful(
            AREA,
            "persistence",
            "appendonly is off: a restart of Redis loses records, decisions and open alerts "
            "since the last snapshot, or all.",
            "CONFIG SET appendonly yes, and write it into redis.conf.",
        )
    return good(AREA, "persistence", "appendonly is on, and the last write succeeded.")


def _clock(facts: dict[str, str], asked: float, waited: float) -> Iterator[Check]:
    if "server_time_usec" not in facts:
        return
    skew = int(facts["server_time_usec"]) / 1e6 - asked
    off = max(0.0, abs(skew) - waited)
    text = f"It differs from this machine's by {off:.1f} s"
    remedy = "Synchronize both (chrony, systemd-timesyncd): decisions end by the clock."
    if off > MOST_SKEW:
        yield bad(AREA, "clock", f"{text}.", remedy)
    elif off > SKEW:
        yield doubtful(AREA, "clock", f"{text}.", remedy)
    else:
        yield good(AREA, "clock", f"{text}.")


def trials(name: str) -> dict[str, Command]:
    """By right, a command that needs it, on keys whose names begin with `name`."""
    text, number, fields = f"{name}:text", f"{name}:number", f"{name}:hash"
    items, stream, scores = f"{name}:list", f"{name}:stream", f"{name}:set"
    return {
        "+set": ("SET", text, "", "EX", _SECONDS),
        "+get": ("GET", text),
        "+mget": ("MGET", text),
        "+incr": ("INCR", number),
        "+hset": ("HSET", fields, "f", ""),
        "+hget": ("HGET", fields, "f"),
        "+hmget": ("HMGET", fields, "f"),
        "+hgetall": ("HGETALL", fields),
        "+hlen": ("HLEN", fields),
        "+hscan": ("HSCAN", fields, 0),
        "+hdel": ("HDEL", fields, "f"),
        "+rpush": ("RPUSH", items, ""),
        "+lrange": ("LRANGE", items, 0, 0),
        "+xadd": ("XADD", stream, "*", "f", ""),
        "+xread": ("XREAD", "COUNT", 1, "STREAMS", stream, 0),
        "+xrange": ("XRANGE", stream, "-", "+", "COUNT", 1),
        "+xrevrange": ("XREVRANGE", stream, "+", "-", "COUNT", 1),
        "+zadd": ("ZADD", scores, 0, "m"),
        "+zscore": ("ZSCORE", scores, "m"),
        "+zcard": ("ZCARD", scores),
        "+zrange": ("ZRANGE", scores, 0, 0),
        "+zrevrange": ("ZREVRANGE", scores, 0, 0),
        "+zremrangebyrank": ("ZREMRANGEBYRANK", scores, 0, 0),
        "+zremrangebyscore": ("ZREMRANGEBYSCORE", scores, 0, 0),
        "+expire": ("EXPIRE", text, _SECONDS),
        "+memory|usage": ("MEMORY", "USAGE", text),
        "+scan": ("SCAN", 0, "MATCH", f"{name}*", "COUNT", 1),
        "+info": ("INFO", "server"),
        "+ping": ("PING",),
        "+watch": ("WATCH", text),
        "+multi": ("MULTI",),
        "+exec": ("EXEC",),
        "+cluster|slots": ("CLUSTER", "SLOTS"),
        "+del": ("DEL", text, number, fields, items, stream, scores),
    }


def check_rights(server: Primary) -> Check:
    """Try each command that the monitor needs, on keys of this check's own."""
    name = f"xm:doctor:{{{secrets.token_hex(6)}}}"  # one slot of a Cluster
    tried = trials(name)
    if not server.is_cluster:
        del tried[CLUSTER_ACL]

    def run() -> list[str]:
        with server.connection(name) as connection:
            return [right for right, command in tried.items() if not _may(connection, command)]

    try:
        refused = server.run(run)
    except StoreError as error:
        return failure(AREA, "rights", error)
    if refused:
        return bad(
            AREA,
            "rights",
            f"This user may not: {' '.join(each.removeprefix('+') for each in refused)}.",
            f"ACL SETUSER NAME {' '.join(refused)}, with ~xm:* as its keys.",
        )
    return good(AREA, "rights", f"All {len(tried)} commands on xm:* are permitted.")


def _may(connection: Any, command: Command) -> bool:
    try:
        execute(connection, [command])
    except NoPermissionError:
        return False
    except ResponseError as error:  # of EXEC: because it, or MULTI before it, is not permitted
        return "NOPERM" not in str(error) and "unknown command" not in str(error)
    return True

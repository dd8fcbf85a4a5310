"""Indicators in Redis: what partners have shared, and what of it this deployment has seen.

| key | value | expires |
|---|---|---|
| `xm:indicators` | hash: indicators as JSON, by source and id | when read after their end |
| `xm:indicators:version` | number that grows with each change of them | never |
| `xm:indicators:found:<day>` | hash: own hashes, by kind and shared hash | after 3 days |
| `xm:indicators:keys:<hash>` | sorted set: keys with a template, by time | 2 days without one |
| `xm:shared:<kind>:<salt>:<day>:<bucket>` | hash: own hash → shared hash, as bytes | after 3 days |
| `xm:shared:templates:<salt>:<pseudonym>` | sorted set: hashes of a suspicious key, by time | \
after 14 days |

Records have hashes under the deployment's own secret only, so workers remember the shared hash of
each identifier that is in a fingerprint. The buckets are small, so Redis keeps them without a table
of pointers. No key depends on another, so all of it works on a Cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from monitor.errors import InputError
from monitor.sharing.indicator import KINDS, Found, Indicator, Kind
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute

INDICATORS_KEY, FOUND_KEY = "xm:indicators", "xm:indicators:found:"
VERSION_KEY = "xm:indicators:version"
KEYS_KEY, SHARED_KEY = "xm:indicators:keys:", "xm:shared:"
MOST_PER_SOURCE, MOST = 20_000, 100_000  # indicators
LISTED_KEYS = 500  # with one template
_TEMPLATES = 32  # of a key
_DAY = 86_400
_KEYS_SECONDS, _TEMPLATE_SECONDS = 2 * _DAY, 14 * _DAY
_GENERATIONS = 3  # days that an own hash is remembered, at least
_BUCKET_BITS = 12
_PAGE = 500  # commands per round trip


class IndicatorStore:
    """Reads and writes indicators. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
        salt: id of the salt of the shared hashes of own identifiers. Hashes under an earlier one
            are forgotten.
    """

    def __init__(self, url: str, timeout: float = 5.0, *, salt: str = "") -> None:
        self.server = connect(url, timeout)
        self._salt = salt

    def __repr__(self) -> str:
        return f"IndicatorStore({self.server})"

    # From partners

    def put(self, indicators: Sequence[Indicator], now: float) -> None:
        """Add indicators, or replace those with the same source and id.

        Args:
            now: wall-clock time, epoch seconds.

        Raises:
            InputError: if there would be more than the store has room for. Nothing is written.
        """
        kept = {_field(each): each for each in self.all(now)}
        kept |= {_field(each): each for each in indicators}
        by_source = defaultdict[str, int](int)
        for each in kept.values():
            by_source[each.source] += 1
        source, most = max(by_source.items(), key=lambda item: item[1], default=("", 0))
        if most > MOST_PER_SOURCE or len(kept) > MOST:
            raise InputError(
                f"With these indicators there would be {most:,} of {source} and {len(kept):,} in "
                f"all; there is room for {MOST_PER_SOURCE:,} of one source and {MOST:,} in all. "
                "Nothing was imported: ask the source for fewer, or for a shorter validity."
            )
        pairs = [(_field(each), msgspec.json.encode(each)) for each in indicators]
        for part in _parts(pairs):
            self._call("HSET", INDICATORS_KEY, *(x for pair in part for x in pair))
        self._call("INCR", VERSION_KEY)

    def revoke(self, source: str, ids: Iterable[str]) -> int:
        """Take indicators of one source back.

        Returns:
            how many there were.
        """
        fields = [_name(source, id) for id in ids]
        gone: int = sum(self._call("HDEL", INDICATORS_KEY, *part) for part in _parts(fields))
        self._call("INCR", VERSION_KEY)
        return gone

    def version(self) -> int:
        """A number that is another one after each change of indicators."""
        return int(self._call("GET", VERSION_KEY) or 0)

    def all(self, now: float) -> list[Indicator]:
        """All indicators that have not expired at a wall-clock time; those that have are deleted.

        Indicators of a newer version, which this one cannot read, are left out.
        """
        found: list[Indicator] = []
        expired: list[bytes] = []
        for field, value in self._scan(INDICATORS_KEY):
            try:
                indicator = msgspec.json.decode(value, type=Indicator)
            except msgspec.MsgspecError:
                continue
            if now >= indicator.valid_until:
                expired.append(field)
            else:
                found.append(indicator)
        for part in _parts(expired):
            self._call("HDEL", INDICATORS_KEY, *part)
        return sorted(found, key=lambda each: (each.source, each.id))

    # Seen here

    def found(self, indicators: Iterable[Indicator], now: float) -> list[Found]:
        """What this deployment has lately seen of some indicators, by kind and hash.

        Args:
            now: wall-clock time, epoch seconds.
        """
        wanted = {f"{each.kind}:{each.value}" for each in indicators}
        owns: dict[str, int] = {}
        for day in _days(now):
            for field, own in self._scan(f"{FOUND_KEY}{day}"):
                if (name := field.decode()) in wanted:
                    owns[name] = int(own)
        out: list[Found] = []
        of_keys: list[str] = []
        for name, own_hash in owns.items():
            kind, _, value = name.partition(":")
            if kind == "template":
                of_keys.append(value)
            else:
                out.append(Found(_kind(kind), value, own_hash))
        most = LISTED_KEYS
        commands = [("ZREVRANGE", KEYS_KEY + each, 0, most) for each in of_keys]
        for name, keys in self._pipeline(commands).items():
            if keys:
                listed = sorted(key.decode() for key in keys[:most])
                value = name.removeprefix(KEYS_KEY)
                out.append(Found("template", value, 0, listed, len(keys) > most))
        return sorted(out, key=lambda each: (each.kind, each.value))

    def add_found(self, owns: Mapping[tuple[Kind, str], int], now: float) -> None:
        """Note the own hashes of some shared hashes of indicators, by kind and shared hash.

        Args:
            now: wall-clock time, epoch seconds.
        """
        name, seconds = f"{FOUND_KEY}{_days(now)[-1]}", _GENERATIONS * _DAY
        for part in _parts([(f"{kind}:{value}", own) for (kind, value), own in owns.items()]):
            pairs = (x for pair in part for x in pair)
            self._send([("HSET", name, *pairs), ("EXPIRE", name, seconds)])

    def add_keys(self, keys: Mapping[str, Mapping[str, float]], now: float) -> None:
        """Note keys that have the templates of indicators.

        Args:
            keys: by shared hash, the time of each key's latest request with it, epoch seconds.
            now: wall-clock time, epoch seconds.
        """
        self.add_found({("template", value): 0 for value in keys}, now)
        commands: list[Command] = []
        for value, times in keys.items():
            name = KEYS_KEY + value
            commands += [
                ("ZADD", name, *(x for key, at in times.items() for x in (at, key))),
                ("ZREMRANGEBYRANK", name, 0, -LISTED_KEYS - 2),
                ("EXPIRE", name, _KEYS_SECONDS),
            ]
        self._send(commands)

    # The shared hashes of own identifiers

    def remember(self, shared: Mapping[tuple[Kind, int], str], now: float) -> int:
        """Remember the shared hashes of own ones, by kind and own hash.

        Args:
            now: wall-clock time, epoch seconds.

        Returns:
            how many were new today.
        """
        day = _days(now)[-1]
        buckets = defaultdict[str, list[bytes]](list)
        for (kind, own), value in shared.items():
            fields = buckets[self._bucket(kind, own, day)]
            fields += (own.to_bytes(8, "little"), bytes.fromhex(value))
        commands: list[Command] = []
        for name, fields in buckets.items():
            commands += [("HSET", name, *fields), ("EXPIRE", name, _GENERATIONS * _DAY)]
        return sum(map(int, self._send(commands)[::2]))

    def shared_of(self, kind: Kind, owns: Iterable[int], now: float) -> dict[int, str]:
        """The shared hashes of own ones, as far as they were seen within the last days."""
        found: dict[int, str] = {}
        wanted = sorted({own for own in owns if own})
        for day in reversed(_days(now)):
            buckets = defaultdict[str, list[int]](list)
            for own in wanted:
                if own not in found:
                    buckets[self._bucket(kind, own, day)].append(own)
            commands: list[Command] = [
                ("HMGET", name, *(own.to_bytes(8, "little") for own in bucket))
                for name, bucket in buckets.items()
            ]
            for name, values in self._pipeline(commands).items():
                pairs = zip(buckets[name], values, strict=True)
                found |= {own: value.hex() for own, value in pairs if value is not None}
        return found

    def add_templates(self, templates: Mapping[str, Mapping[str, float]]) -> None:
        """Remember shared hashes of templates of suspicious keys.

        Args:
            templates: by key, the time of the latest request with each, epoch seconds.
        """
        commands: list[Command] = []
        for key, times in templates.items():
            name = self._templates(key)
            commands += [
                ("ZADD", name, *(x for value, at in times.items() for x in (at, value))),
                ("ZREMRANGEBYRANK", name, 0, -_TEMPLATES - 1),
                ("EXPIRE", name, _TEMPLATE_SECONDS),
            ]
        self._send(commands)

    def templates_of(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """The shared hashes of templates of suspicious keys, the newest first."""
        names = [self._templates(key) for key in dict.fromkeys(keys)]
        answers = self._pipeline([("ZREVRANGE", name, 0, -1) for name in names])
        return {
            name.rpartition(":")[2]: [value.decode() for value in values]
            for name, values in answers.items()
            if values
        }

    # Redis

    def _bucket(self, kind: Kind, own: int, day: int) -> str:
        return f"{SHARED_KEY}{kind}:{self._salt}:{day}:{own >> (64 - _BUCKET_BITS):03x}"

    def _templates(self, key: str) -> str:
        return f"{SHARED_KEY}templates:{self._salt}:{key}"

    def _scan(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        cursor, seen = b"0", set[bytes]()
        while True:
            cursor, page = self._call("HSCAN", name, cursor, "COUNT", _PAGE)
            for field, value in zip(page[::2], page[1::2], strict=True):
                if field not in seen:
                    seen.add(field)
                    yield field, value
            if cursor == b"0":
                return

    def _pipeline(self, commands: Sequence[Command]) -> dict[str, Any]:
        """The answers of commands on one key each, by key."""
        return dict(zip((each[1] for each in commands), self._send(commands), strict=True))

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        """The answers of commands on one key each, in their order."""

        def run() -> list[Any]:
            answers: list[Any] = [None] * len(commands)
            places = defaultdict[str, list[int]](list)
            for i, command in enumerate(commands):
                places[command[1]].append(i)
            for group in self.server.by_server(list(places)):
                for part in _parts(group):
                    which = [i for name in part for i in places[name]]
                    with self.server.connection(part[0]) as connection:
                        sent = execute(connection, [commands[i] for i in which])
                    for i, answer in zip(which, sent, strict=True):
                        answers[i] = answer
            return answers

        return self.server.run(run) if commands else []

    def _call(self, command: str, key: str, *arguments: Any) -> Any:
        return self._send([(command, key, *arguments)])[0]


def _field(indicator: Indicator) -> str:
    return _name(indicator.source, indicator.id)


def _name(source: str, id: str) -> str:
    return f"{source}\n{id}"


def _kind(text: str) -> Kind:
    return next(kind for kind in KINDS if kind == text)


def _days(now: float) -> range:
    """The days of a wall-clock time whose hashes Redis may have, today's last."""
    today = int(now // _DAY)
    return range(today - _GENERATIONS, today + 1)


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _PAGE):
        yield items[start : start + _PAGE]

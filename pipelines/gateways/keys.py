"""The API keys that a request names, read as widely as any API reads them.

A client chooses how it writes its key. If the monitor read one header in one spelling, a blocked
key would pass in another that the API accepts as well. So every header and query parameter that
may hold a key is read, in every spelling, and the strongest decision on any of the keys counts. A
client that names a second key can only make its own answer stricter.

| written | read as |
|---|---|
| `Bearer sk-1`, in any case, with tabs or several blanks, quoted, repeated | `sk-1` |
| `sk-1` without a scheme | `sk-1` |
| `Basic base64(user:password)` | the user, the password, and both |
| `Token token=sk-1` | `sk-1` |
| `?key=sk%2D1` | `sk-1` |

Names of headers and parameters are compared without case, and `_` equals `-`, as in servers that
turn headers into variables.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from monitor import config
from monitor.requests.mappings import FieldMapping

_MOST_KEYS = 24  # readings of one request; a client that needs more hides one
_CACHED = 10_000  # requests with the same values, in memory
_LONGEST_CACHED = 1_024  # characters of such values
_SCHEMES = frozenset({"bearer", "token", "key", "apikey", "api-key"})
_ORIGINAL_URLS = frozenset({"x-original-uri", "x-original-url", "x-forwarded-uri"})
# Servers that read headers as Latin-1 strip its NEL and no-break space, which are no UTF-8.
_WORD = re.compile(r"""[^\s,;"'\udc85\udca0]+""")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


class NamedKeys(NamedTuple):
    """What a request names.

    Attributes:
        keys: every reading of every key, each once.
        unreadable: whether a header or parameter names a key that cannot be read.
    """

    keys: tuple[str, ...]
    unreadable: bool


class KeyReader:
    """Finds the keys that a request names.

    Args:
        settings: names of the headers and parameters that hold a key.
    """

    def __init__(self, settings: config.Gateway) -> None:
        self._headers = _names(settings.key_headers)
        self._parameters = _names(settings.key_parameters)

    def read(self, headers: Iterable[tuple[str, str]], query: str = "") -> NamedKeys:
        """The keys in a request.

        Args:
            headers: all header lines, a name once for each of its lines.
            query: of the URL, not decoded.
        """
        values = tuple(self._values(headers, query))
        return (_named if is_short(values) else _named.__wrapped__)(values)

    def _values(self, headers: Iterable[tuple[str, str]], query: str) -> Iterator[str]:
        """The headers and parameters that hold a key and are not empty."""
        queries = [query]
        for name, value in headers:
            folded = fold(name)
            if folded in self._headers and value.strip():
                yield value.strip()
            elif folded in _ORIGINAL_URLS:
                queries.append(value.partition("?")[2])
        for each in filter(None, queries):
            for name, value in parse_qsl(each.replace(";", "&")):
                if fold(name) in self._parameters and value.strip():
                    yield value.strip()


def key_forms(key: str, mapping: FieldMapping) -> list[str]:
    """The forms of a key by which a log may identify it, each once.

    Its SHA-256 is among them whatever the mapping says: gateways that hash keys, such as LiteLLM,
    log it in the same field as others log the key.
    """
    hashed = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return list(dict.fromkeys((key, *mapping.key_forms(key), hashed)))


def is_short(values: Iterable[str]) -> bool:
    """Whether values may be kept in memory: long made-up keys must not fill it."""
    return sum(map(len, values)) <= _LONGEST_CACHED


@lru_cache(_CACHED)
def _named(values: tuple[str, ...]) -> NamedKeys:
    """The keys in headers and parameters that hold one."""
    found: dict[str, None] = {}
    unreadable = False
    for value in values:
        readings = _readings(value)
        unreadable = unreadable or not readings
        found.update(dict.fromkeys(readings))
    keys = tuple(found)
    return NamedKeys(keys[:_MOST_KEYS], unreadable or len(keys) > _MOST_KEYS)


def _readings(value: str) -> list[str]:
    """Every key that a value may mean; empty if it names one that cannot be read."""
    words = iter(_WORD.findall(value))
    readings = []
    for word in words:
        scheme = word.lower()
        if scheme == "basic":
            readings += _basic(next(words, ""))
        elif scheme not in _SCHEMES:
            readings.append(word)
            name, _, rest = word.partition("=")
            if name.lower() in _SCHEMES:
                readings.append(rest)
    if readings and value not in readings:
        readings.append(value)  # a log may hold the header as it is
    return [reading for reading in readings if reading]


def _basic(credentials: str) -> list[str]:
    """User, password and both from Basic credentials, decoded as leniently as any server does."""
    text = _NOT_BASE64.sub("", credentials.replace("-", "+").replace("_", "/"))
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return []
    both = decoded.decode("utf-8", "replace").strip()
    user, _, password = both.partition(":")
    return [part for part in (user.strip(), password.strip(), both) if part.strip(":")]


def _names(comma_separated: str) -> frozenset[str]:
    return frozenset(fold(name) for name in comma_separated.split(",") if name.strip())


@lru_cache(1_000)
def fold(name: str) -> str:
    """The name of a header or parameter, as names are compared."""
    return name.strip().lower().replace("_", "-")

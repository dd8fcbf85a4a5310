"""Identity: pseudonyms and keys from the deployment's secret.

An API key, an account or an end user is replaced on entry by its keyed BLAKE2b hash (RFC 7693). The
same secret gives the same pseudonym on every worker and after every restart. Without the secret
nobody can invert a pseudonym or test a candidate. All other hashes have keys of their own,
derived here, one for each purpose: no two kinds of values share a hash, and one key reveals nothing
about another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from monitor import config
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.config import Settings

_CACHED = 1 << 18  # pseudonyms
ACCOUNT_PREFIX, END_USER_PREFIX = "a_", "u_"
_MIN_BYTES = 16  # of a secret


class Identity:
    """Makes pseudonyms and derives keys.

    Args:
        secret: at least 16 bytes, the same for all workers of a deployment.
        plain: leave API keys, accounts and end users as they are; for labelled experiments only.
        cached: number of pseudonyms to keep in memory.

    Raises:
        ConfigError: if the secret is too short.

    >>> Identity(b"0123456789abcdef").key("sk-1").startswith("k_")
    True
    """

    def __init__(self, secret: bytes, *, plain: bool = False, cached: int = _CACHED) -> None:
        if len(secret) < _MIN_BYTES:
            raise ConfigError(
                f"The identity secret has {len(secret)} bytes; at least {_MIN_BYTES} are needed. "
                "Make one with `openssl rand -hex 32`."
            )
        self._secret = hashlib.blake2b(secret).digest()
        memory = lru_cache(cached)
        self.key_of: Callable[[bytes], str] = _text if plain else memory(self._key)
        self.account_of: Callable[[bytes], str] = _text if plain else memory(self._account)
        self.end_user_of: Callable[[str, bytes], str] = _joined if plain else self._end_user

    def key(self, api_key: str) -> str:
        """The pseudonym of an API key."""
        return self.key_of(api_key.encode("utf-8", "surrogatepass"))

    def derive(self, purpose: str, size: int = 16) -> bytes:
        """A key for one purpose, see `derive`."""
        return derive(self._secret, purpose, size)

    def account(self, account: str) -> str:
        """The pseudonym of an account."""
        return self.account_of(account.encode("utf-8", "surrogatepass"))

    def end_user(self, api_key: str, end_user: str) -> str:
        """The pseudonym of an end user of an API key. Other keys' end users have others."""
        return self.end_user_of(self.key(api_key), end_user.encode("utf-8", "surrogatepass"))

    def _key(self, data: bytes) -> str:
        return "k_" + self._hash(data, b"key")

    def _account(self, data: bytes) -> str:
        return ACCOUNT_PREFIX + self._hash(data, b"account")

    def _end_user(self, key: str, data: bytes) -> str:
        return END_USER_PREFIX + self._hash(key.encode() + data, b"end user")

    def _hash(self, data: bytes, person: bytes) -> str:
        return hashlib.blake2b(data, digest_size=12, key=self._secret, person=person).hexdigest()


def derive(secret: bytes, purpose: str, size: int = 16) -> bytes:
    """A key that is independent of those for all other purposes.

    Args:
        secret: up to 64 bytes.
        purpose: up to 16 bytes, unique in the deployment.
        size: bytes of the key, up to 64.
    """
    hashed = hashlib.blake2b(
        digest_size=size, key=secret, person=purpose.encode(), salt=b"derived key"
    )
    return hashed.digest()


def is_pseudonym(text: str) -> bool:
    """Whether a text has the form of a pseudonym: k_ (key), a_ (account) or u_ (end user) and 24
    hexadecimal digits."""
    return re.fullmatch("[kau]_[0-9a-f]{24}", text) is not None


def is_other_subject(pseudonym: str) -> bool:
    """Whether a pseudonym is that of an account or an end user, not of a key."""
    return pseudonym.startswith((ACCOUNT_PREFIX, END_USER_PREFIX))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _joined(key: str, data: bytes) -> str:
    return f"{key}/{_text(data)}"


def from_settings(
    settings: Settings, *, plain: bool = False, cached: int | None = None
) -> Identity:
    """The deployment's identity.

    Args:
        plain: see `Identity`.
        cached: number of pseudonyms to keep in memory; default: enough for `rows` keys.

    Raises:
        ConfigError: if there is no secret, or it is too short.
    """
    found = config.secret(
        settings.identity_secret, settings.identity_secret_file, "XM_IDENTITY_SECRET"
    )
    if found is None:
        raise ConfigError(
            "No identity secret: set XM_IDENTITY_SECRET, or XM_IDENTITY_SECRET_FILE to a file "
            "with the output of `openssl rand -hex 32`."
        )
    return Identity(found, plain=plain, cached=cached or max(settings.rows, _CACHED))

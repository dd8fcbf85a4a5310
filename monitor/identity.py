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
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from monitor import config
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.config import Settings

_CACHED = 1 << 18  # pseudonyms
ACCOUNT_PREFIX, END_USER_PREFIX = "a_", "u_"
_MIN_BYTES = 16  # of a secret
_TENANTS_AT_ONCE = 2_000  # accounts that one checkpoint writes


class Tenants:
    """Finds the tenants of accounts: an account belongs to the longest prefix of its name.

    An account is looked at when its pseudonym is made, not with every request, because pseudonyms
    are cached. That cache is emptied from time to time, so that accounts in use are found again
    before what is stored of them expires.

    Args:
        prefixes: of the names of accounts, such as `acme/`.
        again: seconds after which an account is found again.
        most: accounts that wait for a checkpoint; more are found the next time.

    >>> tenants = Tenants(["acme/", "acme/eu/"])
    >>> tenants.find(b"acme/eu/7", "a_7")
    >>> tenants.take()
    {'a_7': 'acme/eu/'}
    """

    def __init__(
        self, prefixes: Iterable[str] = (), again: float = 86_400.0, most: int = _CACHED
    ) -> None:
        self._prefixes = {each.encode(): each for each in prefixes}
        self._lengths = sorted({len(each) for each in self._prefixes}, reverse=True)
        self._again, self._most = again, most
        self._emptied = time.monotonic()
        self._found: dict[str, str] = {}
        self.empty_cache: Callable[[], object] = lambda: None

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    def find(self, account: bytes, pseudonym: str) -> None:
        """Note the tenant of an account, if it has one."""
        for length in self._lengths:
            tenant = self._prefixes.get(account[:length])
            if tenant is not None:
                if len(self._found) < self._most:
                    self._found[pseudonym] = tenant
                return

    def take(self) -> dict[str, str]:
        """Some accounts that were found since they were last taken, and their tenants."""
        if self and time.monotonic() - self._emptied > self._again:
            self._emptied = time.monotonic()
            self.empty_cache()
        some = [*self._found][:_TENANTS_AT_ONCE]
        return {account: self._found.pop(account) for account in some}

    def put_back(self, found: dict[str, str]) -> None:
        """Take these again: they were not written."""
        self._found = found | self._found

    def forget(self, accounts: Iterable[str]) -> None:
        """Forget accounts. Their next requests find them again."""
        for account in accounts:
            self._found.pop(account, None)
        self.empty_cache()


class Identity:
    """Makes pseudonyms and derives keys.

    Args:
        secret: at least 16 bytes, the same for all workers of a deployment.
        plain: leave API keys, accounts and end users as they are; for labelled experiments only.
        cached: number of pseudonyms to keep in memory.
        tenants: finds the tenants of accounts; default: there are none.

    Raises:
        ConfigError: if the secret is too short.

    >>> Identity(b"0123456789abcdef").key("sk-1").startswith("k_")
    True
    """

    def __init__(
        self,
        secret: bytes,
        *,
        plain: bool = False,
        cached: int = _CACHED,
        tenants: Tenants | None = None,
    ) -> None:
        if len(secret) < _MIN_BYTES:
            raise ConfigError(
                f"The identity secret has {len(secret)} bytes; at least {_MIN_BYTES} are needed. "
                "Make one with `openssl rand -hex 32`."
            )
        self._secret = hashlib.blake2b(secret).digest()
        memory = lru_cache(cached)
        self.key_of: Callable[[bytes], str] = _text if plain else memory(self._key)
        accounts = memory(self._account)
        self.account_of: Callable[[bytes], str] = _text if plain else accounts
        self.end_user_of: Callable[[str, bytes], str] = _joined if plain else self._end_user
        self.tenants = tenants or Tenants()
        self.tenants.empty_cache = accounts.cache_clear

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
        pseudonym = ACCOUNT_PREFIX + self._hash(data, b"account")
        self.tenants.find(data, pseudonym)
        return pseudonym

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
    tenants = Tenants(settings.tenants, settings.record_seconds / 4)
    return Identity(
        found, plain=plain, cached=cached or max(settings.rows, _CACHED), tenants=tenants
    )

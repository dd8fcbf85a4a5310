"""Pseudonyms: who is meant, without saying who it is.

Every identifier is replaced on entry by its BLAKE2b hash keyed with the deployment's secret
(RFC 7693). The same secret gives the same pseudonym on every worker and after every restart;
without it nobody can go back, nor try candidates. A different `person` per kind of identifier
keeps an account that is named like a key from sharing its pseudonym.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache

from monitor.config import Settings, secret
from monitor.errors import ConfigError

_KEPT = 1 << 18
_LEAST = 16


class Identity:
    """Turns identifiers into pseudonyms.

    Args:
        secret: at least 16 bytes, the same for all workers of a deployment.
        plain: leave API keys as they are, for labelled experiments only.
        kept: the number of pseudonyms that need not be made again.

    Raises:
        ConfigError: if the secret is too short to protect anything.

    >>> Identity(b"0123456789abcdef").key("sk-1").startswith("k_")
    True
    """

    def __init__(self, secret: bytes, *, plain: bool = False, kept: int = _KEPT) -> None:
        if len(secret) < _LEAST:
            raise ConfigError(
                f"The identity secret has {len(secret)} bytes, at least {_LEAST} are needed: "
                "make one with `openssl rand -hex 32`."
            )
        self._keyed = hashlib.blake2b(secret).digest()
        self.seed = int.from_bytes(self._keyed[:8], "little")  # of hashes that are no pseudonyms
        self.key_of: Callable[[bytes], str] = _text if plain else lru_cache(kept)(self._key)

    def key(self, api_key: str) -> str:
        """The pseudonym of an API key."""
        return self.key_of(api_key.encode("utf-8", "surrogatepass"))

    def _key(self, data: bytes) -> str:
        hashed = hashlib.blake2b(data, digest_size=12, key=self._keyed, person=b"key")
        return "k_" + hashed.hexdigest()


def is_pseudonym(text: str) -> bool:
    """Whether a text has the form of a key's pseudonym: k_ and 24 hexadecimal digits."""
    return re.fullmatch("k_[0-9a-f]{24}", text) is not None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def from_settings(settings: Settings, *, plain: bool = False) -> Identity:
    """The deployment's identity, or a `ConfigError` that says how to give it a secret."""
    found = secret(settings.identity_secret, settings.identity_secret_file, "XM_IDENTITY_SECRET")
    if found is None:
        raise ConfigError(
            "No identity secret: set XM_IDENTITY_SECRET, or XM_IDENTITY_SECRET_FILE to a file "
            "with the output of `openssl rand -hex 32`."
        )
    return Identity(found, plain=plain, kept=max(settings.rows, _KEPT))

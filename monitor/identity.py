"""Pseudonyms: who is meant, without saying who it is.

Every identifier is replaced on entry by its BLAKE2b hash keyed with the deployment's secret
(RFC 7693). The same secret gives the same pseudonym on every worker and after every restart;
without it nobody can go back, nor try candidates. A different `person` per kind of identifier
keeps an account that is named like a key from sharing its pseudonym.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

from monitor.config import Settings, secret
from monitor.errors import ConfigError

_CACHED = 1 << 18
_CACHED_TEXTS = 1 << 14  # system prompts may be long
_LEAST = 16


class Identity:
    """Turns identifiers into pseudonyms.

    Args:
        secret: at least 16 bytes, the same for all workers of a deployment.
        plain: leave API keys as they are, for labelled experiments only.

    Raises:
        ConfigError: if the secret is too short to protect anything.

    >>> Identity(b"0123456789abcdef").key("sk-1").startswith("k_")
    True
    """

    def __init__(self, secret: bytes, *, plain: bool = False) -> None:
        if len(secret) < _LEAST:
            raise ConfigError(
                f"The identity secret has {len(secret)} bytes, at least {_LEAST} are needed: "
                "make one with `openssl rand -hex 32`."
            )
        self._keyed = hashlib.blake2b(secret).digest()
        self.seed = int.from_bytes(self._keyed[:8], "little")  # of hashes that are no pseudonyms
        self._text = lru_cache(_CACHED_TEXTS)(self._bits)
        self.key: Callable[[str], str] = (
            (lambda api_key: api_key) if plain else lru_cache(_CACHED)(self._key)
        )

    def _key(self, api_key: str) -> str:
        data = api_key.encode("utf-8", "surrogatepass")
        hashed = hashlib.blake2b(data, digest_size=12, key=self._keyed, person=b"key")
        return "k_" + hashed.hexdigest()

    def bits(self, texts: list[str | None]) -> npt.NDArray[np.uint64]:
        """64 bits that stand for each text in sketches, `(n,) uint64`, never 0; 0 for none."""
        return np.fromiter(map(self._text, texts), np.uint64, len(texts))

    def _bits(self, text: str | None) -> int:
        if text is None:
            return 0
        return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), self.seed) or 1

    def requests(self, ids: Iterable[str | None]) -> list[int]:
        """32 bits that stand for each of some request ids, never 0; 0 for a request without one.

        XXH32 under a seed, not BLAKE2: these only tell repeats among a few ids of one key, and
        there is one for every request.
        """
        hashed, seed = xxhash.xxh32_intdigest, self.seed & 0xFFFFFFFF
        return [
            hashed(each.encode("utf-8", "surrogatepass"), seed) or 1 if each else 0 for each in ids
        ]


def from_settings(settings: Settings, *, plain: bool = False) -> Identity:
    """The deployment's identity, or a `ConfigError` that says how to give it a secret."""
    found = secret(settings.identity_secret, settings.identity_secret_file, "XM_IDENTITY_SECRET")
    if found is None:
        raise ConfigError(
            "No identity secret: set XM_IDENTITY_SECRET, or XM_IDENTITY_SECRET_FILE to a file "
            "with the output of `openssl rand -hex 32`."
        )
    return Identity(found, plain=plain)

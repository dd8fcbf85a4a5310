"""The sharing salt: hashes that partners can compare, and nobody without the salt can.

All partners have the same salt, so the same network, client or text gets the same hash at each of
them. Whoever has the salt can test a guess, and all IPv4 networks can be guessed: give it only to
partners that may learn which networks a campaign used. Each hash comes with the id of its salt, so
hashes under another salt are noticed instead of never matching.

Identifiers are brought to one spelling first. Networks are 24 bits of an IPv4 address or 48 of an
IPv6 address; those that are not on the public internet have no hash, since each deployment has the
same ones. A template is the hash of `prompts/template_hash.py`, computed under the salt.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from monitor.config import Settings, secret
from monitor.errors import ConfigError
from monitor.identity import derive
from monitor.kernels.buffers import Prompts
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Normaliser
from monitor.sharing.indicator import Kind

_MIN_BYTES = 16  # of a salt
_HASH_BYTES = 16
_SLOTS = 1 << 12  # of the extractor's cache
_MIN_CHARACTERS = 16  # of a system prompt or a prompt with a template
_LOCAL = [
    ip_network(each)
    for each in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
        *("169.254.0.0/16", "0.0.0.0/8", "224.0.0.0/3", "::/16", "fc00::/7", "fe80::/10"),
        "ff00::/8",
    )
]


class Salt:
    """Makes shared hashes. Not thread-safe.

    Args:
        salt: at least 16 bytes, the same at all partners.

    Attributes:
        id: 8 hexadecimal digits that identify the salt and reveal nothing about it.

    Raises:
        ConfigError: if the salt is too short.

    >>> salt = Salt(b"agreed between us")
    >>> salt.network("198.51.100.7") == salt.network("198.51.100.9")
    True
    """

    def __init__(self, salt: bytes) -> None:
        if len(salt) < _MIN_BYTES:
            raise ConfigError(
                f"The sharing salt has {len(salt)} bytes; at least {_MIN_BYTES} are needed. Agree "
                "with your partners on the output of `openssl rand -hex 32`."
            )
        self._secret = hashlib.blake2b(salt).digest()
        self.id = derive(self._secret, "salt id", 4).hex()
        self._normalise: Normaliser | None = None
        self._extract: Extractor | None = None

    def __repr__(self) -> str:
        return f"Salt({self.id})"

    def network(self, address: str | None) -> str:
        """The hash of the network of an address; empty for an address that is not public."""
        try:
            found = ip_address((address or "").strip())
        except ValueError:
            return ""
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        if any(found in local for local in _LOCAL):
            return ""
        bits = 24 if found.version == 4 else 48
        return self._hash("network", str(ip_network((found, bits), strict=False)))

    def tls(self, fingerprint: str | None) -> str:
        """The hash of a TLS fingerprint; empty without one."""
        return self._hash("tls", (fingerprint or "").strip().lower())

    def system(self, prompt: str | None) -> str:
        """The hash of a system prompt, without regard to white space; empty for a short one."""
        text = " ".join(unicodedata.normalize("NFC", prompt or "").split())
        return self._hash("system", text) if len(text) >= _MIN_CHARACTERS else ""

    def templates(self, prompts: Sequence[str | None]) -> list[str]:
        """The hashes of the templates of n prompts; empty for short prompts."""
        if self._normalise is None or self._extract is None:
            prompt_secret = derive(self._secret, "templates", 32)
            self._normalise = Normaliser(prompt_secret)
            self._extract = Extractor(prompt_secret, slots=_SLOTS)
        texts = [prompt if len(prompt or "") >= _MIN_CHARACTERS else None for prompt in prompts]
        found = self._extract(self._normalise(Prompts.of(texts))).template.tolist()
        return [
            self._hash("template", f"{each:016x}") if text else ""
            for text, each in zip(texts, found, strict=True)
        ]

    def _hash(self, kind: Kind, text: str) -> str:
        if not text:
            return ""
        data = text.encode("utf-8", "surrogatepass")
        hashed = hashlib.blake2b(
            data, digest_size=_HASH_BYTES, key=self._secret, person=kind.encode()
        )
        return hashed.hexdigest()


def salt_of(settings: Settings) -> Salt | None:
    """The salt of the settings; `None` if nothing is shared.

    Raises:
        ConfigError: if its file cannot be read, or it is too short.
    """
    found = secret(None, settings.sharing.salt_file, "XM_SHARING__SALT")
    return None if found is None else Salt(found)

"""Marks: the key of each, which only the marking secret gives.

The marking secret is derived from the deployment's secret. The servers that mark responses have it
and not the deployment's, so a server that is broken into gives away no pseudonym. A mark id may be
known: without the secret it says nothing about what the mark favours.
"""

from __future__ import annotations

import hashlib
import re

from monitor.config import Settings, secret
from monitor.errors import ConfigError
from monitor.identity import from_settings
from monitor.tracing.keyed_hash import HashKey

_LENGTH = 32  # bytes of the marking secret
_FORM = re.compile(r"m_[0-9a-f]{1,32}")


def marking_secret(settings: Settings) -> bytes:
    """The marking secret, from its file or else derived from the deployment's secret.

    Raises:
        ConfigError: if there is neither, or the file has another form.
    """
    text = secret(None, settings.tracing.secret_file, "XM_TRACING__SECRET")
    if text is None:
        return from_settings(settings, cached=1).derive("marks", _LENGTH)
    try:
        found = bytes.fromhex(text.decode())
    except ValueError:
        found = b""
    if len(found) != _LENGTH:
        raise ConfigError(
            f"XM_TRACING__SECRET_FILE names {settings.tracing.secret_file}, which is no marking "
            "secret: write one with `xm marks secret --out FILE`."
        )
    return found


def is_mark(text: str) -> bool:
    """Whether a text has the form of a mark id: m_ and hexadecimal digits."""
    return _FORM.fullmatch(text) is not None


def mark_key(secret: bytes, mark: str, purpose: str) -> HashKey:
    """The key of a mark for one purpose.

    Args:
        secret: the marking secret.
        mark: its id.
        purpose: up to 16 bytes, unique among those of a mark.
    """
    hashed = hashlib.blake2b(
        mark.encode("utf-8", "replace"), digest_size=16, key=secret, person=purpose.encode()
    )
    return HashKey.from_bytes(hashed.digest())

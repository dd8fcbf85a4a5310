"""Opens the store of cases with the keys that the settings name."""

from __future__ import annotations

from monitor.config import Settings
from monitor.evidence.store import CaseStore


def case_store(settings: Settings, *, sign: bool = True, timeout: float = 5.0) -> CaseStore:
    """The cases in Redis.

    Args:
        sign: whether entries will be added. Reading needs the public keys only.
        timeout: seconds to wait for an answer of Redis.

    Raises:
        ConfigError: if the key cannot be used, or the extra `cases` is missing.
    """
    from monitor.evidence.ring import need_cryptography

    need_cryptography()
    from monitor.evidence.keys import ring_of, signer_of

    signer = signer_of(settings) if sign else None
    return CaseStore(settings.redis_url, ring_of(settings), signer, timeout)

"""The page of public keys, with which anybody can verify a case or a bundle."""

from __future__ import annotations

import logging
from pathlib import Path

from aiohttp import web

from monitor.errors import InputError
from monitor.evidence.ring import Ring, load_ring

log = logging.getLogger(__name__)

_HEADERS = {"Cache-Control": "public, max-age=300"}


class EvidencePages:
    """Shows the public keys of the deployment. The service never reads the private key.

    Args:
        file: of public keys; `None` shows an empty set.

    Raises:
        InputError: if the file cannot be used.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._read_at = 0
        self._page = Ring().encode()
        self._reload()

    async def keys(self, _: web.Request) -> web.Response:
        """All public keys, those that were retired too."""
        try:
            self._reload()
        except InputError as error:
            log.warning("public_keys_kept reason=%r", str(error))
        return web.Response(body=self._page, content_type="application/json", headers=_HEADERS)

    def _reload(self) -> None:
        """Read the file if it has changed since."""
        if self._file is None:
            return
        try:
            changed_at = self._file.stat().st_mtime_ns
        except OSError:
            return
        if changed_at != self._read_at:
            self._read_at = changed_at
            self._page = load_ring([self._file]).encode()

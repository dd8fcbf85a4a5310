"""Sends events to a MISP server by its API."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from pymisp import MISPEvent, PyMISP
from pymisp.exceptions import PyMISPError

from monitor.config import secret
from monitor.config.sharing import Sharing
from monitor.errors import ConfigError
from pipelines.sharing.formats.received import name_of
from pipelines.sharing.taxii import PartnerError


def send_event(event: MISPEvent, settings: Sharing) -> str:
    """Add an event, or update the one that the server has; return the server's name.

    Raises:
        ConfigError: if the settings name no server.
        PartnerError: if the server is away or refuses.
    """
    key = secret(None, settings.misp_key_file, "XM_SHARING__MISP_KEY")
    if not settings.misp_url or key is None:
        raise ConfigError(
            "No MISP server: set XM_SHARING__MISP_URL and XM_SHARING__MISP_KEY_FILE, or write a "
            "file with `--format misp`."
        )
    host = urlsplit(settings.misp_url).netloc
    try:
        server = PyMISP(
            settings.misp_url,
            key.decode(),
            ssl=str(settings.misp_ca_file) if settings.misp_ca_file else True,
            timeout=settings.timeout_seconds,
        )
        known = server.event_exists(event)
        answer: Any = server.update_event(event) if known is True else server.add_event(event)
    except (PyMISPError, requests.RequestException, ValueError) as error:
        reason = name_of(" ".join(str(error).split()).replace(key.decode(), "…"))
        raise PartnerError(f"MISP at {host} does not accept the event ({reason}).") from None
    if isinstance(answer, dict) and "errors" in answer:
        reason = name_of(str(answer["errors"]).replace(key.decode(), "…"))
        raise PartnerError(f"MISP at {host} does not accept the event ({reason}).")
    return f"misp:{host}"

"""Alerts to pagers, chats and tools: one file per receiver."""

from __future__ import annotations

from urllib.parse import urlsplit

from monitor.config import Receivers, Settings, secret
from monitor.errors import ConfigError
from pipelines.notify.alertmanager import Alertmanager
from pipelines.notify.delivery import Delivery
from pipelines.notify.receiver import AwayError, Receiver, RefusedError
from pipelines.notify.webhook import Webhook, verify

__all__ = ["Alertmanager", "AwayError", "Delivery", "Receiver", "RefusedError", "Webhook", "verify"]
__all__ += ["receivers"]


def receivers(settings: Settings) -> list[Receiver]:
    """The receivers that the settings name.

    Raises:
        ConfigError: if a URL or a secret is missing or invalid.
    """
    chosen: Receivers = settings.receivers
    found: list[Receiver] = []
    if chosen.alertmanager_url:
        url = _checked_url(chosen.alertmanager_url, "XM_RECEIVERS__ALERTMANAGER_URL")
        found.append(Alertmanager(url, chosen.timeout_seconds))
    if chosen.webhook_url:
        url = _checked_url(chosen.webhook_url, "XM_RECEIVERS__WEBHOOK_URL")
        name = "XM_RECEIVERS__WEBHOOK_SECRET"
        key = secret(chosen.webhook_secret, chosen.webhook_secret_file, name)
        if not key:
            raise ConfigError(
                f"The webhook has no secret to sign with: set {name} or {name}_FILE to the secret "
                "that its receiver verifies with."
            )
        found.append(Webhook(url, key, chosen.timeout_seconds))
    return found


def _checked_url(url: str, name: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{name} is not an HTTP URL: write it as https://host:port/path.")
    return url

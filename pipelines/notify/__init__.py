"""Alerts to pagers, chats and tools, by routes."""

from __future__ import annotations

from pipelines.notify.choose import routes
from pipelines.notify.delivery import Delivery
from pipelines.notify.receivers.webhook import verify

__all__ = ["Delivery", "routes", "verify"]

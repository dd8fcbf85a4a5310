"""The settings file of a first configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.setup.choices import Choices


def settings_text(chosen: Choices) -> str:
    """The settings file, TOML. Paths are absolute, so that it works from any folder."""
    return "\n".join(_lines(chosen)) + "\n"


def _lines(chosen: Choices) -> Iterator[str]:
    yield "# Written by `xm init`. Check it with `xm config check`; all settings are described in"
    yield "# deploy/docs/configuration.md and by `xm config explain SETTING`."
    yield f"kafka = {_text(chosen.kafka)}"
    if chosen.redis_url_file is not None:
        yield f"redis_url_file = {_text(chosen.redis_url_file)}"
    else:
        yield f"redis_url = {_text(chosen.redis)}"
    yield "# Pseudonyms depend on it: keep a copy, and never change it."
    yield f"identity_secret_file = {_text(chosen.identity_file)}"
    if not chosen.mapping.startswith("[mapping]"):
        yield f"mapping = {_text(chosen.mapping)}"
    yield ""
    yield "[decisions]"
    yield "# Decisions are recorded and none is enforced. Set it to false when you trust them."
    yield "shadow = true"
    if chosen.mapping.startswith("[mapping]"):
        yield ""
        yield chosen.mapping.strip()
    yield from _receivers(chosen)
    if chosen.console_user:
        yield "\n[console]"
        yield f"users_file = {_text(chosen.users_file)}"
        yield f"view_file = {_text(chosen.view_file)}"


def _receivers(chosen: Choices) -> Iterator[str]:
    if chosen.alertmanager or chosen.webhook:
        yield "\n[receivers]"
    if chosen.alertmanager:
        yield f"alertmanager_url = {_text(chosen.alertmanager)}"
    if chosen.webhook:
        yield f"webhook_url = {_text(chosen.webhook)}"
        yield f"webhook_secret_file = {_text(chosen.webhook_file)}"
    if chosen.pagerduty_key is not None:
        yield "\n[receivers.routes.pager]"
        yield 'type = "pagerduty"'
        yield f"secret_file = {_text(chosen.pagerduty_key.resolve())}"
        yield 'least_severity = "critical"'
    if chosen.slack_url is not None:
        yield "\n[receivers.routes.slack]"
        yield 'type = "slack"'
        yield f"url_file = {_text(chosen.slack_url.resolve())}"


def _text(value: str | Path) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")

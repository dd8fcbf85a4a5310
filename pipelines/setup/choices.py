"""What a first configuration is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Gateways with a snippet, the file that names their API's address, and the mapping of their log.
GATEWAYS = {
    "nginx": ("nginx.conf", "nginx"),
    "envoy": ("envoy.yaml", "envoy"),
    "haproxy": ("haproxy.cfg", "nginx"),
    "kong": ("kong.yaml", "kong"),
    "apisix": ("apisix.yaml", "apisix"),
    "litellm": ("config.yaml", "litellm"),
    "redis-lua": ("nginx.conf", "nginx"),
}
NO_GATEWAY = "none"


@dataclass(frozen=True, slots=True)
class Choices:
    """What an operator chooses.

    Attributes:
        folder: to write into.
        kafka: bootstrap servers.
        redis: URL, which may hold a password; then it goes into a file of its own.
        redis_file: file that has the URL already.
        gateway: one of `GATEWAYS`, or `none`.
        api: address of the model API behind the gateway, host:port.
        mapping: a preset's name, or the lines of a `[mapping]` table.
        alertmanager: base URL.
        webhook: URL; a secret to sign with is made.
        pagerduty_key: file that has the integration key.
        slack_url: file that has the URL.
        console_user: the line of the console's first user; empty without a console.
    """

    folder: Path
    kafka: str = "127.0.0.1:9092"
    redis: str = "redis://127.0.0.1:6379/0"
    redis_file: Path | None = None
    gateway: str = NO_GATEWAY
    api: str = "127.0.0.1:8000"
    mapping: str = "native"
    alertmanager: str = ""
    webhook: str = ""
    pagerduty_key: Path | None = None
    slack_url: Path | None = None
    console_user: str = ""

    @property
    def settings_file(self) -> Path:
        return self.folder / "extraction-monitor.toml"

    @property
    def identity_file(self) -> Path:
        return self.folder / "secrets/identity"

    @property
    def redis_url_file(self) -> Path | None:
        """The file that has the URL of Redis; `None` if it is in the settings file."""
        if self.redis_file is not None:
            return self.redis_file.resolve()
        return self.folder / "secrets/redis-url" if "@" in self.redis else None

    @property
    def webhook_file(self) -> Path:
        return self.folder / "secrets/webhook"

    @property
    def users_file(self) -> Path:
        return self.folder / "secrets/console-users"

    @property
    def view_file(self) -> Path:
        return self.folder / "console.sqlite"

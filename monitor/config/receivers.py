"""Settings of the receivers of alerts: where alerts go, and which ones.

[receivers.routes.pager]
type = "pagerduty"
secret_file = "/run/secrets/pagerduty"
least_severity = "critical"

[receivers.routes.abuse-desk]
type = "email"
url = "smtps://mail.example.com"
user = "monitor"
secret_file = "/run/secrets/smtp"
sender = "monitor@example.com"
to = ["abuse@example.com"]
kinds = ["campaign", "elicitation"]
hours = "Mon-Fri 08:00-18:00"
timezone = "Europe/Berlin"
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Severity = Literal["info", "warning", "critical"]
ReceiverType = Literal[
    "alertmanager", "pagerduty", "opsgenie", "slack", "teams", "email", "webhook", "cloudevents"
]
_NEED_SECRET = frozenset({"pagerduty", "opsgenie", "webhook"})
_HAVE_URL = frozenset({"pagerduty", "opsgenie"})  # the vendor's, unless the route has one


class Route(BaseModel):
    """A receiver, and the alerts that it gets."""

    model_config = ConfigDict(extra="forbid")

    type: ReceiverType
    url: SecretStr | None = None
    url_file: Path | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    user: str | None = None
    sender: str | None = None
    to: list[str] = []
    ca_file: Path | None = None
    least_severity: Severity | None = None
    kinds: list[str] = []
    hours: str = ""
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:  # KeyError: ZoneInfoNotFoundError
            raise ValueError(f"{value} is not a time zone: write it as Europe/Berlin") from error
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        """Reject a route that lacks what its receiver needs, or has what it would ignore."""
        if not (self.url or self.url_file or self.type in _HAVE_URL):
            raise ValueError(f"{self.type} needs url or url_file")
        if self.type in _NEED_SECRET and not (self.secret or self.secret_file):
            raise ValueError(f"{self.type} needs secret or secret_file")
        if self.type == "email":
            if not (self.sender and self.to):
                raise ValueError("email needs sender and to")
            if bool(self.user) != bool(self.secret or self.secret_file):
                raise ValueError("a login needs user, and secret or secret_file")
        elif self.user or self.sender or self.to:
            raise ValueError(f"{self.type} does not use user, sender and to: only email does")
        elif self.type in ("slack", "teams") and (self.secret or self.secret_file):
            raise ValueError(f"{self.type} does not use secret: its url is the secret")
        return self


class Receivers(BaseModel):
    """Receivers of alerts besides the topic. The two URLs are routes without conditions."""

    model_config = ConfigDict(extra="forbid")

    alertmanager_url: str | None = None
    webhook_url: str | None = None
    webhook_secret: SecretStr | None = None
    webhook_secret_file: Path | None = None
    timeout_seconds: float = Field(10, gt=0)
    least_severity: Severity = "warning"
    give_up_hours: float = Field(24, gt=0, description="then an alert is a dead letter")
    runbook_url: str | None = None
    routes: dict[str, Route] = {}

    @field_validator("routes")
    @classmethod
    def _have_names(cls, value: dict[str, Route]) -> dict[str, Route]:
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError(f"the route {name!r} needs a name of letters, digits, - and _")
        return value

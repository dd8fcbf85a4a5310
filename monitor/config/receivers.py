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

    type: ReceiverType = Field(
        description="`alertmanager`, `pagerduty`, `opsgenie`, `slack`, `teams`, `email`, `webhook` "
        "or `cloudevents`"
    )
    url: SecretStr | None = Field(
        None,
        description="URL. `https://api.eu.opsgenie.com` for Opsgenie in the EU. For `email`: "
        "`smtps://HOST:465` (TLS), `smtp+starttls://HOST:587` (must offer STARTTLS) or "
        "`smtp://HOST:25` (no TLS, no login); default: the vendor's for `pagerduty` and `opsgenie`",
    )
    url_file: Path | None = Field(
        None, description="file that holds the URL: a URL of Slack or Teams is a secret"
    )
    secret: SecretStr | None = Field(
        None,
        description="PagerDuty: integration key. Opsgenie: API key. Webhook: secret that signs. "
        "E-mail: password. Alertmanager, CloudEvents: bearer token",
    )
    secret_file: Path | None = Field(None, description="file that holds the secret")
    user: str | None = Field(None, description="e-mail: login")
    sender: str | None = Field(None, description="e-mail: sender's address")
    to: list[str] = Field([], description="e-mail: list of recipients")
    ca_file: Path | None = Field(
        None, description="CA certificates for TLS, PEM; default: the system's"
    )
    least_severity: Severity | None = Field(
        None,
        description="alerts that never reach this severity are not delivered; "
        "default: `XM_RECEIVERS__LEAST_SEVERITY`",
    )
    kinds: list[str] = Field(
        [], description="list of [kinds](../../README.md#what-an-alert-means); default: all"
    )
    hours: str = Field(
        "",
        description="when alerts are delivered: `Mon-Fri 08:00-18:00`, `22:00-06:00`, `Sat,Sun`; "
        "several parts separated by `;`; default: always",
    )
    wait_minutes: float | None = Field(
        None,
        ge=0,
        description="minutes for which an alert on a key, account or end user waits for the "
        "campaign that it may be part of. Alertmanager waits by itself (`group_wait`); default: "
        "`XM_RECEIVERS__WAIT_MINUTES`, 0 for `alertmanager`",
    )
    timezone: str = Field("UTC", description="of `hours`")

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

    alertmanager_url: str | None = Field(None, description="base URL of Alertmanager")
    webhook_url: str | None = Field(
        None, description="URL of a webhook; [format and signature](operations.md#alert-receivers)"
    )
    webhook_secret: SecretStr | None = Field(None, description="secret that signs the webhook")
    webhook_secret_file: Path | None = Field(None, description="file that holds the secret")
    timeout_seconds: float = Field(10, gt=0, description="timeout of one delivery")
    least_severity: Severity = Field(
        "warning",
        description="alerts that never reach this severity are not delivered; a route may set "
        "its own",
    )
    wait_minutes: float = Field(
        15,
        ge=0,
        description="minutes for which an alert on a key, account or end user waits for the "
        "campaign that it may be part of, before people get it; a route may set its own",
    )
    give_up_hours: float = Field(
        24,
        gt=0,
        description="hours after which an alert that a receiver has not accepted goes to the "
        "topic of undelivered alerts",
    )
    runbook_url: str | None = Field(
        None,
        description="URL of one page that every alert links to, in place of those below "
        "`XM_RUNBOOK_URL`",
    )
    routes: dict[str, Route] = Field(
        {}, description="any number of receivers with conditions, see [routes](#routes)"
    )

    @field_validator("routes")
    @classmethod
    def _have_names(cls, value: dict[str, Route]) -> dict[str, Route]:
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError(f"the route {name!r} needs a name of letters, digits, - and _")
        return value

"""The receivers that the settings name."""

from __future__ import annotations

import ssl
from typing import cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from monitor.config import Route as Chosen
from monitor.config import Settings, secret
from monitor.detectors import ALERT_KINDS
from monitor.errors import ConfigError
from pipelines.notify.incidents.links import links_of
from pipelines.notify.incidents.notice import Receiver
from pipelines.notify.receivers import opsgenie, pagerduty
from pipelines.notify.receivers.alertmanager import Alertmanager
from pipelines.notify.receivers.base import Endpoint
from pipelines.notify.receivers.cloudevents import CloudEvents
from pipelines.notify.receivers.email import PORTS, Email
from pipelines.notify.receivers.opsgenie import Opsgenie
from pipelines.notify.receivers.pagerduty import PagerDuty
from pipelines.notify.receivers.slack import Slack
from pipelines.notify.receivers.teams import Teams
from pipelines.notify.receivers.webhook import Webhook
from pipelines.notify.route import Route, parse_hours

_URLS = {"pagerduty": pagerduty.URL, "opsgenie": opsgenie.URL}
_KINDS = frozenset(ALERT_KINDS) | {"campaign"}


def routes(settings: Settings) -> list[Route]:
    """The routes that the settings name, the two URLs included.

    Raises:
        ConfigError: if one cannot be used; names the setting.
    """
    chosen, found = settings.receivers, []
    if chosen.alertmanager_url:
        named = Chosen(type="alertmanager", url=SecretStr(chosen.alertmanager_url))
        found.append(_route("alertmanager", named, settings, "XM_RECEIVERS__ALERTMANAGER_URL"))
    if chosen.webhook_url:
        if not (chosen.webhook_secret or chosen.webhook_secret_file):
            name = "XM_RECEIVERS__WEBHOOK_SECRET"
            raise ConfigError(
                f"The webhook has no secret to sign with: set {name} or {name}_FILE to the secret "
                "that its receiver verifies with."
            )
        named = Chosen(
            type="webhook",
            url=SecretStr(chosen.webhook_url),
            secret=chosen.webhook_secret,
            secret_file=chosen.webhook_secret_file,
        )
        found.append(_route("webhook", named, settings, "XM_RECEIVERS__WEBHOOK_URL"))
    for name, each in chosen.routes.items():
        if any(name == route.receiver.name for route in found):
            raise ConfigError(
                f"Two receivers have the name {name}: rename receivers.routes.{name}, or drop "
                f"XM_RECEIVERS__{name.upper()}_URL."
            )
        found.append(_route(name, each, settings, f"receivers.routes.{name}.url"))
    return found


def _route(name: str, chosen: Chosen, settings: Settings, setting: str) -> Route:
    place = f"receivers.routes.{name}"
    unknown = set(chosen.kinds) - _KINDS
    if unknown:
        raise ConfigError(
            f"{place}.kinds has {', '.join(sorted(unknown))}, which no alert has: choose from "
            f"{', '.join(sorted(_KINDS))}."
        )
    wait = chosen.wait_minutes
    if wait is None and chosen.type == "alertmanager":
        wait = 0.0  # it has its own wait, see group_wait
    return Route(
        _receiver(name, chosen, settings, setting),
        chosen.least_severity or settings.receivers.least_severity,
        frozenset(chosen.kinds),
        parse_hours(chosen.hours, f"{place}.hours"),
        ZoneInfo(chosen.timezone),
        60.0 * (settings.receivers.wait_minutes if wait is None else wait),
    )


def _receiver(name: str, chosen: Chosen, settings: Settings, setting: str) -> Receiver:
    place = f"XM_RECEIVERS__ROUTES__{name.upper()}"
    key = secret(chosen.secret, chosen.secret_file, f"{place}__SECRET")
    found = secret(chosen.url, chosen.url_file, f"{place}__URL")
    url = found.decode() if found else _URLS[chosen.type]
    _check(url, tuple(PORTS) if chosen.type == "email" else ("http", "https"), setting)
    endpoint = Endpoint(
        url,
        settings.receivers.timeout_seconds,
        _trusted(chosen, name),
        (key or b"").decode("utf-8", "surrogateescape"),
    )
    links = links_of(settings)
    match chosen.type:
        case "alertmanager":
            return Alertmanager(endpoint, name, links)
        case "pagerduty":
            return PagerDuty(endpoint, name, links)
        case "opsgenie":
            return Opsgenie(endpoint, name, links)
        case "slack":
            return Slack(endpoint, name, links)
        case "teams":
            return Teams(endpoint, name, links)
        case "cloudevents":
            return CloudEvents(endpoint, name)
        case "webhook":
            return Webhook(endpoint, name)
        case "email":
            if chosen.user and urlsplit(url).scheme == "smtp":
                raise ConfigError(
                    f"receivers.routes.{name} would send its password without TLS: write the url "
                    "as smtps://HOST or smtp+starttls://HOST."
                )
            sender = cast("str", chosen.sender)
            return Email(endpoint, sender, tuple(chosen.to), chosen.user, name, links)


def _check(url: str, schemes: tuple[str, ...], setting: str) -> None:
    """The URL is not repeated: it may be a secret."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        mail = "smtps" in schemes
        what = "SMTP" if mail else "HTTP"
        form = "smtps://host:465" if mail else "https://host:port/path"
        raise ConfigError(f"{setting} is not an {what} URL: write it as {form}.")


def _trusted(chosen: Chosen, name: str) -> ssl.SSLContext | None:
    if chosen.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=chosen.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"receivers.routes.{name}.ca_file names {chosen.ca_file}, which cannot be used "
            f"({error.strerror or error}): name a PEM file with CA certificates."
        ) from error

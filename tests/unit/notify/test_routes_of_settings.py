from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from time import time

import pytest

from monitor.config import Receivers, Settings
from monitor.errors import ConfigError
from pipelines.notify import routes
from pipelines.notify.incidents.links import links_of
from pipelines.notify.receivers.alertmanager import Alertmanager
from pipelines.notify.receivers.base import Endpoint, retry_after
from pipelines.notify.receivers.webhook import Webhook
from tests.support.receivers import NOW, alert

PAGER = {"type": "pagerduty", "secret": "0123"}


def settings(**chosen: object) -> Settings:
    return Settings(receivers=Receivers.model_validate(chosen))


def test_no_route_without_configuration():
    assert routes(settings()) == []


def test_each_configured_url_is_a_route(tmp_path: Path):
    (tmp_path / "secret").write_text("hush\n")
    chosen = settings(
        alertmanager_url="http://127.0.0.1:9093",
        webhook_url="https://abuse.example/hook",
        webhook_secret_file=tmp_path / "secret",
        timeout_seconds=3,
    )
    assert [(each.receiver, each.least_severity) for each in routes(chosen)] == [
        (Alertmanager(Endpoint("http://127.0.0.1:9093", 3), links=links_of(chosen)), "warning"),
        (Webhook(Endpoint("https://abuse.example/hook", 3, secret="hush")), "warning"),
    ]


@pytest.mark.parametrize(
    "chosen",
    [
        {"type": "alertmanager", "url": "http://host:9093"},
        {"type": "pagerduty", "secret": "s"},
        {"type": "opsgenie", "secret": "s", "url": "https://api.eu.opsgenie.com"},
        {"type": "slack", "url": "https://hooks.slack.com/services/x"},
        {"type": "teams", "url": "https://prod.logic.azure.com/x"},
        {"type": "webhook", "url": "https://desk.example/", "secret": "s"},
        {"type": "cloudevents", "url": "https://broker.example/"},
        {
            "type": "email",
            "url": "smtps://mail.example",
            "sender": "m@example",
            "to": ["a@example"],
        },
    ],
    ids=lambda chosen: str(chosen["type"]),
)
def test_every_type_of_receiver_can_be_routed(chosen: dict[str, object]):
    (route,) = routes(settings(routes={"here": chosen}))
    assert route.receiver.name == "here"
    assert type(route.receiver).__name__.lower() == chosen["type"]


def test_route_has_its_conditions():
    pager = PAGER | {"least_severity": "critical", "kinds": ["burst"], "hours": "08:00-18:00"}
    (route,) = routes(settings(routes={"pager": pager}))
    assert route.wants(alert("1"), NOW)  # 17:20 UTC
    assert not route.wants(alert("1", severity="warning"), NOW)
    assert not route.wants(alert("1"), NOW + 3600)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"webhook_url": "https://abuse.example/hook"}, "set XM_RECEIVERS__WEBHOOK_SECRET"),
        ({"routes": {"pager": PAGER | {"kinds": ["brust"]}}}, "kinds has brust"),
        ({"routes": {"pager": PAGER | {"hours": "office"}}}, "pager.hours has the part 'office'"),
        ({"routes": {"pager": PAGER | {"ca_file": "/none"}}}, "ca_file names /none"),
        (
            {"alertmanager_url": "http://host", "routes": {"alertmanager": PAGER}},
            "Two receivers have the name alertmanager",
        ),
        (
            {
                "routes": {
                    "mail": {
                        "type": "email",
                        "url": "smtp://host",
                        "user": "u",
                        "secret": "s",
                        "sender": "m@example",
                        "to": ["a@example"],
                    }
                }
            },
            "send its password without TLS",
        ),
    ],
)
def test_unusable_receiver_is_rejected(chosen: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        routes(settings(**chosen))


@pytest.mark.parametrize("url", ["alertmanager:9093", "ftp://host/", "https://", "http://h:x/"])
def test_address_that_is_no_http_url_is_rejected(url: str):
    with pytest.raises(ConfigError, match="XM_RECEIVERS__ALERTMANAGER_URL"):
        routes(settings(alertmanager_url=url))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"type": "slack"}, "slack needs url"),
        ({"type": "pagerduty"}, "pagerduty needs secret"),
        ({"type": "webhook", "url": "https://host"}, "webhook needs secret"),
        ({"type": "email", "url": "smtps://host"}, "email needs sender and to"),
        ({"type": "slack", "url": "https://host", "secret": "s"}, "does not use secret"),
        ({"type": "teams", "url": "https://host", "user": "s"}, "does not use user"),
        (PAGER | {"timezone": "Europe/Atlantis"}, "is not a time zone"),
    ],
)
def test_incomplete_route_is_rejected(chosen: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        settings(routes={"here": chosen})


def test_secrets_are_not_printed():
    shown = repr(Webhook(Endpoint("https://desk.example/token", 3, secret="hush")))
    assert "hush" not in shown
    assert "token" not in shown


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert retry_after("7") == 7.0
    assert 50 < retry_after(formatdate(time() + 60, usegmt=True)) <= 60


@pytest.mark.parametrize("header", [None, "", "soon", "-3", formatdate(0), "Mon, 99 Foo"])
def test_unreadable_retry_after_is_zero(header: str | None):
    assert retry_after(header) == 0.0

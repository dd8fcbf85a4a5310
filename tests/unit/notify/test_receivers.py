from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from time import time

import pytest

from monitor.config import Receivers, Settings
from monitor.errors import ConfigError
from pipelines.notify import Alertmanager, Webhook, receivers
from pipelines.notify.receiver import retry_after


def settings(**chosen: object) -> Settings:
    return Settings(receivers=Receivers.model_validate(chosen))


def test_no_receiver_without_configuration():
    assert receivers(settings()) == []


def test_each_configured_receiver_is_built(tmp_path: Path):
    (tmp_path / "secret").write_text("hush\n")
    chosen = settings(
        alertmanager_url="http://127.0.0.1:9093",
        webhook_url="https://abuse.example/hook",
        webhook_secret_file=tmp_path / "secret",
        timeout_seconds=3,
    )
    assert receivers(chosen) == [
        Alertmanager("http://127.0.0.1:9093", 3),
        Webhook("https://abuse.example/hook", b"hush", 3),
    ]


def test_webhook_without_a_secret_is_rejected():
    with pytest.raises(ConfigError, match="set XM_RECEIVERS__WEBHOOK_SECRET"):
        receivers(settings(webhook_url="https://abuse.example/hook"))


@pytest.mark.parametrize("url", ["alertmanager:9093", "ftp://host/", "https://"])
def test_address_that_is_no_http_url_is_rejected(url: str):
    with pytest.raises(ConfigError, match="XM_RECEIVERS__ALERTMANAGER_URL"):
        receivers(settings(alertmanager_url=url))


def test_webhook_secret_is_not_printed():
    assert "hush" not in repr(Webhook("https://abuse.example/hook", b"hush", 3))


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert retry_after("7") == 7.0
    assert 50 < retry_after(formatdate(time() + 60, usegmt=True)) <= 60


@pytest.mark.parametrize("header", [None, "", "soon", "-3", formatdate(0), "Mon, 99 Foo"])
def test_unreadable_retry_after_is_zero(header: str | None):
    assert retry_after(header) == 0.0

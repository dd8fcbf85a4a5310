"""`xm config check|show|explain`: what is wrong, and where each value comes from."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from rich.console import Console
from typer.testing import CliRunner, Result

from monitor import config
from monitor.config import Settings, catalogue, sources
from monitor.config.environment import unknown_variables
from monitor.config.sources import values
from pipelines.cli.main import app
from pipelines.cli.operate.config import sign_on_of
from pipelines.health.settings import check_settings
from pipelines.show.operate.config import show_report, show_values

SECRET = "0123456789abcdef"
Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("XM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / config.DEFAULT_FILE
        file.write_text(text)
        return file

    return write


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", *arguments])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XM_SERVICE_HOST", "10.96.0.7"),
        ("XM_SERVICE_PORT", "6066"),
        ("XM_SERVICE_PORT_METRICS", "6066"),
        ("XM_PORT", "tcp://10.96.0.7:6066"),
        ("XM_PORT_6066_TCP", "tcp://10.96.0.7:6066"),
        ("XM_PORT_6066_TCP_PROTO", "tcp"),
        ("XM_PORT_6066_TCP_PORT", "6066"),
        ("XM_PORT_6066_TCP_ADDR", "fd00::7"),
        ("XM_DECISIONS_PORT", "tcp://[fd00::7]:6067"),
        ("XM_REDIS_NAME", "/monitor/xm-redis"),
    ],
)
def test_variables_of_container_runtimes_are_known(name: str, value: str) -> None:
    assert unknown_variables({name: value}) == []


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("XM_SERVE_PORT", "6067", "XM_SERVE__PORT"),
        ("XM_SERVE_HOST", "0.0.0.0", "XM_SERVE__HOST"),
        ("XM_SHADOW", "false", "XM_DECISIONS__SHADOW"),
        ("XM_CONFIGG", "a.toml", None),
        ("xm_kafkaa", "kafka:9092", "XM_KAFKA"),
    ],
)
def test_misspelt_variables_are_unknown(name: str, value: str, meant: str | None) -> None:
    [sentence] = unknown_variables({name: value})
    assert sentence.startswith(f"{name} is not a setting")
    assert meant is None or sentence.endswith(f"Did you mean {meant}?")


def test_port_that_kubernetes_has_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XM_WEB_PORT", "tcp://10.96.0.7:6066")
    [finding] = [each for each in check_settings().findings if each.level == "error"]
    assert "enableServiceLinks" in finding.message


def test_redis_url_comes_from_its_file(tmp_path: Path, write: Write) -> None:
    (tmp_path / "url").write_text("redis://:s3cret@redis:6379/1\n")
    write('redis_url_file = "url"')
    assert config.load().redis_url == "redis://:s3cret@redis:6379/1"
    assert "s3cret" not in run("show", "--all").stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('redis_url_file = "none"', "XM_REDIS_URL_FILE names none, which cannot be read"),
        ('redis_url_file = "empty"', "which is empty"),
    ],
)
def test_wrong_redis_url_file_is_named(
    tmp_path: Path, write: Write, text: str, complaint: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    write(text)
    [error] = [each.message for each in check_settings().findings if each.level == "error"]
    assert complaint in error


def test_sources_are_named_with_lines(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        '# of the day\nkafka = "a:1"\n\n[receivers.routes.pager]\ntype = "slack"\n'
        'kinds = [\n  "campaign",\n]\nurl = "https://hooks.example.com/s3cret"\n'
        "[decisions]\nshadow = false\n"
    )
    monkeypatch.setenv("XM_DECISIONS__SHADOW", "true")
    monkeypatch.setenv("XM_TOPICS", '{"requests": "mine"}')
    found = {each.setting.name: (each.text, each.place) for each in values(config.load())}
    assert found["kafka"] == ("a:1", f"{config.DEFAULT_FILE}:2")
    assert found["receivers.routes.pager.type"] == ("slack", f"{config.DEFAULT_FILE}:5")
    assert found["receivers.routes.pager.kinds"] == ("campaign", f"{config.DEFAULT_FILE}:6")
    assert found["receivers.routes.pager.url"] == ("***", f"{config.DEFAULT_FILE}:9")
    assert found["decisions.shadow"] == ("true", "XM_DECISIONS__SHADOW")
    assert found["topics.requests"] == ("mine", "XM_TOPICS")
    assert found["rows"] == ("200000", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:s3cret@h:1/0", "redis://me:***@h:1/0"),
        ("redis://:s3c@ret@h:1/0", "redis://:***@h:1/0"),
        ("redis+sentinel://me:s3/c?r#et@a:1,b:2/name", "redis+sentinel://me:***@a:1,b:2/name"),
        ("rediss://h:1/0?ssl_keyfile=k&password=s3cret", "rediss://h:1/0?ssl_keyfile=k&password=***"),
        ("redis+sentinel://a/n?sentinel_password=s3", "redis+sentinel://a/n?sentinel_password=***"),
        ("https://s3cret@h/", "https://***@h/"),
    ],
)  # fmt: skip
def test_secrets_in_urls_are_hidden(text: str, shown: str) -> None:
    assert sources.without_secrets(text) == shown


def test_no_secret_is_shown(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        f'identity_secret = "{SECRET}"\nredis_url = "redis://:{SECRET}@h:1"\n'
        f'[kafka_security]\nprotocol = "sasl_ssl"\nuser = "m"\npassword = "{SECRET}"\n'
        f'[receivers]\nwebhook_url = "https://h/{SECRET}"\nwebhook_secret = "{SECRET}"\n'
    )
    monkeypatch.setenv("XM_GATEWAY__TOKEN", SECRET)
    shown = ("check",), ("check", "--json"), ("show",), ("show", "--all", "--json")
    for arguments in shown + tuple(
        ("explain", each.setting.name) for each in values(config.load())
    ):
        assert SECRET not in run(*arguments).output, arguments


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kafka = ", "is not valid TOML"),
        ("kafak = 1\nweb_port = 0", "kafak in .* Did you mean kafka"),
        ('redis_url = "redis//h"', "XM_REDIS_URL cannot be used"),
        ('mapping = "litelm"', "litelm"),
        ('reference = "none.json"', "none.json"),
        ('content = "broken"', "broken"),
        ('tasks = "broken"', "broken"),
        ('[campaigns]\nweights = "broken"', "broken"),
        ('[kafka_security]\nprotocol = "ssl"\nca_file = "broken"', "CA_FILE"),
        ('[kafka_security]\nprotocol = "ssl"\nca_file = "none"', "CA_FILE"),
        ('[serve]\ntls_cert_file = "broken"', "XM_SERVE__TLS_CERT_FILE"),
        ('[serve]\ntokens_file = "broken"', "Line 1 of broken is not a token"),
        ('[console]\ntls_cert_file = "broken"', "XM_CONSOLE__TLS_CERT_FILE"),
        ('[console]\nusers_file = "broken"', "Line 1 of broken is not a user"),
        ('[console]\nproxy_addresses = ["::/0"]', "anyone could sign on"),
        ('[sharing]\nsalt_file = "none"', "XM_SHARING__SALT_FILE"),
        ('[cases]\nkey_file = "broken"', "XM_CASES__KEY_FILE"),
        ('[cases]\nletter_template = "none.md"', "letter_template in .*:2 names none.md"),
        ('[tracing]\ncanaries_file = "broken"', "broken"),
        ('[receivers.routes.a]\ntype = "slack"\nurl = "ftp://h"', "receivers.routes.a.url"),
        ('[receivers.routes.a]\ntype = "slack"\nurl_file = "none"', "ROUTES__A__URL_FILE"),
    ],
)
def test_errors_are_found_and_end_with_status_1(
    tmp_path: Path, write: Write, text: str, complaint: str
) -> None:
    (tmp_path / "broken").write_text("{ broken")
    (tmp_path / "broken").chmod(0o600)
    write(text)
    found = check_settings(sign_on_of).findings
    errors = [each.message for each in found if each.level == "error"]
    assert len(errors) == 1 + text.count("kafak")
    assert re.search(complaint, " ".join(errors))
    assert run("check").exit_code == 1


def test_good_settings_end_with_status_0(tmp_path: Path, write: Write) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    write(
        'mapping = "litellm"\nidentity_secret_file = "secret"\n'
        '[console]\nview_file = "not yet written"'
    )
    ended = run("check")
    assert (ended.exit_code, ended.stdout.strip()) == (
        0,
        f"{config.DEFAULT_FILE}: 3 settings, no errors, no warnings.",
    )
    assert json.loads(run("check", "--json").stdout)["findings"] == []


def test_doubtful_settings_are_warnings(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o644)
    write(
        'identity_secret_file = "secret"\nredis_url = "redis://:s3cret@h:1"\n'
        'redis_url_file = "secret"\n'
    )
    field: Any = Field(None, description="old", deprecated="use XM_KAFKA")
    monkeypatch.setitem(Settings.model_fields, "group", field)
    monkeypatch.setenv("XM_GROUP", "mine")

    catalogue.settings.cache_clear()
    try:
        report = check_settings()
    finally:
        catalogue.settings.cache_clear()
    assert {each.level for each in report.findings} == {"warning"}
    text = " ".join(each.message for each in report.findings)
    assert "XM_GROUP is deprecated: use XM_KAFKA" in text
    assert "mode 644): run `chmod 600 secret`" in text
    assert "redis_url_file in extraction-monitor.toml:3 are both set" in text
    assert "redis_url in extraction-monitor.toml:2 holds a secret" in text


def test_explain_finds_a_setting_by_any_of_its_names() -> None:
    for name in ("decisions.shadow", "XM_DECISIONS__SHADOW", "shadow"):
        assert "XM_DECISIONS__SHADOW" in run("explain", name).stdout
    for name, reason in (("password", "several settings"), ("shaddow", "not a setting")):
        ended = run("explain", name)
        assert reason in str(ended.exception)


def test_names_of_settings_are_completed() -> None:
    words = {"COMP_WORDS": "xm config explain decisions.sh", "COMP_CWORD": "3"}
    ended = CliRunner().invoke(app, env={**words, "_XM_COMPLETE": "complete_bash"}, prog_name="xm")
    assert ended.stdout.strip() == "decisions.shadow"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_output_fits_and_cuts_nothing(write: Write, width: int) -> None:
    file = "/run/secrets/" + 60 * "x"
    write(f"[receivers.routes.pager]\ntype = 'slack'\nurl_file = '{file}'\n")
    found, report = values(config.load()), check_settings()
    screen = io.StringIO()
    console = Console(file=screen, width=width)
    show_values(found, console)
    shown = screen.getvalue()
    assert all(each.setting.name in shown and each.text in shown for each in found)
    fits = [line for line in shown.splitlines() if "," not in line and file not in line]
    assert max(map(len, fits)) <= width
    screen.truncate(screen.seek(0))
    show_report(report, console)
    assert file in screen.getvalue()
    assert all(len(line) <= width or file in line for line in screen.getvalue().splitlines())

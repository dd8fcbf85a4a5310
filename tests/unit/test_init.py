"""`xm init`: what it writes is accepted by what reads it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from monitor import config
from pipelines.cli.main import app
from pipelines.console.access.users import Users
from pipelines.setup.choices import GATEWAYS
from tests.support.programs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
REQUEST = {"timestamp": "2026-03-02T10:00:00Z", "team_key": "sk-1", "prompt": "hello", "model": "m"}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("XM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XM_CONFIG", "")  # restored after `xm init` has set it


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_defaults_pass_the_check_and_secrets_are_private(tmp_path: Path) -> None:
    ended = init("made")
    assert ended.exit_code == 0, ended.output
    assert "no errors, no warnings" in ended.output
    secret = tmp_path / "made/secrets/identity"
    assert (mode(secret), mode(secret.parent)) == (0o600, 0o700)
    assert re.fullmatch("[0-9a-f]{64}\n", secret.read_text())
    assert config.load().decisions.shadow


def test_choices_are_in_the_settings(tmp_path: Path) -> None:
    for name in ("pagerduty", "slack"):
        (tmp_path / name).write_text("https://hooks.example.com/s3cret")
        (tmp_path / name).chmod(0o600)
    ended = init(
        *("made", "--kafka", "k1:9092,k2:9092", "--redis", "redis://:s3cret@redis:6379/1"),
        *("--gateway", "nginx", "--api", "model:9000", "--alertmanager", "http://am:9093"),
        *("--webhook", "https://hooks.example.com/xm", "--pagerduty-key-file", "pagerduty"),
        *("--slack-url-file", "slack"),
    )
    assert ended.exit_code == 0, ended.output
    settings = config.load()
    assert (settings.kafka, settings.mapping) == ("k1:9092,k2:9092", "nginx")
    assert settings.redis_url == "redis://:s3cret@redis:6379/1"
    assert set(settings.receivers.routes) == {"pager", "slack"}
    assert "server model:9000;" in (tmp_path / "made/nginx/nginx.conf").read_text()
    public = [each for each in (tmp_path / "made").rglob("*") if each.is_file() and mode(each) & 4]
    assert not any("s3cret" in each.read_text() for each in public)
    assert "s3cret" not in ended.output


@pytest.mark.parametrize(
    ("record", "mapping"),
    [
        ({"ts": 1772020800.0, "api_key": "sk-1", "prompt": "hello"}, "native"),
        (REQUEST, {"ts": "/timestamp", "api_key": "/team_key"}),
    ],
)
def test_mapping_is_guessed_from_a_sample(
    tmp_path: Path, record: dict[str, Any], mapping: Any
) -> None:
    (tmp_path / "log.jsonl").write_text(20 * f"{json.dumps(record)}\n")
    ended = init("made", "--sample", "log.jsonl")
    assert ended.exit_code == 0, ended.output
    found = config.load().mapping
    assert found == mapping if isinstance(mapping, str) else mapping.items() <= found.items()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--gateway", "ngnix"), "no gateway 'ngnix'"),
        (("--kafka", "kafka"), "host:port"),
        (("--sample", "empty"), "empty"),
    ],
)
def test_wrong_choice_is_named_and_nothing_is_written(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "empty").write_text('{"a": 1}\n')
    ended = init("made", *arguments)
    assert reason in str(ended.exception)
    assert not (tmp_path / "made").exists()


def test_existing_files_stay_and_force_keeps_secrets(tmp_path: Path) -> None:
    init("made")
    secret = (tmp_path / "made/secrets/identity").read_text()
    again = init("made", "--kafka", "other:9092")
    assert "exists: name another folder" in str(again.exception)
    assert config.load().kafka == "127.0.0.1:9092"
    assert init("made", "--kafka", "other:9092", "--force").exit_code == 0
    assert config.load().kafka == "other:9092"
    assert (tmp_path / "made/secrets/identity").read_text() == secret


def test_console_gets_an_administrator_whose_token_is_shown_once(tmp_path: Path) -> None:
    ended = init("made", "--console", "ada@example.com")
    assert ended.exit_code == 0, ended.output
    chosen = config.load().console
    assert chosen.users_file is not None
    assert mode(chosen.users_file) == 0o600
    (token,) = re.findall(r"xm_[\w-]{43}", ended.output)
    user = Users(chosen.users_file).verify("ada@example.com", token)
    assert user is not None
    assert user.viewer.role == "admin"
    again = init("made", "--console", "ada@example.com", "--force")
    assert not re.findall(r"xm_[\w-]{43}", again.output)


@pytest.mark.parametrize("servers", [(), ("--kafka", "kafka:9092", "--redis", "redis://r:6379/0")])
def test_compose_override_matches_the_specification(
    tmp_path: Path, servers: tuple[str, ...]
) -> None:
    init("made", *servers, "--console", "ada")

    class Loader(yaml.SafeLoader):
        """With the two tags of Docker Compose."""

    Loader.add_constructor("!reset", lambda *_: None)
    Loader.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, True))
    found = yaml.load((tmp_path / "made/compose.override.yaml").read_text(), Loader)
    schemas = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas")
    schema = json.loads(Path(str(schemas), "vendor/compose-spec.json").read_text())
    jsonschema.validate(found, schema)
    shipped = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert found["services"].keys() <= shipped.keys()
    folder = str(tmp_path / "made")
    assert found["services"]["monitor"]["volumes"] == [f"{folder}:{folder}:ro"]
    assert ("profiles" in found["services"].get("kafka", {})) == bool(servers)


@pytest.mark.parametrize("alertmanager", [(), ("--alertmanager", "https://am:9093/path")])
def test_prometheus_accepts_the_target_and_the_rules(
    tmp_path: Path, alertmanager: tuple[str, ...]
) -> None:
    init("made", *alertmanager)
    written = tmp_path / "made/prometheus/prometheus.yml"
    done = subprocess.run(
        [program("promtool"), "check", "config", written], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_gateway_is_the_shipped_one_with_the_api(tmp_path: Path, gateway: str) -> None:
    assert init("made", "--gateway", gateway, "--api", "model:9000").exit_code == 0
    main, _ = GATEWAYS[gateway]
    text = (tmp_path / "made" / gateway / main).read_text()
    shipped = (DEPLOY / "gateways" / gateway / main).read_text()
    assert text == shipped.replace("127.0.0.1:8000", "model:9000") != shipped or gateway == "envoy"


def test_questions_are_asked_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    os.write(ours, b"kafka:9092\n\nnginx\n\nhttp://am:9093\n\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "init", "made"],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(DEPLOY.parent)},
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "Gateway (nginx, envoy" in done.stdout
    written = tomllib.loads((tmp_path / "made/extraction-monitor.toml").read_text())
    assert (written["kafka"], written["mapping"]) == ("kafka:9092", "nginx")
    assert written["receivers"]["alertmanager_url"] == "http://am:9093"


def test_text_in_settings_is_escaped(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \N{SNOWMAN} folder'
    init(folder)
    written = tomllib.loads((folder / "extraction-monitor.toml").read_text())
    assert written["identity_secret_file"] == str(folder / "secrets/identity")

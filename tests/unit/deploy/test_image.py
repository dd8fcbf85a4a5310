"""The image: what it is built from, its health check, and its bill of materials."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.support.programs import program
from tests.support.settings import setting_defaults

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy/Dockerfile"
PROBE = ROOT / "deploy/healthcheck.py"
probe_url = runpy.run_path(str(PROBE))["url"]


def copied() -> set[str]:
    """Files and folders that the image copies from the repository."""
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE.read_text(), re.M)
    return {name for line in lines for name in line.split()}


def test_hadolint_accepts_dockerfile():
    done = subprocess.run([program("hadolint"), DOCKERFILE], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_image_copies_existing_files():
    assert all((ROOT / name).exists() for name in copied())


def test_build_context_has_only_what_the_image_copies():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")} - {"deploy"}
    assert lines[0] == "*"
    assert "deploy/*" in lines
    assert allowed == copied()


def test_image_has_all_that_the_build_reads():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = project["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    hooks = {**build.get("hooks", {}), **wheel.get("hooks", {})}
    read = {
        *wheel["packages"],
        *wheel.get("force-include", {}),
        *(hook.get("path", "hatch_build.py") for name, hook in hooks.items() if name == "custom"),
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    for name in read:
        assert any(Path(name).is_relative_to(each) for each in copied()), name


def test_links_lead_to_what_the_image_copies():
    sources = [ROOT / name for name in copied()]
    links = [each for source in sources for each in source.rglob("*") if each.is_symlink()]
    for link in links:
        assert any(link.resolve().is_relative_to(source) for source in sources), link


def test_image_runs_without_root_in_the_last_stage():
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert "\nUSER 10001\n" in last
    assert "HEALTHCHECK" in last
    assert "pip install" not in last


@pytest.mark.parametrize(
    ("command", "settings", "url"),
    [
        ("worker --role link", {}, "http://127.0.0.1:6066/healthz"),
        ("worker", {"XM_WEB_PORT": "7000"}, "http://127.0.0.1:7000/healthz"),
        ("serve", {}, "http://127.0.0.1:6067/healthz"),
        ("serve", {"XM_SERVE__TLS_CERT_FILE": "c.pem"}, "https://127.0.0.1:6067/healthz"),
        ("forward --receive", {"XM_FORWARD__PORT": "80"}, "http://127.0.0.1:80/healthz"),
        ("console", {}, "http://127.0.0.1:6069/healthz"),
    ],
)
def test_health_check_asks_port_of_the_command(command: str, settings: dict[str, str], url: str):
    assert probe_url(["python", "extraction-monitor", *command.split(), ""], settings) == url


def test_health_check_knows_settings_and_default_ports():
    defaults = setting_defaults()
    for section in ("SERVE__", "FORWARD__", "CONSOLE__", "WEB_"):
        command = section.lower().rstrip("_")
        assert f":{defaults[f'XM_{section}PORT']}/" in probe_url([command], {})
    names = set(re.findall(r"XM_[A-Z_]+[A-Z]", PROBE.read_text()))
    assert names <= defaults.keys()


@pytest.fixture
def answering() -> Iterator[Any]:
    """A server whose `status` is the answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_check_exits_with_the_answer(answering: Any, status: int, code: int):
    answering.status = status
    port = str(answering.server_address[1])
    done = subprocess.run(
        [sys.executable, "-I", PROBE],
        env={**os.environ, **dict.fromkeys(("XM_WEB_PORT", "XM_SERVE__PORT"), port)},
        capture_output=True,
    )
    assert done.returncode == code


def test_bill_of_materials_names_what_is_installed():
    environment = {**os.environ, "PATH": f"{Path(program('cyclonedx-py')).parent}:{os.defpath}"}
    done = subprocess.run(
        [ROOT / "deploy/sbom", sys.executable],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    bill = json.loads(done.stdout)
    schema_of_bills().validate(bill)
    versions = {each["name"].lower(): each["version"] for each in bill["components"]}
    assert bill["metadata"]["component"]["name"] == "extraction-monitor"
    for name in ("numba", "aiokafka", "redis", "pydantic-settings"):
        assert versions[name] == version(name)


def schema_of_bills() -> Any:
    """The schema of CycloneDX 1.6, in the package that writes the bill."""

    def load(name: str) -> Any:
        return json.loads((files("cyclonedx.schema") / "_res" / name).read_text())

    others = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}", load(name)) for name in others]
    )
    return jsonschema_rs.validator_for(load("bom-1.6.SNAPSHOT.schema.json"), registry=registry)

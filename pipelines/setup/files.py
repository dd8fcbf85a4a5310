"""The files around the settings: secrets, compose override, Prometheus target, gateway."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pipelines.setup.choices import GATEWAYS, NO_GATEWAY, Choices
from pipelines.setup.settings import settings_text

_SHIPPED = Path(__file__).parent / "deploy"  # links, of which a package holds the files
_API = "127.0.0.1:8000"  # of the shipped gateways
_PRIVATE, _PUBLIC = 0o600, 0o644

_COMPOSE = """\
# Written by `xm init`, for `deploy/compose.yaml`:
#
#   export XM_IDENTITY_SECRET=$(cat {identity})
#   docker compose -f deploy/compose.yaml -f {file} up --build
#
# The folder is mounted at its own path, since the settings name files in it. `!reset` drops what
# `deploy/compose.yaml` sets for its own servers, where the settings name others.
x-environment: &environment {environment}
x-settings: &settings
  user: "{user}"
  volumes: [{folder}]
  environment: *environment

services:
  topics: {{ <<: *settings{before} }}
  monitor: {{ <<: *settings{after} }}
  link: {{ <<: *settings{after} }}
  deliver: {{ <<: *settings{after} }}
  decisions: {{ <<: *settings{before} }}
"""
_CONSOLE = """\
  console:
    <<: *settings{before}
    environment: {environment}
"""
_CREATED = "topics: { condition: service_completed_successfully }"
_PROMETHEUS = """\
# Written by `xm init`: prometheus --config.file={file}
# In a Prometheus that you have, add the job and the rules.
scrape_configs:
  - job_name: extraction-monitor
    static_configs:
      - targets: ["127.0.0.1:6066"]

rule_files: [rules.yml]
"""
_ALERTING = """
alerting:
  alertmanagers:
    - scheme: {scheme}
      path_prefix: {path}
      static_configs:
        - targets: [{target}]
"""


class File(NamedTuple):
    """A file to write.

    Attributes:
        mode: permissions.
        kept: whether it stays as it is if it exists, also with `--force`.
    """

    path: Path
    text: str
    mode: int = _PUBLIC
    kept: bool = False


def files_of(chosen: Choices) -> list[File]:
    """All files of a first configuration."""
    folder = chosen.folder
    files = [
        File(chosen.settings_file, settings_text(chosen)),
        File(chosen.identity_file, f"{secrets.token_hex(32)}\n", _PRIVATE, kept=True),
        File(chosen.identity_file.with_name(".gitignore"), "*\n", _PRIVATE, kept=True),
        File(folder / "compose.override.yaml", _compose(chosen)),
        File(folder / "prometheus/prometheus.yml", _prometheus(chosen)),
        File(folder / "prometheus/rules.yml", _shipped("prometheus/rules.yml").read_text()),
    ]
    if chosen.redis_url_file is not None and chosen.redis_file is None:
        files.append(File(chosen.redis_url_file, f"{chosen.redis}\n", _PRIVATE))
    if chosen.webhook:
        files.append(File(chosen.webhook_file, f"{secrets.token_hex(32)}\n", _PRIVATE, kept=True))
    if chosen.console_user:
        files.append(File(chosen.users_file, f"{chosen.console_user}\n", _PRIVATE, kept=True))
    if chosen.gateway != NO_GATEWAY:
        files += _gateway(chosen)
    return files


def _gateway(chosen: Choices) -> list[File]:
    """The shipped gateway, in front of the chosen API."""
    source = _shipped(f"gateways/{chosen.gateway}")
    main, _ = GATEWAYS[chosen.gateway]
    found = []
    for file in sorted(each for each in source.rglob("*") if each.is_file()):
        name = file.relative_to(source)
        text = file.read_text(encoding="utf-8")
        if str(name) == main:
            text = text.replace(_API, chosen.api)
        if name.suffix != ".md":
            found.append(File(chosen.folder / chosen.gateway / name, text))
    return found


def _prometheus(chosen: Choices) -> str:
    text = _PROMETHEUS.format(file=chosen.folder / "prometheus/prometheus.yml")
    if chosen.alertmanager:
        url = urlsplit(chosen.alertmanager)
        target, path = json.dumps(url.netloc), json.dumps(url.path or "/")
        text += _ALERTING.format(scheme=url.scheme, target=target, path=path)
    return text


def _compose(chosen: Choices) -> str:
    redis_is_local = chosen.redis_file is None and _is_local(chosen.redis)
    servers = {
        "XM_KAFKA": _is_local(chosen.kafka),
        "XM_REDIS_URL": redis_is_local,
        "XM_RECEIVERS__ALERTMANAGER_URL": not chosen.alertmanager or _is_local(chosen.alertmanager),
    }
    environment = json.dumps({"XM_CONFIG": str(chosen.settings_file)})[:-1]
    environment += "".join(f", {name}: !reset null" for name, ours in servers.items() if not ours)
    # The settings name a file that this user cannot write in the container.
    view = f'{environment}, "XM_CONSOLE__VIEW_FILE": "/tmp/console.sqlite"}}'
    # With other servers, those of deploy/compose.yaml are not waited for and do not start.
    apart = not (servers["XM_KAFKA"] and servers["XM_REDIS_URL"])
    unused = [
        name
        for name, variable in (("kafka", "XM_KAFKA"), ("redis", "XM_REDIS_URL"))
        if not servers[variable]
    ]
    before = "depends_on: !override {}" if apart else ""
    text = _COMPOSE.format(
        identity=chosen.identity_file,
        file=chosen.folder / "compose.override.yaml",
        user=f"{os.getuid()}:{os.getgid()}",
        folder=json.dumps(f"{chosen.folder}:{chosen.folder}:ro"),
        environment=f"{environment}}}",
        before=before and f", {before}",
        after=f", depends_on: !override {{ {_CREATED} }}" if apart else "",
    )
    if chosen.console_user:
        text += _CONSOLE.format(before=before and f"\n    {before}", environment=view)
    return text + "".join(f"  {name}: {{ profiles: [unused] }}\n" for name in unused)


def _is_local(server: str) -> bool:
    return any(name in server for name in ("127.0.0.1", "localhost"))


def _shipped(name: str) -> Path:
    return _SHIPPED / name

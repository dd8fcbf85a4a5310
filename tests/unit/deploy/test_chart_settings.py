"""`xm config check` accepts the settings and files that pods get from the chart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.charts import find, rendered

MANAGED = """
settings:
  XM_KAFKA: b-1.example:9096
  XM_KAFKA_SECURITY__PROTOCOL: sasl_ssl
  XM_KAFKA_SECURITY__MECHANISM: SCRAM-SHA-512
  XM_KAFKA_SECURITY__USER: monitor
  XM_REDIS_URL: ""
files:
  XM_KAFKA_SECURITY__PASSWORD_FILE: {secret: kafka, key: password}
  XM_REDIS_URL_FILE: {secret: redis, key: url}
config: |
  [mapping]
  ts = "/time"
  api_key = "/key"
"""
CONSOLE = """
files:
  XM_CONSOLE__USERS_FILE: {secret: console, key: users, roles: [console]}
console: {enabled: true}
"""
SECRETS = {
    "identity_secret": "0123456789abcdef",
    "password": "hidden",
    "url": "rediss://redis/0",
    "users": "# nobody",
}


def mounted(volume: Any, manifests: list[Any]) -> dict[str, str]:
    """The files of a volume."""
    if "emptyDir" in volume:
        return {}
    if "configMap" in volume:
        return dict(find(manifests, "ConfigMap", volume["configMap"]["name"])["data"])
    items = [item for each in volume["projected"]["sources"] for item in each["secret"]["items"]]
    return {item["path"]: SECRETS[item["key"]] for item in items}


@pytest.mark.parametrize(
    ("values", "role"), [("{}", "watch"), (MANAGED, "decisions"), (CONSOLE, "console")]
)
def test_settings_of_pods_pass_config_check(tmp_path: Path, values: str, role: str):
    manifests = rendered(values)
    pod = find(manifests, "Deployment", role)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    volumes = {each["name"]: each for each in pod["volumes"]}
    environment = {**find(manifests, "ConfigMap", "extraction-monitor")["data"]}
    environment |= {each["name"]: each["value"] for each in container["env"]}
    for mount in container["volumeMounts"]:
        folder = tmp_path / mount["name"]
        folder.mkdir()
        for name, content in mounted(volumes[mount["name"]], manifests).items():
            (folder / name).write_text(content)
            (folder / name).chmod(0o440)
        for name, value in environment.items():
            environment[name] = value.replace(mount["mountPath"] + "/", f"{folder}/")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "config", "check"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no errors, no warnings" in " ".join(done.stdout.split())

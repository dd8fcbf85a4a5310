"""The Helm chart, rendered, and the schemas of what it makes."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import validate

from tests.support.programs import program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/extraction-monitor"
KUBERNETES = ("1.31", "1.32", "1.33", "1.34")
CUSTOM = {
    "ScaledObject": "keda.v1alpha1",
    "PrometheusRule": "prometheus_operator.v1",
    "ServiceMonitor": "prometheus_operator.v1",
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("helm"), *arguments], capture_output=True, text=True, timeout=60)


@cache
def rendered(values: str = "{}", name: str = "extraction-monitor") -> list[Any]:
    """The manifests for values in YAML."""
    done = subprocess.run(
        [program("helm"), "template", name, str(CHART), "--namespace", "llm", "--values", "-"],
        input=values,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def find(manifests: list[Any], kind: str, end: str = "") -> Any:
    """The one manifest of a kind whose name ends in `end`."""
    (found,) = (
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"].endswith(end)
    )
    return found


def check(manifest: dict[str, Any], version: str) -> None:
    """Validate a manifest against the schema of a Kubernetes version, or of its operator."""
    _check(json.dumps(manifest), version if manifest["kind"] not in CUSTOM else "")


@cache
def _check(text: str, version: str) -> None:
    manifest = json.loads(text)
    if version:
        validate(manifest, version, strict=True)
    else:
        jsonschema.Draft202012Validator(custom_schema(manifest["kind"])).validate(manifest)


@cache
def custom_schema(kind: str) -> dict[str, Any]:
    """The schema of a custom resource, which accepts no other fields than its own."""
    models = import_module(f"cloudcoil.models.{CUSTOM[kind]}")  # here, because it takes a second
    schema: dict[str, Any] = getattr(models, kind).model_json_schema(by_alias=True)
    for each in [schema, *schema["$defs"].values()]:
        if each.get("properties"):
            each["additionalProperties"] = False
    # Python's expressions have flags at the start only.
    found: dict[str, Any] = json.loads(json.dumps(schema).replace("^(?i)", "(?i)^"))
    return found

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from monitor.config.settings import DOCS, Settings
from monitor.metrics import Metrics
from pipelines.decide.metrics import LookupMetrics
from pipelines.forward.metrics import ForwardMetrics
from pipelines.notify.incidents.links import links_of
from tests.support.programs import program
from tests.support.receivers import alert
from tests.support.settings import setting_defaults

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
DASHBOARDS = {json.loads(file.read_text())["uid"] for file in (ROOT / "dashboards").glob("*.json")}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def run(name: str, *arguments: str, folder: Path = DEPLOY) -> str:
    done = subprocess.run(
        [program(name), *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def setting_names(environment: dict[str, str]) -> list[str]:
    return [name for name in environment if name.startswith("XM_")]


def test_prometheus_accepts_config_and_rules():
    run("promtool", "check", "config", "prometheus/prometheus.yml")


def test_rules_fire_when_expected():
    run("promtool", "test", "rules", "rules_test.yml", folder=DEPLOY / "prometheus")


def test_every_alerting_rule_has_a_test():
    tests = yaml.safe_load((DEPLOY / "prometheus/rules_test.yml").read_text())["tests"]
    tested = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert tested == set(ALERTS)


def test_rules_use_only_existing_metrics():
    known = {
        name
        for owner in (Metrics(), LookupMetrics(), ForwardMetrics())
        for each in owner.registry.collect()
        for name in names_of(each)
    }
    asked = {name for rule in RULES for name in re.findall(r"\bxm_\w+", rule["expr"])}
    assert asked <= known


def names_of(family: Any) -> set[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {family.name + suffix for suffix in suffixes.get(family.type, [""])}


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_links_to_a_runbook_heading(name: str):
    headings = re.findall(r"^### (\w+)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)
    page = f"{DOCS}/deploy/README.md#{name.lower()}"
    assert ALERTS[name]["annotations"]["runbook_url"] == page
    assert name in headings


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_happened_what_to_do_and_where_to_look(name: str):
    labels, annotations = ALERTS[name]["labels"], ALERTS[name]["annotations"]
    assert labels.keys() == {"severity", "service"}
    assert labels["service"] == "extraction-monitor"
    assert annotations.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "`xm " in annotations["description"]
    (dashboard,) = re.findall(r"/d/([\w-]+)", annotations["dashboard_url"])
    assert dashboard in DASHBOARDS


def test_alerts_of_the_monitor_link_to_the_same_documentation_as_rules():
    assert links_of(Settings()).of(alert("1"))["runbook_url"].startswith(f"{DOCS}/deploy/")


def test_alertmanager_accepts_config():
    run("amtool", "check-config", "alertmanager/alertmanager.yml")


@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("on-call", ["alertname=ExtractionKey", "severity=critical", "subject=k_1"]),
        ("on-call", ["alertname=ExtractionCampaignOpen", "severity=critical", "kind=campaign"]),
        ("abuse-team", ["alertname=ExtractionKey", "severity=warning", "subject=k_1"]),
        ("operators", ["alertname=MonitorDown", "severity=critical"]),
    ],
)
def test_alertmanager_routes_alert_to_receiver(receiver: str, labels: list[str]):
    file = "--config.file=alertmanager/alertmanager.yml"
    run("amtool", "config", "routes", "test", file, f"--verify.receivers={receiver}", *labels)


def test_compose_file_matches_compose_specification():
    # Read the schema without importing the package: it needs another version of click than Faust.
    schemas = distribution("check-jsonschema").locate_file(
        "check_jsonschema/builtin_schemas/vendor"
    )
    jsonschema.validate(COMPOSE, json.loads(Path(schemas, "compose-spec.json").read_text()))


def test_compose_publishes_ports_on_loopback_only():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 9
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_waits_for_healthy_dependencies():
    services = COMPOSE["services"]
    needed = {
        name: condition["condition"]
        for service in services.values()
        if isinstance(service.get("depends_on"), dict)
        for name, condition in service["depends_on"].items()
    }
    healthy = {name for name, condition in needed.items() if condition == "service_healthy"}
    assert healthy == {"kafka", "redis"}
    assert all("healthcheck" in services[name] for name in healthy)
    assert needed["topics"] == "service_completed_successfully"


def test_compose_runs_every_role_once():
    composed = [service.get("command") for service in COMPOSE["services"].values()]
    commands = [*(["worker", "--role", role] for role in ("watch", "link", "deliver")), ["serve"]]
    assert [each for each in composed if each in commands] == commands


def test_compose_requires_identity_secret():
    secret = COMPOSE["x-monitor"]["environment"]["XM_IDENTITY_SECRET"]
    assert re.fullmatch(r"\$\{XM_IDENTITY_SECRET:\?.+\}", secret)


def test_compose_mounts_exist():
    mounts = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
    ]
    files = [DEPLOY / mount for mount in mounts if mount.startswith(".")]
    named = {mount for mount in mounts if not mount.startswith(".")}
    assert all(file.is_dir() for file in files)
    assert named == set(COMPOSE["volumes"])


def test_deployments_set_only_existing_settings():
    units = "".join(unit.read_text() for unit in UNITS)
    variables = [
        *setting_names(COMPOSE["x-monitor"]["environment"]),
        *re.findall(r"^Environment=(XM_\w+)", units, re.MULTILINE),
    ]
    assert set(variables) - setting_defaults().keys() == set()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_systemd_accepts_unit_and_rates_it_confined(tmp_path: Path, unit: Path):
    installed = tmp_path / unit.name
    installed.write_text(
        unit.read_text().replace("/opt/extraction-monitor/bin/extraction-monitor", sys.executable)
    )
    assert run("systemd-analyze", "verify", str(installed)) == ""
    run("systemd-analyze", "security", "--offline=true", "--threshold=15", str(installed))


def test_grafana_provisions_dashboard_and_data_source():
    (provider,) = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/files.yaml").read_text()
    )["providers"]
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert f"../dashboards:{provider['options']['path']}:ro" in mounts
    assert source["url"] == "http://prometheus:9090"
    assert os.path.exists(ROOT / "dashboards/overview.json")

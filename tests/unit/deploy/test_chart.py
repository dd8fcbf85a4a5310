"""The Helm chart: what it renders for several values, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from monitor.config import catalogue
from tests.support.charts import CHART, KUBERNETES, ROOT, check, find, helm, rendered
from tests.support.programs import program
from tests.support.settings import setting_defaults

MANAGED = """
image: {repository: registry.example/xm, digest: sha256:%s}
settings:
  XM_KAFKA: b-1.example:9096,b-2.example:9096
  XM_KAFKA_SECURITY__PROTOCOL: sasl_ssl
  XM_KAFKA_SECURITY__USER: monitor
  XM_REDIS_URL: ""
files:
  XM_REDIS_URL_FILE: {secret: redis, key: url}
  XM_KAFKA_SECURITY__PASSWORD_FILE: {secret: kafka, key: password}
  XM_KAFKA_SECURITY__CA_FILE: {configMap: kafka-ca, key: ca.crt}
  XM_SERVE__TLS_CERT_FILE: {secret: tls, key: tls.crt, roles: [decisions]}
  XM_SERVE__TOKENS_FILE: {secret: extraction-monitor-tokens, key: tokens, roles: [decisions]}
  XM_FORWARD__TOKENS_FILE: {secret: extraction-monitor-tokens, key: tokens, roles: [forward]}
  XM_CONSOLE__USERS_FILE: {secret: extraction-monitor-console, key: users, roles: [console]}
extraVolumes: [{name: models, persistentVolumeClaim: {claimName: models}}]
extraVolumeMounts: [{name: models, mountPath: /models, readOnly: true}]
config: |
  [mapping]
  ts = "/time"
watch:
  processes: 4
  autoscaling: {kind: keda, keda: {authenticationRef: kafka}}
  podAnnotations: {team: abuse}
  tolerations: [{key: dedicated, operator: Exists}]
  priorityClassName: high
decisions: {grpcPort: 6068, scheme: https, autoscaling: {kind: hpa}}
forward: {enabled: true, spool: {storageClassName: fast}}
console: {enabled: true, replicas: 2, podDisruptionBudget: {maxUnavailable: 1}}
networkPolicy:
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true}
dashboards: {enabled: true}
""" % ("0" * 64)  # fmt: skip
HPA = "watch: {autoscaling: {kind: hpa}}"
PROMETHEUS = "watch: {autoscaling: {kind: keda, keda: {trigger: prometheus}}}"
WATCH_ALONE = """
imagePullSecrets: [{name: registry}]
update: recreate
topics: {create: false}
networkPolicy: {enabled: false}
watch: {podDisruptionBudget: null}
link: {enabled: false}
deliver: {enabled: false}
decisions: {enabled: false}
"""
SETS = {
    "default": "{}",
    "managed": MANAGED,
    "hpa": HPA,
    "prometheus": PROMETHEUS,
    "watch alone": WATCH_ALONE,
}
WORKLOADS = ("Deployment", "StatefulSet")


def workloads(values: str) -> dict[str, Any]:
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each
        for each in rendered(values)
        if each["kind"] in WORKLOADS
    }


def container(values: str, role: str) -> Any:
    return workloads(values)[role]["spec"]["template"]["spec"]["containers"][0]


def environment(values: str, role: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(values, role)["env"]}


@pytest.mark.parametrize("values", ["{}", MANAGED])
def test_helm_lint_accepts_chart(tmp_path: Path, values: str):
    (tmp_path / "values.yaml").write_text(values)
    done = helm("lint", "--strict", str(CHART), "--values", str(tmp_path / "values.yaml"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_kubernetes_accepts_manifests(values: str, version: str):
    for manifest in rendered(values):
        check(manifest, version)


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_chart_sets_only_existing_settings(values: str):
    settings = find(rendered(values), "ConfigMap", "extraction-monitor")
    names = {*settings["data"]}.union(*(environment(values, role) for role in workloads(values)))
    assert names - setting_defaults().keys() <= {"XM_CONFIG"}


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_every_pod_is_confined(values: str):
    for each in workloads(values).values():
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for one in [*pod["containers"], *pod.get("initContainers", [])]:
            assert one["securityContext"]["readOnlyRootFilesystem"]
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert one["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_every_selector_finds_the_pods_of_its_role(values: str):
    roles = workloads(values)
    pods = {
        role: each["spec"]["template"]["metadata"]["labels"].items() for role, each in roles.items()
    }
    for each in rendered(values):
        role = each["metadata"]["labels"].get("app.kubernetes.io/component")
        selector = each["spec"].get("selector") if role and "spec" in each else None
        if selector:
            wanted = (selector.get("matchLabels") or selector).items()
            assert [name for name, labels in pods.items() if wanted <= labels] == [role]


def test_each_role_runs_its_command():
    commands = {role: container(MANAGED, role)["args"] for role in workloads(MANAGED)}
    assert commands == {
        "watch": ["worker", "--role", "watch", "--processes", "4"],
        "link": ["worker", "--role", "link"],
        "deliver": ["worker", "--role", "deliver"],
        "decisions": ["serve"],
        "forward": ["forward", "--receive"],
        "console": ["console"],
    }


def test_console_is_open_to_its_proxy_only():
    policy = find(rendered(MANAGED), "NetworkPolicy", "-console")["spec"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"] == {"extraction-monitor-console-proxy": "true"}
    assert rule["ports"] == [{"port": "console"}]


@pytest.mark.parametrize("values", [MANAGED, WATCH_ALONE])
def test_helm_test_runs_doctor_with_the_settings_of_a_worker(values: str):
    (doctor,) = find(rendered(values), "Pod")["spec"]["containers"]
    assert doctor["args"] == ["doctor"]
    for name in ("image", "env", "envFrom", "volumeMounts", "securityContext"):
        assert doctor[name] == container(values, "watch")[name]


def test_file_settings_are_paths_of_mounted_secrets():
    pod = workloads(MANAGED)["decisions"]["spec"]["template"]["spec"]
    (files,) = (each for each in pod["volumes"] if each["name"] == "files")
    (mount,) = (
        each for each in pod["containers"][0]["volumeMounts"] if each["name"] == files["name"]
    )
    sources = [next(iter(each.values())) for each in files["projected"]["sources"]]
    paths = {f"{mount['mountPath']}/{item['path']}" for each in sources for item in each["items"]}
    named = {value for name, value in environment(MANAGED, "decisions").items() if "_FILE" in name}
    assert paths == named
    assert len(named) == 6
    assert mount["readOnly"]


def test_secret_reaches_only_its_roles():
    assert "XM_SERVE__TOKENS_FILE" in environment(MANAGED, "decisions")
    assert "XM_SERVE__TOKENS_FILE" not in environment(MANAGED, "watch")
    assert "extraction-monitor-tokens" not in str(workloads(MANAGED)["watch"])


def test_changed_settings_restart_pods():
    def checksum(values: str) -> str:
        metadata = workloads(values)["watch"]["spec"]["template"]["metadata"]
        return str(metadata["annotations"]["checksum/settings"])

    assert checksum("{}") == checksum(HPA)
    assert checksum("{}") != checksum("settings: {XM_ROWS: 100000}")


@pytest.mark.parametrize("values", [MANAGED, HPA, PROMETHEUS])
def test_autoscaler_alone_sets_the_replicas(values: str):
    assert "replicas" not in workloads(values)["watch"]["spec"]
    assert workloads(values)["link"]["spec"]["replicas"] == 2


def test_keda_scales_watch_by_lag_of_its_group():
    target = find(rendered(MANAGED), "ScaledObject")["spec"]
    (trigger,) = target["triggers"]
    defaults = setting_defaults()
    assert target["scaleTargetRef"]["name"] == workloads(MANAGED)["watch"]["metadata"]["name"]
    assert target["maxReplicaCount"] == int(defaults["XM_TOPICS__PARTITIONS"])
    assert trigger["metadata"]["bootstrapServers"] == "b-1.example:9096,b-2.example:9096"
    assert trigger["metadata"]["consumerGroup"] == defaults["XM_GROUP"]
    assert trigger["metadata"]["topic"] == defaults["XM_TOPICS__REQUESTS"]
    assert trigger["authenticationRef"] == {"name": "kafka"}


def test_lag_queries_are_those_of_the_rules():
    (trigger,) = find(rendered(PROMETHEUS), "ScaledObject")["spec"]["triggers"]
    (external,) = find(rendered(HPA), "HorizontalPodAutoscaler", "-watch")["spec"]["metrics"]
    assert 'xm_lag{topic="llm.requests"}' in trigger["metadata"]["query"]
    assert external["external"]["metric"]["name"] == "xm_lag"
    assert "max by (topic, partition) (xm_lag)" in (CHART / "files/rules.yml").read_text()


def test_schemas_of_operators_refuse_unknown_fields():
    target = find(rendered(PROMETHEUS), "ScaledObject")
    trigger = {**target["spec"]["triggers"][0], "lag": "1"}
    with pytest.raises(jsonschema.ValidationError, match="lag"):
        check({**target, "spec": {**target["spec"], "triggers": [trigger]}}, KUBERNETES[0])


def test_jobs_are_those_of_the_scrape_configuration():
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {
        each["spec"]["endpoints"][0]["relabelings"][0]["replacement"]
        for each in rendered(MANAGED)
        if each["kind"] == "ServiceMonitor"
    }
    assert jobs == {each["job_name"] for each in scraped["scrape_configs"]}


def test_rules_are_those_of_prometheus(tmp_path: Path):
    spec = find(rendered(MANAGED), "PrometheusRule")["spec"]
    assert spec == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(spec))
    subprocess.run(
        [program("promtool"), "check", "rules", tmp_path / "rules.yml"],
        check=True,
        capture_output=True,
    )


def test_config_maps_hold_every_dashboard():
    maps = [
        each
        for each in rendered(MANAGED)
        if each["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    found = {name: text for each in maps for name, text in each["data"].items()}
    assert found == {file.name: file.read_text() for file in ROOT.glob("dashboards/*.json")}


def test_rules_and_dashboards_are_links_and_no_copies():
    links = {name: (CHART / "files" / name).resolve() for name in ("rules.yml", "dashboards")}
    assert links == {
        "rules.yml": ROOT / "deploy/prometheus/rules.yml",
        "dashboards": ROOT / "dashboards",
    }


def test_packed_chart_holds_the_linked_files(tmp_path: Path):
    assert helm("package", str(CHART), "--destination", str(tmp_path)).returncode == 0
    (packed,) = tmp_path.iterdir()
    assert packed.stat().st_size < 700_000  # Kubernetes keeps it in a secret of 1 MiB
    done = subprocess.run(["tar", "-tf", packed], check=True, capture_output=True, text=True)
    names = set(done.stdout.split())
    linked = ("rules.yml", "dashboards/overview.json")
    assert {f"extraction-monitor/files/{name}" for name in linked} <= names
    assert not [name for name in names if name.endswith((".py", ".png"))]


def test_schema_refuses_every_secret_among_settings():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
    names = {each.variable: each.is_secret for each in catalogue.settings()}
    refused = {
        name
        for name in names
        if list(jsonschema.Draft7Validator(schema).iter_errors({"XM_KAFKA": "", name: "x"}))
    }
    assert refused == {name for name, secret in names.items() if secret}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("settings.XM_IDENTITY_SECRET=abc", "XM_IDENTITY_SECRET"),
        ("settings.XM_KAFKA_SECURITY__PASSWORD=abc", "XM_KAFKA_SECURITY__PASSWORD"),
        ("settings.XM_REDIS_URL=redis://user:password@redis:6379", "XM_REDIS_URL"),
        ("settings.KAFKA=abc", "KAFKA"),
        ("watch.autoscaling.kind=cpu", "autoscaling"),
        ("watch.replica=3", "replica"),
        ("image.digest=latest", "digest"),
        ("files.XM_REGISTRY__CA_FILE.key=ca", "XM_REGISTRY__CA_FILE"),
        ("forward.enabled=true,forward.sources={s3://logs}", "forward"),
        (
            "watch.autoscaling.kind=keda,settings.XM_KAFKA_SECURITY__PROTOCOL=sasl_ssl",
            "authenticationRef",
        ),
    ],
)
def test_wrong_values_are_refused(values: str, reason: str):
    done = helm("template", "x", str(CHART), "--set", values)
    assert done.returncode != 0
    assert reason in done.stderr


def test_plain_manifests_are_those_of_the_chart(tmp_path: Path):
    subprocess.run([ROOT / "deploy/helm/render", tmp_path], check=True, timeout=60)
    fresh = {file.name: file.read_text() for file in tmp_path.iterdir()}
    kept = {file.name: file.read_text() for file in ROOT.glob("deploy/kubernetes/*")}
    assert fresh == kept, "run deploy/helm/render"

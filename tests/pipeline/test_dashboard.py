from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from monitor.campaigns.rounds import ROUND
from pipelines.demo.embedded import free_port
from tests.support import traffic
from tests.support.programs import Worker, program
from tests.support.prometheus import Prometheus
from tests.support.workers import until

FOLDER = Path(__file__).parents[2] / "dashboards"
SHIPPED = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
VARIABLES = {"$instance": ".*", "$__rate_interval": "15s", "${datasource}": "prometheus"}
#: Panels that are not 0 before the first request.
STANDING = {
    *("Decisions", "Switches", "Versions", "Processes up", "Memory", "CPU", "Evidence"),
    *("Last checkpoint", "Age of the last checkpoint", "Age of the copy", "Records written"),
    *("Checkpoint duration", "Error of the baseline", "Receivers up", "Unknown settings"),
    *("Busy", "Batch duration", "Batch size", "Lag"),  # of the linker, by progress messages
}
#: Queries that have no series before the first request: their labels are not known.
UNKNOWN = ("xm_subject_", "xm_deliveries_total", "xm_undelivered_alerts", "xm_watermark", "> 0")
HALF_A_CENTURY = 1.5e9  # seconds


class Query(NamedTuple):
    panel: str
    expression: str


@pytest.fixture(scope="module")
def worker(
    kafka: str, _redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    with redis.from_url(_redis_server) as client:
        client.flushdb()
    away = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("worker")
    with Worker(folder, kafka, _redis_server, XM_RECEIVERS__ALERTMANAGER_URL=away) as worker:
        yield worker


@pytest.fixture(scope="module")
def prometheus(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus"), worker) as prometheus:
        yield prometheus


def queries(**variables: str) -> list[Query]:
    return [
        Query(f"{name}: {panel['title']}", resolved(target["expr"], variables))
        for name, dashboard in SHIPPED.items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def resolved(query: str, variables: dict[str, str]) -> str:
    for variable, value in (VARIABLES | variables).items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query


def test_panels_are_zero_before_the_first_request(worker: Worker, prometheus: Prometheus):
    until(lambda: prometheus.now("count_over_time(xm_enforcing[1m])")[:1] > [2.0])
    for panel, query in queries(**{"$subject": "k_0"}):
        values = prometheus.now(query)
        assert values or any(name in query for name in UNKNOWN), (panel, query)
        assert all(value < HALF_A_CENTURY for value in values), (panel, query)
        if panel.partition(": ")[2] not in STANDING:
            assert not any(values), (panel, query, values)


def test_all_queries_have_data_with_traffic(kafka: str, worker: Worker, prometheus: Prometheus):
    begin = (time.time() - 10_000) // ROUND * ROUND
    traffic.send(kafka, worker.requests, traffic.ordinary(begin, keys=150))
    begin += 7_200 + ROUND / 2  # the next minutes cross a round of linking
    for minute in range(10):
        traffic.send(kafka, worker.requests, traffic.minute(begin + 60 * minute))
        request_decision(worker, traffic.EXTRACTING)
        until(lambda: prometheus.now("xm_events_total") > [0.0])
        time.sleep(0.5)
    until(lambda: sum(prometheus.now("xm_undelivered_alerts")) > 0)
    until(lambda: max(prometheus.now("xm_subject_severity"), default=0.0) == 3.0)
    until(lambda: max(prometheus.now('xm_drift_psi{period="today"}')) > 0.0)
    shown = prometheus.get("query", query="xm_subject_severity == 3")["result"]
    subject = shown[0]["metric"]["subject"]
    for panel, query in queries(**{"$subject": subject}):
        until(lambda query=query: prometheus.now(query), what=f"{panel}: {query}")
        assert max(prometheus.now(query)) < HALF_A_CENTURY, (panel, query)
    for mark in SHIPPED["overview"]["annotations"]["list"]:
        prometheus.now(resolved(mark["expr"], {}))
    assert prometheus.now("xm:rejections:share5m")[0] > 0
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {(rule["name"], rule["health"]) for rule in rules if rule["health"] != "ok"} == set()


def test_picture_shows_a_dashboard_with_its_series(prometheus: Prometheus, tmp_path: Path):
    pytest.importorskip("matplotlib")
    from dashboards import picture

    subject = prometheus.get("query", query="xm_subject_severity")["result"][0]["metric"]["subject"]
    end = time.time()
    source = picture.Source(prometheus.url, end - 60.0, end, {"$subject": subject})
    drawn = picture.draw(SHIPPED["investigation"], source)
    drawn.savefig(tmp_path / "investigation.png")
    words = {text.get_text() for text in drawn.texts}
    assert {"Evidence", "critical", subject} <= words
    assert "no data" not in words


def test_metrics_page_is_accepted_by_promtool(worker: Worker):
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as response:
        page = response.read()
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True
    )
    assert (checked.returncode, checked.stderr.decode()) == (0, "")
    assert b"_created" not in page
    assert b"xm_build_info{" in page
    assert len(page.splitlines()) < 2_000


def request_decision(worker: Worker, key: str) -> None:
    request = urllib.request.Request(f"{worker.url}/v1/decision", headers={"X-API-Key": key})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.headers["X-XM-Decision"] == "observe"

from __future__ import annotations

import json
import math
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import build
from monitor.campaigns.rounds import ROUND
from pipelines.demo.embedded import free_port
from tests.support import traffic
from tests.support.programs import WebServer, Worker, program
from tests.support.workers import until

ROOT = Path(__file__).parents[2]
SHIPPED = json.loads((ROOT / "dashboards/overview.json").read_text())
PANELS = [panel for panel in SHIPPED["panels"] if panel["type"] != "row"]
VARIABLES = {"$instance": ".*", "$__rate_interval": "15s", "${datasource}": "prometheus"}


class Prometheus(WebServer):
    """Debian's Prometheus with the shipped configuration. It scrapes a worker every second."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        super().__init__(folder)
        shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        shipped["rule_files"] = [str(ROOT / "deploy/prometheus/rules.yml")]
        shipped["scrape_configs"][0]["static_configs"][0]["targets"] = [worker.address]
        del shipped["alerting"]
        self.config = folder / "prometheus.yml"
        self.config.write_text(yaml.safe_dump(shipped))

    def command(self) -> list[str]:
        return [
            program("prometheus"),
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.address}",
        ]

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10
        ) as response:
            return json.load(response)["data"]

    def now(self, query: str) -> list[float]:
        """Current values of a query, without NaN, which Grafana does not draw."""
        values = (float(series["value"][1]) for series in self.get("query", query=query)["result"])
        return [value for value in values if not math.isnan(value)]


def test_committed_dashboard_matches_build():
    assert build.dashboard() == SHIPPED, "run: python dashboards/build.py"


def test_panels_fit_grid_without_overlap():
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in SHIPPED["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < build.WIDTH


def test_every_panel_has_a_description():
    assert [panel["title"] for panel in PANELS if len(panel["description"]) < 10] == []


def test_panel_draws_every_query():
    queries = {f"line {i}": f"up * {i}" for i in range(9)}
    targets = build.Panel("Many lines", "Nine queries.", "none", queries).model()["targets"]
    assert [(each["legendFormat"], each["expr"]) for each in targets] == list(queries.items())
    assert len({each["refId"] for each in targets}) == 9


def test_panel_with_too_many_queries_is_an_error():
    queries = {f"line {i}": "up" for i in range(27)}
    with pytest.raises(ValueError, match="27 queries"):
        build.Panel("Too many lines", "More queries than letters.", "none", queries).model()


def test_dashboard_queries_return_data_from_running_worker(
    kafka: str, redis_url: str, tmp_path: Path
):
    away = f"http://127.0.0.1:{free_port()}"
    worker = Worker(tmp_path / "worker", kafka, redis_url, XM_RECEIVERS__ALERTMANAGER_URL=away)
    with worker, Prometheus(tmp_path / "prometheus", worker) as prometheus:
        until(lambda: prometheus.now("xm_events_total") == [0.0])
        begin = (time.time() - 3_600) // ROUND * ROUND + ROUND / 2  # crosses a round of linking
        for minute in range(10):
            traffic.send(kafka, worker.requests, traffic.minute(begin + 60 * minute))
            request_decision(worker, traffic.EXTRACTING)
            time.sleep(1)
        until(lambda: sum(prometheus.now("xm_undelivered_alerts")) > 0)
        queries = {
            f"{panel['title']}: {target['expr']}": target["expr"]
            for panel in PANELS
            for target in panel["targets"]
        }
        for name, query in queries.items():  # a rate needs two scrapes
            until(lambda query=query: prometheus.now(resolved(query)), what=name)
        assert prometheus.now("xm:rejections:share5m")[0] > 0
        rules = prometheus.get("rules", type="alert")["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} == {"ok"}


def resolved(query: str) -> str:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query


def request_decision(worker: Worker, key: str) -> None:
    request = urllib.request.Request(f"{worker.url}/v1/decision", headers={"X-API-Key": key})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.headers["X-XM-Decision"] == "observe"

"""Debian's Prometheus with the shipped configuration, on a worker."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import WebServer, Worker, program

DEPLOY = Path(__file__).parents[2] / "deploy"


class Prometheus(WebServer):
    """Scrapes a worker every second and evaluates the shipped rules."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        super().__init__(folder)
        shipped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        shipped["rule_files"] = [str(DEPLOY / "prometheus/rules.yml")]
        shipped["scrape_configs"][0]["static_configs"][0]["targets"] = [worker.address]
        del shipped["scrape_configs"][1:], shipped["alerting"]
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
        """The data of an answer.

        Raises:
            AssertionError: Prometheus refuses the query.
        """
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error

    def now(self, query: str) -> list[float]:
        """Current values of a query, without NaN, which Grafana does not draw."""
        values = (float(series["value"][1]) for series in self.get("query", query=query)["result"])
        return [value for value in values if not math.isnan(value)]

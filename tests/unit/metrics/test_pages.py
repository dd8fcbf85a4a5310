from __future__ import annotations

import subprocess

import pytest
from prometheus_client import generate_latest

from monitor.metrics import Metrics
from monitor.metrics.subjects import SubjectState
from pipelines.decide.metrics import LookupMetrics
from pipelines.forward.metrics import ForwardMetrics
from pipelines.gateways.client.metrics import ClientMetrics
from pipelines.supervisor.metrics import merged
from pipelines.web.registry import process_registry
from tests.support.programs import program

FLAGGED = SubjectState("k_1", "api_key", 3, 90.0, 4_000.0, 1, {"burst": 12.0})


@pytest.fixture(params=[Metrics, LookupMetrics, ForwardMetrics, ClientMetrics])
def page(request):
    metrics, registry = request.param, process_registry()
    shown = metrics(registry)
    if isinstance(shown, Metrics):
        shown.subjects.replace([FLAGGED])
    return generate_latest(registry)


def check(page: bytes) -> str:
    """What promtool finds wrong with a page of metrics."""
    command = [program("promtool"), "check", "metrics"]
    return subprocess.run(command, input=page, capture_output=True).stderr.decode()


def test_page_is_accepted_by_promtool(page):
    assert check(page) == ""


def test_page_has_version_and_no_times_of_creation(page):
    assert b"xm_build_info{" in page
    assert b"_created" not in page


def test_page_of_several_processes_counts_drift_and_subjects_once(page):
    together = merged({"watch-0": page.decode(), "watch-1": page.decode()})
    assert check(together) == ""
    assert b"xm_build_info{" in together
    for line in together.decode().splitlines():
        if line.startswith(("xm_build_info", "xm_subject_members", "xm_drift_psi")):
            assert float(line.split()[-1]) <= 1.0

"""A worker runs on what `xm init` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import app
from tests.support import workers
from tests.support.programs import Worker
from tests.support.traffic import send


def test_worker_runs_on_what_init_writes(
    kafka: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XM_CONFIG", "")  # restored after `xm init` has set it
    (tmp_path / "redis").write_text(redis_url)
    (tmp_path / "redis").chmod(0o600)
    (tmp_path / "log").write_text(
        20 * '{"timestamp": 1772020800, "team_key": "sk-1", "text": "a"}\n'
    )
    made = tmp_path / "made"
    arguments = [str(made), "--kafka", kafka, "--redis-url-file", str(tmp_path / "redis")]
    ended = CliRunner().invoke(app, ["init", *arguments, "--sample", str(tmp_path / "log")])
    assert ended.exit_code == 0, ended.output
    worker = Worker(tmp_path / "worker", kafka, redis_url, options=["--role", "watch"])
    for name in ("XM_KAFKA", "XM_REDIS_URL", "XM_IDENTITY_SECRET"):
        del worker.environment[name]
    worker.environment["XM_CONFIG"] = str(made / "extraction-monitor.toml")
    with worker:
        send(kafka, worker.requests, [(tmp_path / "log").read_bytes().splitlines()[0]])
        workers.until(lambda: workers.metrics(worker)["xm_events_total"] == 1)

"""Cases in a worker: none without a key, and a wrong key is an error at the start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from monitor.config import Cases, Settings
from monitor.errors import ConfigError
from monitor.evidence.keys import new_key
from pipelines.worker.app import build
from pipelines.worker.roles import Role


def settings(key: Path | None) -> Settings:
    return Settings.model_validate(
        {"identity_secret": "known to this test only", "cases": {"key_file": key}}
    )


def copies_cases(app: Any) -> bool:
    return any(task.__name__ == "copy_cases" for task in app._app_tasks)


def test_worker_without_a_key_keeps_no_cases(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        app = build(settings(None), Role.deliver)
    assert caplog.text.count("cases_off") == 1
    assert not copies_cases(app)


def test_worker_with_a_key_keeps_cases(tmp_path: Path) -> None:
    key = tmp_path / "case.pem"
    new_key(Cases(key_file=key))
    assert copies_cases(build(settings(key), Role.deliver))


def test_worker_with_a_wrong_key_does_not_start(tmp_path: Path) -> None:
    key = tmp_path / "case.pem"
    with pytest.raises(ConfigError, match=r"cannot be read.*xm case key new"):
        build(settings(key), Role.deliver)
    new_key(Cases(key_file=key))
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        build(settings(key), Role.deliver)

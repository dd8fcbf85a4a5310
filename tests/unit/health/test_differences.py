import time

import pytest

from monitor.config import Detection, Settings
from monitor.store.operate.processes import Model, ProcessStore
from pipelines.health.differences import differences
from pipelines.web.heartbeat import models, notable
from tests.support.heartbeats import process


@pytest.fixture
def running(redis_url):
    """Writes the heartbeat of a worker with these settings; returns settings on its Redis."""

    def write(settings, **others):
        facts = {"settings": notable(settings), "models": dict(models(settings)), **others}
        ProcessStore(redis_url).beat(process("watch", at=time.time(), **facts))
        return Settings(redis_url=redis_url)

    return write


def test_same_settings_have_no_difference(running):
    assert differences(running(Settings())) == []


def test_other_threshold_is_named(running):
    theirs = Settings(detection=Detection(warning=5e-5))
    assert differences(running(theirs)) == [
        "This shell's settings differ from the workers': warning is 0.0001 here and 5e-05 there."
    ]


def test_other_reference_is_named(running):
    theirs = {"reference": Model("/etc/xm/reference.json", "abc")}
    (only,) = differences(running(Settings(), models=theirs))
    assert "reference is that of the package (" in only
    assert only.endswith(") here and /etc/xm/reference.json (abc) there.")


def test_nothing_is_said_without_workers_or_redis(redis_url):
    assert differences(Settings(redis_url=redis_url)) == []
    assert differences(Settings(redis_url="redis://127.0.0.1:1/0")) == []

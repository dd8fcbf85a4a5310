import asyncio
import logging
import time
from contextlib import suppress

import pytest
import redis
from pydantic import SecretStr

from monitor.config import Decisions, Settings
from monitor.store.operate.processes import ProcessStore, ReceiverHealth
from pipelines.web.heartbeat import Heartbeat, digest_of, models, notable, secret_check

SECRET = SecretStr("0123456789abcdef")


def settings_of(url="redis://127.0.0.1:1/0", **chosen):
    return Settings(redis_url=url, identity_secret=SECRET, **chosen)


async def first_beat(url, facts, during=lambda: None):
    """The first heartbeat of a process, and what is left after its end."""
    task = asyncio.create_task(Heartbeat(settings_of(url), ["deliver"], facts, "group").run())
    store = ProcessStore(url)
    try:
        await asyncio.sleep(0)
        during()
        until = time.monotonic() + 30
        while not (found := await asyncio.to_thread(store.read)):
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return found[0], store.read()


async def test_heartbeat_has_facts_of_the_process(redis_url):
    health = ReceiverHealth("pager", "pagerduty", True)
    found, left = await first_beat(redis_url, lambda: {"receivers": [health]})
    assert (found.roles, found.group, found.receivers) == (["deliver"], "group", [health])
    assert found.secret == secret_check(settings_of())
    assert found.models.keys() == {"reference", "content", "tasks", "weights"}
    assert found.skew is not None
    assert abs(found.skew) < 60
    assert left == []


async def test_heartbeat_has_the_last_logged_error(redis_url):
    def fail():
        logging.getLogger("pipelines.worker").error("worker_stops reason=%r", "tried")

    found, _ = await first_beat(redis_url, dict, fail)
    assert found.last_error is not None
    assert found.last_error.text == "worker_stops reason='tried'"


async def test_facts_that_fail_do_not_end_the_process(redis_url):
    def facts():
        raise RuntimeError("not started")

    found, _ = await first_beat(redis_url, facts)
    assert found.trouble == "Its state is unknown: RuntimeError: not started"


async def test_process_goes_on_without_redis():
    task = asyncio.create_task(Heartbeat(settings_of(), ["watch"], dict).run())
    done, _ = await asyncio.wait([task], timeout=0.5)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_digest_differs_with_settings_but_not_with_addresses():
    one = digest_of(settings_of())
    assert one == digest_of(settings_of("redis://user:password@host:1/0", web_port=7000))
    assert one != digest_of(settings_of(decisions=Decisions(shadow=False)))


def test_notable_settings_have_no_secret(tmp_path):
    mapping = {"fields": {"api_key": "sk-secret"}}
    text = repr(notable(settings_of(mapping=mapping)))
    assert "sk-secret" not in text
    assert SECRET.get_secret_value() not in text


def test_models_name_the_configured_file(tmp_path):
    file = tmp_path / "reference.json"
    file.write_text("{}")
    found = dict(models(settings_of(reference=file)))
    assert (found["reference"].name, found["reference"].modified > 0) == (str(file), True)
    assert found["content"].name == ""


async def test_missing_right_is_logged_once(redis_url, caplog):
    with redis.from_url(redis_url) as client:
        rights = "~xm:*", "+get", "+info", "+select"
        client.execute_command("ACL", "SETUSER", "few", "on", ">pw", *rights)
    url = redis_url.replace("redis://", "redis://few:pw@")
    heartbeat = Heartbeat(settings_of(url), ["watch"], dict)
    with caplog.at_level(logging.WARNING, "pipelines.web.heartbeat"):
        for _ in range(2):
            await asyncio.to_thread(heartbeat._try_beat, {})
    (line,) = [each.getMessage() for each in caplog.records if "heartbeat" in each.getMessage()]
    assert line.startswith("heartbeat_refused reason=")
    assert "does not let this user run set" in line

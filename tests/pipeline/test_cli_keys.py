"""The commands on keys in Redis, `xm keys` and `xm explain`, as a shell runs them."""

from __future__ import annotations

import io
import json
import sys
import time

import msgspec
import pytest
import redis

from monitor import config
from monitor.alerting.alerts import Alert, Subject
from monitor.batch import Batch
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.redis import RedisStore
from pipelines.demo.embedded import free_port
from tests.support import campaigns
from tests.support.commands import Xm
from tests.support.requests import elicitor, in_order, person

SECRET = "known to this test only"


def observe(url: str) -> str:
    """Store records of two keys in Redis; return the pseudonym of the flagged one."""
    settings = config.load(identity_secret=SECRET)
    store, identity = RedisStore(url, 100), from_settings(settings)
    engine = Engine(settings, identity, store)
    engine.assign("t:0")
    stream = in_order(elicitor(), person("sk-person", count=9))
    engine.observe(Batch("t:0", range(len(stream)), stream))
    store.commit(engine.snapshot())
    return identity.key("sk-cot")


@pytest.fixture
def observed(redis_url: str) -> str:
    return observe(redis_url)


def test_keys_prints_table_and_memory(xm: Xm, redis_url: str, observed: str) -> None:
    ended = xm("keys", "--by", "elicitation", "--top", 1, "--memory", XM_REDIS_URL=redis_url)
    assert ended.status == 0
    assert observed in ended.out
    assert "2 keys, 49 requests, 0 tokens. Keys with open alerts: 1 " in ended.out
    assert "A million keys would take" in " ".join(ended.out.split())


def test_keys_prints_json(xm: Xm, redis_url: str, observed: str) -> None:
    report = json.loads(xm("keys", "--json", XM_REDIS_URL=redis_url).out)
    assert [(key["key"] == observed, key["requests"]) for key in report["top"]] == [
        (True, 40),
        (False, 9),
    ]
    assert "elicitation" in report["top"][0]["alerts"]
    assert report["top"][0]["decision"] != "observe"
    assert "memory" not in report


def test_keys_reports_that_redis_is_away(xm: Xm) -> None:
    ended = xm("keys", XM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert (ended.status, ended.out) == (2, "")
    assert "is away" in ended.error
    assert ended.error.count("\n") == 1


# Explain


def test_explain_keeps_alerts_that_have_resolved(xm: Xm, redis_url: str, observed: str) -> None:
    ended = Alert(
        "a_1", "burst", "resolved", "warning", 0.0, Subject("api_key", observed), 60.0,
        (0.0, 60.0), {}, f"{observed}: resolved after 60 minutes without new evidence", "observe",
    )  # fmt: skip
    other = msgspec.structs.replace(ended, id="a_2", subject=Subject("api_key", "k_other"))
    AlertBook(redis_url).write([Entry(each, 0, 1.0, 1.0) for each in (ended, other)])
    found = json.loads(xm("explain", observed, "--json", XM_REDIS_URL=redis_url).out)
    assert [each["id"] for each in found["alerts"]] == ["a_1"]
    shown = xm("explain", observed, XM_REDIS_URL=redis_url).out
    assert "warning resolved" in shown
    assert "resolved after 60 minutes" in " ".join(shown.split())


def test_explain_prints_page(xm: Xm, redis_url: str, observed: str) -> None:
    ended = xm("explain", observed, XM_REDIS_URL=redis_url)
    assert ended.status == 0
    assert ended.out.startswith(f"{observed}\nCritical: 100% of 40 prompts ask")
    assert "100% of 40 prompts ask for the reasoning trace." in ended.out
    assert "block until" in ended.out
    assert "the baseline of t:0" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    ("workers", "claim"),
    [
        ([False], ", enforced."),
        ([True], ", not enforced: shadow mode."),
        ([], ", unknown whether enforced: no worker reports"),
        ([True, False], ", unknown whether enforced"),
    ],
    ids=["enforce", "shadow", "none", "mixed"],
)
@pytest.mark.parametrize("own", ["true", "false"])
def test_explain_reports_enforcement_of_workers(
    xm: Xm, redis_url: str, observed: str, workers: list[bool], claim: str, own: str
) -> None:
    for shadow in workers:
        RedisStore(redis_url, 100).publish_shadow(shadow)
    ended = xm("explain", observed, XM_REDIS_URL=redis_url, XM_DECISIONS__SHADOW=own)
    assert claim in " ".join(ended.out.split())


def test_switch_of_a_person_is_shown_by_keys_and_explain(
    xm: Xm, redis_url: str, observed: str
) -> None:
    RedisStore(redis_url, 100).publish_shadow(False)
    assert "(block)" not in xm("keys", XM_REDIS_URL=redis_url).out
    xm("decisions", "shadow", "on", "--why", "INC-7", XM_REDIS_URL=redis_url)
    listed = xm("keys", XM_REDIS_URL=redis_url).out
    assert "(block)" in listed
    assert "(decision): recorded and not enforced." in listed
    assert ", not enforced: shadow mode." in " ".join(
        xm("explain", observed, XM_REDIS_URL=redis_url).out.split()
    )
    found = json.loads(xm("explain", observed, "--json", XM_REDIS_URL=redis_url).out)
    assert (found["decision"], found["applies"], found["why"]) == ("block", "observe", "shadow")


def test_explain_gives_end_of_decision_in_redis(xm: Xm, redis_url: str, observed: str) -> None:
    with redis.from_url(redis_url) as client:
        left = client.pttl(f"xm:d:{observed}") / 1000
    found = json.loads(xm("explain", observed, "--json", XM_REDIS_URL=redis_url).out)
    assert abs(found["steps"][-1][1] - time.time() - left) < 5
    assert found["until"] < found["steps"][0][1]


def test_explain_names_campaigns_of_key(xm: Xm, redis_url: str, observed: str) -> None:
    linked = campaigns.partition()
    linked.rounds.campaigns[0].named[observed] = 0.0
    campaigns.save(RedisStore(redis_url, 100), linked)
    ended = xm("explain", observed, XM_REDIS_URL=redis_url)
    assert "\nMember of a critical campaign of " in ended.out
    assert "`xm campaigns show c_fleet`" in " ".join(ended.out.split())


def test_explain_reads_a_cluster(xm: Xm, cluster_url: str) -> None:
    key = observe(cluster_url)
    assert xm("explain", key, XM_REDIS_URL=cluster_url).out.startswith(f"{key}\nCritical: 100% of")


def test_explain_prints_json(xm: Xm, redis_url: str, observed: str) -> None:
    found = json.loads(xm("explain", observed, "--json", XM_REDIS_URL=redis_url).out)
    words = {word["kind"]: word for word in found["words"]}
    assert words["elicitation"]["severity"] == "critical"
    assert (found["decision"], found["public"]) == ("block", "t:0")


def test_explain_writes_nothing(xm: Xm, redis_url: str, observed: str) -> None:
    with redis.from_url(redis_url) as client:
        before = {key: client.dump(key) for key in client.keys("xm:[poc]:*")}
        xm("explain", observed, XM_REDIS_URL=redis_url)
        assert {key: client.dump(key) for key in client.keys("xm:[poc]:*")} == before


def test_explain_reads_raw_key_from_pipe(
    xm: Xm, redis_url: str, observed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-cot\n"))
    secret = {"XM_REDIS_URL": redis_url, "XM_IDENTITY_SECRET": SECRET}
    assert xm("explain", "--raw", **secret).out.startswith(observed)


@pytest.mark.parametrize("arguments", [[], ["k_1", "--raw"]])
def test_explain_needs_exactly_one_key(xm: Xm, arguments: list[str]) -> None:
    ended = xm("explain", *arguments)
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("key", ["k_1", "sk-live-123", "k_" + 24 * "g"])
def test_explain_does_not_echo_a_possible_api_key(xm: Xm, key: str) -> None:
    ended = xm("explain", key, XM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert key not in ended.error
    assert "k_ and 24 hexadecimal digits" in ended.error
    assert "--raw" in ended.error


def test_explain_reports_missing_key_with_remedy(xm: Xm, redis_url: str, observed: str) -> None:
    key = "k_" + 24 * "0"
    ended = xm("explain", key, XM_REDIS_URL=redis_url)
    assert (ended.status, ended.out) == (2, "")
    assert f"has no record of {key}. " in ended.error
    assert ended.error.endswith("enter the API key with --raw.\n")
    assert ended.error.count("\n") == 1

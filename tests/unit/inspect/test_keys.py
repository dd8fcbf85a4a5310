"""The list of keys in Redis, its ranking and its memory."""

from io import StringIO
from itertools import chain

import numpy as np
import pytest
import redis
from rich.console import Console

from monitor import config
from monitor.detectors import ALERT_KINDS
from monitor.errors import ConfigError
from monitor.records.profile import ELICITATION, RECORD, Profile, blank
from monitor.store import inventory
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.inspect import keys
from pipelines.inspect.decisions import Applied
from pipelines.show.keys import show


def record(requests=1, **fields):
    found = blank()
    found["requests"] = requests
    for name, value in fields.items():
        found[name] = value
    return found


BY_REQUESTS = keys.ranking_by("requests", config.Settings())


def survey(pages, top=3, applied=lambda key: None, ranking=BY_REQUESTS):
    data = [[(key, each.tobytes()) for key, each in page.items()] for page in pages]
    return keys.list_keys(data, ranking, top, applied)


def test_list_has_first_keys_of_all_pages():
    pages = [{f"k_{i}": record(i) for i in range(n, n + 10)} for n in (0, 20, 10)]
    report = survey(pages)
    assert [key.key for key in report.top] == ["k_29", "k_28", "k_27"]
    assert (report.keys, report.requests) == (30, sum(range(30)))


def test_list_has_open_alerts_and_decisions():
    severity = np.zeros_like(blank()["severity"])
    severity[ALERT_KINDS.index("burst")] = 3
    block = Applied(
        "k_1", "observe", "block", "shadow", until=60.0, kind="burst", reason="a_1",
        origin="detector",
    )  # fmt: skip
    pages = [{"k_1": record(severity=severity), "k_2": record()}]
    report = survey(pages, applied={"k_1": block}.get)
    assert {key.key: (key.alerts, key.decision, key.why) for key in report.top} == {
        "k_1": ({"burst": "critical"}, "block", "shadow"),
        "k_2": ({}, "observe", ""),
    }
    assert report.alerted == {"critical": 1}


def test_empty_store_has_empty_list():
    assert survey([{}]).keys == 0


@pytest.mark.parametrize(
    "by", ["remarkable", "requests", "tokens", "hour", "last-seen", "burst", "elicitation"]
)
def test_ranking_scores_each_key(by):
    ranking = keys.ranking_by(by, config.Settings())
    assert ranking.score(Profile(np.array([record(), record()]))).shape == (2,)


def test_unknown_ranking_is_an_error_with_the_choices():
    expected = r'^Cannot sort by "colour"\. Choose one of remarkable, .*elicitation, .*combined\.$'
    with pytest.raises(ConfigError, match=expected):
        keys.ranking_by("colour", config.Settings())


def test_list_by_detector_has_its_probability():
    level = np.zeros_like(blank()["level"])
    level[ELICITATION.start] = 20.0
    asking = {"prompts": 30, "sketch_prompts": 30, "matches": 30, "level": level}
    pages = [{"k_1": record(), "k_2": record(30, **asking)}]
    ranking = keys.ranking_by("elicitation", config.Settings())
    first, second = survey(pages, ranking=ranking).top
    assert (first.key, first.probability < 1e-7) == ("k_2", True)
    assert (second.key, second.probability) == ("k_1", 1.0)
    assert survey(pages).top[0].probability is None


@pytest.mark.parametrize("width", [80, 140])
def test_table_shows_whole_keys_alerts_and_probability(width):
    key, severity = "k_" + 24 * "f", np.zeros_like(blank()["severity"])
    severity[:4] = 2
    (page,) = [{key: record(12_345_678, tokens=9.9e9, severity=severity)}]
    ranking = keys.ranking_by("combined", config.Settings())
    out = StringIO()
    show(survey([page], ranking=ranking), "combined", Console(file=out, width=width))
    text = " ".join(out.getvalue().split())
    assert f"{key} 12.3M 9.9G 0 01 Jan 00:00 observe" in text
    assert "1 in " in text
    assert "warning: burst, elicitation, coverage, " in text
    assert "…" not in text


@pytest.fixture
def store(redis_url):
    return RedisStore(redis_url, record_seconds=100)


def test_each_record_is_on_one_page(store):
    records = {f"k_{i}": b"%d" % i for i in range(2_500)}
    store.commit(Checkpoint(records, {"t:0": b"state"}))
    pages = list(inventory.pages(store.server))
    assert sum(map(len, pages)) == len(records)
    assert dict(chain(*pages)) == records


def test_memory_is_estimated_from_a_sample(store, redis_url):
    with redis.from_url(redis_url) as client:
        before = client.info("memory")["used_memory"]
    store.commit(Checkpoint({f"k_{i:024x}": record().tobytes() for i in range(20_000)}))
    memory = inventory.memory(store.server)
    estimated = memory.estimate(20_000) - memory.empty
    assert memory.used - before < estimated * 1.03
    assert memory.used - before > estimated * 0.9
    assert memory.record > RECORD.itemsize


def test_most_remarkable_keys_are_those_with_alerts():
    severity = np.zeros_like(blank()["severity"])
    severity[ALERT_KINDS.index("burst")] = 2
    pages = [{"k_busy": record(5_000), "k_alerted": record(3, severity=severity)}]
    report = survey(pages, ranking=keys.ranking_by("remarkable", config.Settings()))
    assert [key.key for key in report.top] == ["k_alerted", "k_busy"]
    assert all(key.probability is not None for key in report.top)

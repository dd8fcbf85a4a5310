"""The campaign commands, run in a shell."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest
import redis

from monitor.store.redis import RedisStore
from tests.support import campaigns
from tests.support.campaigns import FLEET, NEIGHBOUR
from tests.support.commands import Xm


@pytest.fixture
def linked(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a Redis with a campaign."""
    campaigns.save(RedisStore(redis_url, 100), campaigns.partition())
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    return redis_url


def test_campaigns_lists_open_campaigns(linked: str, xm: Xm) -> None:
    ended = xm("campaigns")
    assert ended.status == 0
    assert "c_fleet" in ended.out
    assert "c_class" not in ended.out
    assert ended.out.endswith("among 52 keys. 1 other group is no campaign.\n")
    assert "c_class" in xm("campaigns", "--all").out


def test_campaigns_json_lists_all_groups(linked: str, xm: Xm) -> None:
    found = json.loads(xm("campaigns", "--all", "--json").out)
    assert [(line["id"], line["state"]) for line in found["campaigns"]] == [
        ("c_fleet", "open"),
        ("c_gone", "merged"),
        ("c_class", "none"),
    ]


def test_show_accepts_a_unique_prefix(linked: str, xm: Xm) -> None:
    assert xm("campaigns", "show", "c_fl").out.startswith("c_fleet  critical since ")


def test_show_json_has_members_and_bystanders(linked: str, xm: Xm) -> None:
    found = json.loads(xm("campaigns", "show", "c_fleet", "--json").out)
    assert {member["key"] for member in found["members"]} == set(FLEET)
    assert [each["key"] for each in found["bystanders"]] == [NEIGHBOUR]


def test_export_writes_graph_and_picture(linked: str, xm: Xm, tmp_path: Path) -> None:
    out, picture = tmp_path / "new" / "fleet.graphml", tmp_path / "new" / "fleet.png"
    ended = xm("campaigns", "export", "c_fleet", "--out", out, "--picture", picture)
    assert (ended.status, ended.out) == (0, "")
    assert set(FLEET) <= set(nx.read_graphml(out))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_commands_do_not_change_redis(linked: str, xm: Xm, tmp_path: Path) -> None:
    with redis.from_url(linked) as client:
        before = {key: client.dump(key) for key in client.keys("*")}
        xm("campaigns", "--all")
        xm("campaigns", "show", "c_fleet")
        xm("campaigns", "export", "c_fleet", "--out", tmp_path / "fleet.graphml")
        assert {key: client.dump(key) for key in client.keys("*")} == before


def test_campaigns_are_listed_from_a_cluster(cluster_url: str, xm: Xm) -> None:
    campaigns.save(RedisStore(cluster_url, 100), campaigns.partition())
    assert "c_fleet" in xm("campaigns", XM_REDIS_URL=cluster_url).out


def test_unknown_campaign_names_the_fix(linked: str, xm: Xm) -> None:
    ended = xm("campaigns", "show", "c_0")
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert ended.error.endswith("`xm campaigns --all` has all ids.\n")


def test_redis_without_campaigns_names_the_fix(redis_url: str, xm: Xm) -> None:
    ended = xm("campaigns", XM_REDIS_URL=redis_url)
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert "has no campaigns of extraction.fingerprints: start a worker" in ended.error


def test_replay_lists_and_draws_simulated_campaigns(xm: Xm, tmp_path: Path) -> None:
    traffic, graphs = tmp_path / "hour.jsonl.gz", tmp_path / "graphs"
    xm("simulate", traffic, "--hours", 1, "--keys", 100)
    ended = xm("replay", traffic, "--plain-keys", "--campaigns", "--graphs", graphs)
    assert ended.status == 0
    assert "open campaigns: " in ended.out
    labels = json.loads((tmp_path / "hour.labels.json").read_text())
    fleets = []
    for file in graphs.glob("*.graphml"):
        graph = nx.read_graphml(file)
        members = {key for key, kind in graph.nodes(data="kind") if kind == "member"}
        fleets.append({labels[key]["campaign"] for key in members})
        assert file.with_suffix(".png").exists()
    assert {"cot-1"} in fleets
    assert all(None not in fleet for fleet in fleets)

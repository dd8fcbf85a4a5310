"""A campaign as a graph and as a picture."""

import msgspec
import networkx as nx
import pytest

from monitor.errors import ConfigError, InputError
from pipelines.inspect.campaign import campaign_detail
from pipelines.inspect.campaigns import find
from pipelines.show import campaign_plot, export
from tests.support.campaigns import FLEET, NEIGHBOUR, shard


@pytest.fixture(scope="module")
def known():
    return shard()


@pytest.fixture(scope="module")
def detail(known):
    return campaign_detail(*find([known], "c_fleet"))


@pytest.fixture
def read(detail, tmp_path):
    export.write(detail, tmp_path / "fleet.graphml")
    return nx.read_graphml(tmp_path / "fleet.graphml")


def of_kind(found, kind):
    return {name for name, its in found.nodes(data="kind") if its == kind}


def test_keys_and_what_they_share_are_nodes(read):
    assert of_kind(read, "member") == set(FLEET)
    assert of_kind(read, "bystander") == {NEIGHBOUR}
    assert (len(of_kind(read, "payment")), len(of_kind(read, "system"))) == (1, 1)
    assert read.nodes[FLEET[0]]["requests"] == 60


def test_members_hang_on_the_campaign_by_all_that_speaks_for_them(read, detail):
    for member in detail.members:
        link = read.edges["c_fleet", member.key]
        assert link["weight"] == pytest.approx(sum(member.nats.values()))
        assert link["payment"] == pytest.approx(member.nats["payment"])


def test_bystanders_hang_on_nothing_but_what_they_share(read):
    (payment,) = of_kind(read, "payment")
    assert set(read.neighbors(NEIGHBOUR)) == {payment}
    assert set(read.neighbors(payment)) == {NEIGHBOUR, *FLEET[:6]}


def test_the_same_campaign_gives_the_same_files(detail, tmp_path):
    for kind in ("png", "svg"):
        for name in ("one", "two"):
            export.write(detail, tmp_path / f"{name}.graphml", tmp_path / f"{name}.{kind}")
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_members_with_one_payment_lie_side_by_side(detail):
    mixed = [*detail.members[::2], *detail.members[1::2]]
    places = campaign_plot._places(msgspec.structs.replace(detail, members=mixed))
    payment = next(shared for shared in detail.shared if shared.kind == "payment")
    paying, others = (
        [float(((places[key] - places[payment.id]) ** 2).sum()) for key in keys]
        for keys in (FLEET[:6], FLEET[6:])
    )
    assert max(paying) <= min(others)


def test_groups_that_are_over_or_none_are_drawn_too(known, tmp_path):
    for campaign in known.rounds.campaigns:
        picture = tmp_path / f"{campaign.id}.png"
        export.write(campaign_detail(known, campaign), picture.with_suffix(".graphml"), picture)
        assert picture.stat().st_size > 10_000


def test_a_large_campaign_is_drawn_in_part_and_says_so(detail, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_plot, "_DRAWN", 4)
    campaign_plot.draw(detail, tmp_path / "fleet.svg")
    places = campaign_plot._places(detail)
    assert len(set(FLEET) & set(places)) == 4


def test_what_cannot_be_written_or_drawn_is_one_sentence(detail, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*: name another file"):
        export.write(detail, tmp_path / "file" / "fleet.graphml")
    with pytest.raises(InputError, match=r"cannot be drawn: name a file in \.png or \.svg"):
        export.write(detail, tmp_path / "fleet.graphml", tmp_path / "fleet.doc")


def test_without_what_draws_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"extra `plot`: .*extraction-monitor\[plot\]"):
        export.require()

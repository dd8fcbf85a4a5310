"""Campaigns exported as graphs and pictures."""

import msgspec
import networkx as nx
import pytest
from matplotlib.figure import Figure

from monitor.errors import InputError
from pipelines.inspect.campaign import SharedIdentifier, campaign_detail
from pipelines.inspect.campaigns import find_campaign
from pipelines.show import campaign_plot, export
from tests.support.campaigns import FLEET, NEIGHBOUR, partition


@pytest.fixture(scope="module")
def known():
    return partition()


@pytest.fixture(scope="module")
def detail(known):
    return campaign_detail(*find_campaign([known], "c_fleet"))


@pytest.fixture
def read(detail, tmp_path):
    export.write_graph(detail, tmp_path / "fleet.graphml")
    return nx.read_graphml(tmp_path / "fleet.graphml")


def of_kind(found, kind):
    return {name for name, its in found.nodes(data="kind") if its == kind}


def test_graph_has_keys_and_shared_identifiers(read):
    assert of_kind(read, "member") == set(FLEET)
    assert of_kind(read, "bystander") == {NEIGHBOUR}
    assert (len(of_kind(read, "payment")), len(of_kind(read, "system"))) == (1, 1)
    assert read.nodes[FLEET[0]]["requests"] == 60


def test_member_edges_carry_the_evidence(read, detail):
    for member in detail.members:
        link = read.edges["c_fleet", member.key]
        assert link["weight"] == pytest.approx(sum(member.nats.values()))
        assert link["payment"] == pytest.approx(member.nats["payment"])


def test_bystanders_link_to_shared_identifiers_only(read):
    (payment,) = of_kind(read, "payment")
    assert set(read.neighbors(NEIGHBOUR)) == {payment}
    assert set(read.neighbors(payment)) == {NEIGHBOUR, *FLEET[:6]}


def test_export_is_deterministic(detail, tmp_path):
    for kind in ("png", "svg"):
        for name in ("one", "two"):
            export.write_graph(detail, tmp_path / f"{name}.graphml", tmp_path / f"{name}.{kind}")
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_members_with_one_payment_are_drawn_together(detail):
    mixed = [*detail.members[::2], *detail.members[1::2]]
    positions = campaign_plot._positions(msgspec.structs.replace(detail, members=mixed))
    payment = next(shared for shared in detail.shared if shared.kind == "payment")
    paying, others = (
        [float(((positions[key] - positions[payment.id]) ** 2).sum()) for key in keys]
        for keys in (FLEET[:6], FLEET[6:])
    )
    assert max(paying) <= min(others)


def test_members_without_a_shared_identifier_are_linked(detail):
    shown = [msgspec.structs.replace(member, shares=member.shares[:1]) for member in detail.members]
    payments = [shared for shared in detail.shared if shared.kind == "payment"]
    axes = Figure().add_subplot()
    campaign_plot._network(axes, msgspec.structs.replace(detail, members=shown, shared=payments))
    assert "6 keys linked by behaviour only" in axes.get_legend_handles_labels()[1]


def test_ended_and_other_groups_are_drawn_too(known, tmp_path):
    for campaign in known.rounds.campaigns:
        picture = tmp_path / f"{campaign.id}.png"
        export.write_graph(
            campaign_detail(known, campaign), picture.with_suffix(".graphml"), picture
        )
        assert picture.stat().st_size > 10_000


def test_large_campaign_is_drawn_in_part(detail, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_plot, "_DRAWN", 4)
    campaign_plot.draw(detail, tmp_path / "fleet.svg")
    positions = campaign_plot._positions(detail)
    assert len(set(FLEET) & set(positions)) == 4


def test_export_error_names_the_fix(detail, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*: name another file"):
        export.write_graph(detail, tmp_path / "file" / "fleet.graphml")
    with pytest.raises(InputError, match=r"cannot be drawn: name a file in \.png or \.svg"):
        export.write_graph(detail, tmp_path / "fleet.graphml", tmp_path / "fleet.doc")


def test_identifier_of_undrawn_members_is_left_out(detail, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_plot, "_DRAWN", 4)
    shared = SharedIdentifier("network", "n_rare", members=2, others=0, nats=5.0)
    last = {member.key for member in detail.members[-2:]}
    members = [
        msgspec.structs.replace(each, shares=[*each.shares, shared.id] if each.key in last else [])
        for each in detail.members
    ]
    rare = msgspec.structs.replace(detail, members=members, shared=[*detail.shared, shared])
    campaign_plot.draw(rare, tmp_path / "fleet.svg")

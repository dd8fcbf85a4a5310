"""What a dossier says of a campaign, and what it keeps to itself."""

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from pipelines.inspect.campaign import campaign_detail
from pipelines.inspect.campaigns import find
from pipelines.show import campaign as dossier_shown
from tests.support.campaigns import BORN, FLEET, NEIGHBOUR, PAYMENT, shard

HOUR = 3600.0


@pytest.fixture(scope="module")
def known():
    return shard()


@pytest.fixture(scope="module")
def detail(known):
    return campaign_detail(*find([known], "c_fleet"))


def page(detail, width=110):
    out = StringIO()
    dossier_shown.show(detail, Console(file=out, width=width))
    return out.getvalue()


def test_members_are_listed_the_surest_first_with_when_they_were_named(detail):
    assert {member.key for member in detail.members} == set(FLEET)
    *_, last = detail.members
    assert (last.key, last.confidence, last.named) == (FLEET[-1], pytest.approx(0.94), BORN + HOUR)
    assert next(m.accused for m in detail.members if m.key == FLEET[0]) is None
    assert last.accused == "critical"


def test_a_shared_payment_speaks_for_those_who_have_it(detail):
    nats = {member.key: member.nats["payment"] for member in detail.members}
    assert min(nats[key] for key in FLEET[:6]) > 1.0
    assert max(nats[key] for key in FLEET[6:]) <= 0.0


def test_what_is_shared_is_counted_among_members_and_others(detail):
    payment = next(shared for shared in detail.shared if shared.kind == "payment")
    assert (payment.members, payment.others) == (6, 1)
    system = next(shared for shared in detail.shared if shared.kind == "system")
    assert (system.members, system.others) == (12, 0)
    assert detail.shared[0] == system  # which says more


def test_bystanders_are_no_members(detail):
    (bystander,) = detail.bystanders
    payment = next(shared for shared in detail.shared if shared.kind == "payment")
    assert (bystander.key, bystander.shares) == (NEIGHBOUR, [payment.id])
    assert NEIGHBOUR not in {member.key for member in detail.members}


def test_no_hash_of_an_identifier_is_told(detail):
    text = msgspec.json.encode(detail).decode()
    assert f"{PAYMENT}" not in text
    assert f"{PAYMENT:x}" not in text
    assert "p_" in text


def test_a_campaign_that_is_over_is_still_known(known):
    gone = campaign_detail(*find([known], "c_gone"))
    assert len(gone.members) == 6
    assert "part of c_fleet since" in dossier_shown.sentence(gone)


def test_the_page_tells_why_how_it_grew_and_who_it_is(detail):
    text = page(detail)
    assert text.startswith("c_fleet  critical since 02 Mar 02:00 UTC\n12 keys act as one, with 720")
    for word in ("≥ 0.8", "grown", "system", FLEET[0], "bystanders", NEIGHBOUR):
        assert word in text


def test_the_chart_rises_when_the_campaign_is_born(detail):
    (axis,) = [line for line in page(detail).splitlines() if line.startswith("   12 ┤"[1:])]
    bars = axis.partition("┤")[2]
    born = (BORN - detail.found) / (detail.until - detail.found)
    assert len(bars) - len(bars.lstrip()) == pytest.approx(born * len(bars), abs=2)


def test_the_page_fits_its_console(known):
    for campaign in known.rounds.campaigns:
        text = page(campaign_detail(known, campaign), width=100)
        assert max(map(len, text.splitlines())) <= 100

"""The detail of a campaign, and what it must not contain."""

from io import StringIO

import msgspec
import numpy as np
import pytest
from rich.console import Console

from monitor.prompts.projection import CONTENT
from monitor.records.profile import HOUR
from pipelines.inspect.campaign import campaign_detail
from pipelines.inspect.campaigns import find_campaign
from pipelines.show import campaign as campaign_page
from tests.support.campaigns import (
    FLEET,
    NEIGHBOUR,
    OPENED,
    PAYMENT,
    SYSTEM,
    fingerprint,
    partition,
)


@pytest.fixture(scope="module")
def known():
    return partition()


@pytest.fixture(scope="module")
def detail(known):
    return campaign_detail(*find_campaign([known], "c_fleet"))


def page(detail, width=110):
    out = StringIO()
    campaign_page.show(detail, Console(file=out, width=width))
    return out.getvalue()


def test_members_are_sorted_by_confidence(detail):
    assert {member.key for member in detail.members} == set(FLEET)
    *_, last = detail.members
    assert (last.key, last.confidence, last.named) == (
        FLEET[-1],
        pytest.approx(0.94),
        OPENED + HOUR,
    )
    assert next(m.own_alert for m in detail.members if m.key == FLEET[0]) is None
    assert last.own_alert == "critical"


def test_shared_payment_is_evidence_for_its_keys(detail):
    nats = {member.key: member.nats["payment"] for member in detail.members}
    assert min(nats[key] for key in FLEET[:6]) > 1.0
    assert max(nats[key] for key in FLEET[6:]) <= 0.0


def test_shared_identifiers_count_members_and_others(detail):
    payment = next(shared for shared in detail.shared if shared.kind == "payment")
    assert (payment.members, payment.others) == (6, 1)
    system = next(shared for shared in detail.shared if shared.kind == "system")
    assert (system.members, system.others) == (12, 0)
    assert detail.shared[0] == system  # the stronger one


def test_identifier_of_inactive_keys_keeps_its_evidence():
    """Evidence and view count the same keys: those that may be members."""
    known = partition()
    inactive = fingerprint(np.zeros(CONTENT), 20, payment=1, system=SYSTEM)
    inactive["ts"] -= 7 * HOUR
    for i in range(200):
        known.population.update(inactive, [f"k_inactive{i}"])
    detail = campaign_detail(*find_campaign([known], "c_fleet"))
    system = next(shared for shared in detail.shared if shared.kind == "system")
    assert (system.members, system.others) == (12, 200)
    assert system.nats >= detail.evidence["system"] > 2.0


def test_bystanders_are_not_members(detail):
    (bystander,) = detail.bystanders
    payment = next(shared for shared in detail.shared if shared.kind == "payment")
    assert (bystander.key, bystander.shares) == (NEIGHBOUR, [payment.id])
    assert NEIGHBOUR not in {member.key for member in detail.members}


def test_detail_contains_no_identifier_hash(detail):
    text = msgspec.json.encode(detail).decode()
    assert f"{PAYMENT}" not in text
    assert f"{PAYMENT:x}" not in text
    assert "p_" in text


def test_merged_campaign_keeps_its_members(known):
    gone = campaign_detail(*find_campaign([known], "c_gone"))
    assert len(gone.members) == 6
    assert "merged into c_fleet at" in campaign_page.sentence(gone)


def test_page_shows_reason_growth_and_members(detail):
    text = page(detail)
    assert text.startswith("c_fleet  critical since 02 Mar 02:00 UTC\n12 coordinated keys, 720")
    for word in ("nats", "grown", "system", FLEET[0], "bystanders", NEIGHBOUR):
        assert word in text


def test_chart_rises_when_the_campaign_opens(detail):
    (axis,) = [line for line in page(detail).splitlines() if line.startswith("   12 ┤"[1:])]
    bars = axis.partition("┤")[2]
    born = (OPENED - detail.found) / (detail.until - detail.found)
    assert len(bars) - len(bars.lstrip()) == pytest.approx(born * len(bars), abs=2)


def test_page_keeps_member_keys_whole_at_80_columns(detail):
    words = page(detail, width=80).split()
    assert {member.key for member in detail.members} <= set(words)
    assert "…" not in "".join(words)


def test_page_fits_the_console(known):
    for campaign in known.rounds.campaigns:
        text = page(campaign_detail(known, campaign), width=100)
        assert max(map(len, text.splitlines())) <= 100

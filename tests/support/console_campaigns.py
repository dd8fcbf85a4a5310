"""A campaign in the view of a console, without a linker."""

from __future__ import annotations

from pathlib import Path

from monitor.campaigns.campaign import TimelineEntry
from pipelines.console.reader.cost import Prices
from pipelines.console.reader.linked import Found, set_tenants, write
from pipelines.console.view.database import Writer
from pipelines.inspect.campaign import Bystander, CampaignDetail, Member, SharedIdentifier
from pipelines.inspect.campaigns import CampaignSummary
from pipelines.inspect.criteria import CriterionResult

ID = "c_" + "5" * 20
START = 1_772_000_000.0
KEYS = [f"k_{n:024x}" for n in range(60)]
FLEET, BYSTANDER, OUTSIDER = KEYS[:12], KEYS[12], KEYS[13]
ACCOUNTS = [f"a_{n:024x}" for n in range(4)]  # of three members each; the outsider is in the first
PAYMENT, SYSTEM = "p_00000001", "s_00000002"


def put_campaign(file: Path, members: list[str] = FLEET) -> CampaignDetail:
    """Write a campaign of some members into a view, with one bystander."""
    found = detail(members)
    accounts = {key: ACCOUNTS[i // 3 % 4] for i, key in enumerate(members)}
    accounts |= {OUTSIDER: ACCOUNTS[0]} if OUTSIDER not in accounts else {}
    rows = [
        (key, account, "acme/" if account == ACCOUNTS[0] else "", 600, 60_000, 0.6, 60)
        for key, account in accounts.items()
    ]
    with Writer(file).transaction() as view:
        view.executemany(
            "INSERT INTO keys (key, account, tenant, requests, tokens, cost, hour) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        write(view, Found(found, {}, [], 1_000, 1_013), Prices(10.0))
        set_tenants(view)
    return found


def detail(members: list[str]) -> CampaignDetail:
    """A campaign in which all share a system prompt, and the first half a payment."""
    half = len(members) // 2
    criterion = CriterionResult(
        *("even", "spread of request rates", 0.2, 0.4, False, True, "evidence", "evidence"),
        *("≤", "octaves", "they send at the same rate", 3.1),
    )
    return CampaignDetail(
        CampaignSummary(
            *(ID, START, "open", "critical", len(members), 600 * len(members)),
            *(60_000 * len(members), 60 * len(members), "block", "they split one list"),
        ),
        START,
        START + 7200.0,
        [criterion],
        [TimelineEntry(START, "born", half), TimelineEntry(START + 3600.0, "grown", len(members))],
        {"payment": 2.0, "pace": 1.0, "born": -0.5},
        [
            SharedIdentifier("payment", PAYMENT, half, 1, 4.0),
            SharedIdentifier("system", SYSTEM, len(members), 9, 2.0),
        ],
        [
            Member(
                *(key, 0.999 - i / 1e6, 600 + i, 60_000, START, START + 7200.0, START),
                *("critical" if i else None, {"payment": 2.0}),
                [SYSTEM, PAYMENT] if i < half else [SYSTEM],
            )
            for i, key in enumerate(members)
        ],
        [Bystander(BYSTANDER, 20, [PAYMENT])],
    )

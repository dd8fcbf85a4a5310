"""Entries of cases for tests, as a monitor and people write them."""

from __future__ import annotations

import hashlib

import msgspec

from monitor.alerting.alerts import Alert, Subject
from monitor.alerting.changes import Change
from monitor.evidence.entries import (
    AlertSeen,
    AnyBody,
    Appealed,
    Changed,
    Entry,
    FactsTaken,
    Letter,
    Noted,
    Opened,
    Ruled,
    Traced,
)
from monitor.evidence.facts import (
    DecisionFact,
    Facts,
    FindingFact,
    MemberFact,
    Moment,
    Number,
    SharedFact,
    StreamRange,
    Versions,
)

START = 1_772_000_000.0
CASE = "case_00112233445566aa"
CAMPAIGN = "c_9687c3d31b822c59cc3e"
HOUR = 3_600.0
TRACE: dict[str, float | int | str | bool | None] = {
    "mark": "m_0123456789ab",
    "found": True,
    "corrected": 2.6e-9,
    "level": 0.01,
    "marks_asked": 3,
    "outputs": 2_000,
    "tokens": 120_000,
    "context_trials": 98_000,
    "context_agree": 26_100,
    "context_expected": 24_500.0,
    "context_z": 11.8,
    "context_p": 1.3e-9,
    "context_corrected": 2.6e-9,
}


def key(number: int) -> str:
    """The pseudonym of a key."""
    return "k_" + hashlib.blake2b(b"%d" % number, digest_size=12).hexdigest()


def chained(*bodies: AnyBody, who: str = "monitor") -> list[tuple[Entry, str]]:
    """Entries with the digests of their encodings."""
    found: list[tuple[Entry, str]] = []
    for number, body in enumerate(bodies, 1):
        previous = found[-1][1] if found else ""
        by = who if isinstance(body, Opened | FactsTaken | AlertSeen) else "Ada Example"
        entry = Entry(CASE, number, previous, START + number * HOUR, by, body)
        found.append((entry, hashlib.sha256(msgspec.json.encode(entry)).hexdigest()))
    return found


def facts_of_campaign(members: int = 20, bystanders: int = 3) -> Facts:
    """The facts of a campaign."""
    networks = [f"n_{number:024x}" for number in range(max(members // 8, 1))]
    keys = [
        MemberFact(
            key(number),
            "member" if number < members else "bystander",
            0.999 - number % 7 / 100 if number < members else 0.0,
            300 + 7 * number,
            90_000 + 31 * number,
            START + 60.0 * number,
            START + 20 * HOUR,
            {"direction": 5.1, "network": 3.2, "born": 1.4, "pace": -0.2},
            [networks[number % len(networks)], "s_" + "5" * 24],
            "warning" if number % 5 == 0 else None,
        )
        for number in range(members + bystanders)
    ]
    shared = [
        SharedFact("network", id, members // len(networks), number % 4, 3.2)
        for number, id in enumerate(networks)
    ]
    shared.append(SharedFact("system", "s_" + "5" * 24, members, bystanders, 2.1))
    requests = sum(each.requests for each in keys[:members])
    return Facts(
        subject=CAMPAIGN,
        type="campaign",
        at=START + 21 * HOUR,
        severity="critical",
        statement=f"{members} coordinated keys sent {requests:,} requests.",
        requests=requests,
        tokens=sum(each.tokens for each in keys[:members]),
        first_seen=START,
        last_seen=START + 20 * HOUR,
        versions=Versions(
            "0.1.0", *("0123456789abcdef",) * 4, "fedcba9876543210", {"info": 0.001, "quiet": 60}
        ),
        findings=[
            FindingFact(
                "campaign",
                "critical",
                "The keys began together and send steadily.",
                3.2e-14,
                START + 4 * HOUR,
                START + 20 * HOUR,
                "a_1",
                [
                    Number("members", "keys that belong together", float(members)),
                    Number("share_of_traffic", "of all requests in 24 hours", 0.0731, "share"),
                ],
            ),
            FindingFact(
                "coverage",
                "warning",
                "The prompts are as in data sets for training.",
                3.1e-5,
                START + 3 * HOUR,
                START + 20 * HOUR,
                "a_2",
                [
                    Number(
                        "like_code", "likeness to data sets of code", 6.25, "deviations", 0.02, 3.4
                    )
                ],
            ),
        ],
        members=keys,
        shared=shared,
        timeline=[Moment(START, "First request."), Moment(START + 4 * HOUR, "Campaign found.")],
        decisions=[
            DecisionFact(key(number), "block", START + 4 * HOUR, "campaign")
            for number in range(members)
        ],
        stream=[StreamRange("llm.requests", 0, 1_000, 901_000)],
        complete=True,
    )


def alert(severity: str = "critical", summary: str = "coordinated keys") -> Alert:
    """An alert on the campaign."""
    return Alert(
        id="a_" + "7" * 20,
        kind="campaign",
        state="open",
        severity=severity,  # type: ignore[arg-type]
        score=0.99,
        subject=Subject("campaign", CAMPAIGN, [key(0), key(1)]),
        detected_at=START + 4 * HOUR,
        window=(START, START + 4 * HOUR),
        evidence={"members": 20.0},
        summary=f"{CAMPAIGN}: {summary}.",
        decision="block",
    )


def whole_case(members: int = 20, note: str = "Called the customer.") -> list[tuple[Entry, str]]:
    """A case with an entry of every kind that people write."""
    change = Change("withdraw", "a_" + "7" * 20, "Ada Example", "A test of the customer.")
    return chained(
        Opened(CAMPAIGN, "campaign", "Critical alert a_77777777777777777777.", "a_" + "7" * 20),
        AlertSeen(alert()),
        FactsTaken(facts_of_campaign(members)),
        Noted(note),
        Letter("R-7Q2M-44XA", key(1), f"Dear customer,\n\n{note}"),
        Appealed("R-7Q2M-44XA", f"We dispute this. {note}", START + 30 * HOUR),
        Changed(change),
        Ruled("upheld", "The purpose stated does not explain 20 keys.", "R-7Q2M-44XA", key(1)),
        Traced("rival-7b", "ab" * 32, TRACE),
    )


def empty_case() -> list[tuple[Entry, str]]:
    """A case that was just opened by a person."""
    return chained(Opened(key(0), "api_key", "A partner asked.", ""), who="Ada Example")

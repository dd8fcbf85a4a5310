"""Cases in Redis: a store that signs with a new key, and alerts to put into cases."""

from __future__ import annotations

from monitor.alerting.alerts import Alert, Severity, State, Subject
from monitor.evidence.keys import Signer
from monitor.evidence.ring import Ring
from monitor.evidence.store import CaseStore
from tests.support.chains import START, new_signer

CAMPAIGN = "c_0123456789ab"
MEMBERS = [f"k_{n:024x}" for n in range(1, 6)]
SIGNER = new_signer()
RING = Ring([SIGNER.public])


def case_store(url: str, signer: Signer = SIGNER, ring: Ring = RING) -> CaseStore:
    return CaseStore(url, ring, signer)


def campaign_alert(
    state: State = "open",
    severity: Severity = "critical",
    *,
    members: list[str] = MEMBERS,
    at: float = START,
    subject: str = CAMPAIGN,
) -> Alert:
    return Alert(
        id=f"a_{subject[2:]}",
        kind="campaign",
        state=state,
        severity=severity,
        score=0.99,
        subject=Subject("campaign", subject, members),
        detected_at=at,
        window=(at - 1000, at),
        evidence={"members": float(len(members))},
        summary=f"{subject}: {len(members)} coordinated keys.",
        decision="block",
    )


def key_alert(key: str, severity: Severity = "warning", at: float = START) -> Alert:
    return Alert(
        id=f"a_{key[2:]}",
        kind="harvest",
        state="open",
        severity=severity,
        score=0.99,
        subject=Subject("api_key", key),
        detected_at=at,
        window=(at - 1000, at),
        evidence={"requests": 400.0},
        summary=f"{key}: 400 requests.",
        decision="throttle",
    )

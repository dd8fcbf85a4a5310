"""Cases in Redis: a store that signs with a new key, and alerts to put into cases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from monitor.alerting.alerts import Alert, Severity, State, Subject
from monitor.config import Cases, Settings
from monitor.errors import InputError
from monitor.evidence.facts import Facts, MemberFact, Versions
from monitor.evidence.keys import Signer
from monitor.evidence.ring import Ring
from monitor.evidence.store import CaseStore
from monitor.metrics import Metrics
from monitor.store.control import ControlStore
from pipelines.cases.archive import Archive
from pipelines.cases.recorder import Message, Recorder
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


def facts_of(subject: str, severity: Severity = "critical") -> Facts:
    """Facts without numbers."""
    members = [MemberFact(key, "member", 0.99, 10, 100, START, START) for key in MEMBERS]
    return Facts(
        subject=subject,
        type="campaign",
        at=START,
        severity=severity,
        statement=f"{subject} harvests.",
        requests=50,
        tokens=500,
        first_seen=START,
        last_seen=START,
        versions=Versions("1", "r", "c", "t", "w", "s"),
        members=members,
    )


class Case:
    """A recorder and an archive on a Redis, and a topic in memory.

    Attributes:
        topic: the values on the topic of cases.
        refuses: whether the topic accepts no message.
        withdrawn: subjects whose alerts are withdrawn.
        failing: subjects without facts.
        known: alerts of the last days.
    """

    def __init__(self, url: str, topic: list[bytes] | None = None, **limits: Any) -> None:
        self.store, self.control = case_store(url), ControlStore(url)
        self.topic: list[bytes] = [] if topic is None else topic
        self.refuses = False
        self.withdrawn: set[str] = set()
        self.failing: set[str] = set()
        self.known: list[Alert] = []
        self.metrics = Metrics()
        settings = Settings(cases=Cases(**limits))
        self.recorder = Recorder(
            self.store,
            settings.cases,
            lambda: self.known,
            self._collect,
            lambda alert: alert.subject.id in self.withdrawn,
            self.metrics,
        )
        self.archive = Archive(
            self.store,
            self.recorder,
            self.control,
            settings,
            read=lambda: iter(list(self.topic)),
            send=self._send,
            thread=ThreadPoolExecutor(1),
            metrics=self.metrics,
        )

    def record(self, *alerts: Alert, first: int = 0, partition: int = 0) -> dict[str, int]:
        """Record alerts with offsets from `first` on."""
        place = f"alerts:{partition}"
        return self.recorder.record(
            [Message(f"{place}:{n}", alert) for n, alert in enumerate(alerts, first)]
        )

    async def settle(self) -> None:
        """Copy and restore until nothing is left to do."""
        self.archive._due = 0.0
        while await self.archive.step():
            self.archive._due = 0.0

    def kinds(self, case: str) -> list[str]:
        """The kinds of the entries of a case, whose chain is whole."""
        entries = self.store.entries(case)
        return [entry.body.__struct_config__.tag for entry in entries]

    def _collect(self, subject: str) -> Facts:
        if subject in self.failing:
            raise InputError(f"Redis has nothing about {subject}.")
        return facts_of(subject)

    async def _send(self, key: bytes, value: bytes) -> None:
        if self.refuses:
            raise RuntimeError("refused")
        self.topic.append(value)

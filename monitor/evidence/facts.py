"""The facts of a case: what was known about a key or a campaign at one moment of the stream.

Facts follow from the stream alone, from its first offset to its last, so a replay of these offsets
gives the same facts. Decisions of people are no part of them: they are entries of their own. No
prompt, raw key or address is in a case, only pseudonyms and numbers.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from monitor.alerting.alerts import Action, Alert, Severity

SubjectType = Literal["api_key", "account", "end_user", "campaign"]


class Number(msgspec.Struct, frozen=True):
    """A number beside what is ordinary.

    Attributes:
        name: of the evidence, as in alerts.
        label: what it is, in words: "requests in 1 hour".
        unit: as detectors declare it, for display.
        median, p999: the same number of ordinary keys; `None` where that is unknown.
    """

    name: str
    label: str
    value: float
    unit: str = ""
    median: float | None = None
    p999: float | None = None


class FindingFact(msgspec.Struct, frozen=True):
    """What one detector, or the linker, found. Times are event time, epoch seconds.

    Attributes:
        kind: of alert.
        severity: of its alert; `None` if it opened none.
        statement: one sentence in words, with its numbers.
        probability: that an ordinary key gets such a result within a day.
        alert: id of its alert; empty without one.
    """

    kind: str
    severity: Severity | None
    statement: str
    probability: float
    opened_at: float
    confirmed_at: float
    alert: str = ""
    numbers: list[Number] = []


class MemberFact(msgspec.Struct, frozen=True):
    """A key of a campaign, or a bystander: it shares an identifier but behaves differently.

    Attributes:
        confidence: the probability that it is a member; 0 for a bystander.
        nats: what ties it to the others, by kind of evidence, log-likelihood ratio.
        shares: pseudonyms of the identifiers that it shares with members.
        own_alert: severity of its own most severe alert.
    """

    key: str
    role: Literal["member", "bystander"]
    confidence: float
    requests: int
    tokens: int
    first_seen: float
    last_seen: float
    nats: dict[str, float] = {}
    shares: list[str] = []
    own_alert: Severity | None = None


class SharedFact(msgspec.Struct, frozen=True):
    """An identifier that several members have, and how many other keys have it."""

    kind: str
    id: str
    members: int
    others: int
    nats: float


class ImportFact(msgspec.Struct, frozen=True):
    """An indicator of a partner that members have. Its hash is the partner's, and is left out.

    Attributes:
        id: of the STIX object.
        kind: network, tls, system or template.
        source: the partner.
        nats: mean evidence of these members from all indicators; 0 if it did not count.
    """

    id: str
    kind: str
    source: str
    members: int
    nats: float


class Moment(msgspec.Struct, frozen=True):
    """An event of the timeline, event time, epoch seconds."""

    at: float
    text: str


class DecisionFact(msgspec.Struct, frozen=True):
    """A decision of the monitor on the subject or a member, as its alert led to it."""

    subject: str
    action: Action
    at: float
    reason: str


class Versions(msgspec.Struct, frozen=True):
    """What the result depends on besides the stream: SHA-256 digests, shortened to 16 digits.

    Attributes:
        program: the package's version.
        reference, content, tasks, campaigns: of the baseline and the models.
        settings: of the detection settings, which `detection` has in full.
    """

    program: str
    reference: str
    content: str
    tasks: str
    campaigns: str
    settings: str
    detection: dict[str, float | int | str | bool] = {}


class StreamRange(msgspec.Struct, frozen=True):
    """Offsets of one partition that the case rests on: `first` up to, not including, `end`."""

    topic: str
    partition: int
    first: int
    end: int


class Facts(msgspec.Struct, frozen=True):
    """Everything that the stream says about the subject. Times are event time, epoch seconds.

    Attributes:
        at: event time up to which the stream was read.
        statement: one sentence: who did what, how surely.
        requests, tokens: of the subject, all members together.
        stream: empty where the offsets are unknown, as in a replay of files.
        complete: whether `stream` starts before the subject's first request, so that a replay
            must give the same numbers.
        imports: indicators of partners that members had. They are not in the stream.
    """

    subject: str
    type: SubjectType
    at: float
    severity: Severity | None
    statement: str
    requests: int
    tokens: int
    first_seen: float
    last_seen: float
    versions: Versions
    findings: list[FindingFact] = []
    members: list[MemberFact] = []
    shared: list[SharedFact] = []
    timeline: list[Moment] = []
    decisions: list[DecisionFact] = []
    alerts: list[Alert] = []
    stream: list[StreamRange] = []
    complete: bool = False
    imports: list[ImportFact] = []

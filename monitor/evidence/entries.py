"""The entries of a case: what happened, in the order in which it became known.

An entry is written once. It is signed and contains the digest of the entry before it, see
`chain.py`. A case is what its entries add up to, see `case.py`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from monitor.alerting.alerts import Alert
from monitor.alerting.changes import Change
from monitor.evidence.facts import Facts, SubjectType


class Body(msgspec.Struct, frozen=True, tag_field="kind"):
    """What an entry says. Its kind is the tag of the class."""


class Opened(Body, frozen=True, tag="opened"):
    """The case was opened.

    Attributes:
        alert: id of the alert that it begins with; empty if a person opened it without one.
    """

    subject: str
    type: SubjectType
    reason: str
    alert: str = ""


class AlertSeen(Body, frozen=True, tag="alert"):
    """An alert about the subject or a member opened, got more severe or resolved."""

    alert: Alert


class FactsTaken(Body, frozen=True, tag="facts"):
    """The facts were collected: on opening, at a higher severity, or on request."""

    facts: Facts


class Changed(Body, frozen=True, tag="change"):
    """A person, or a cap, changed a decision on the subject or a member."""

    change: Change


class Noted(Body, frozen=True, tag="note"):
    """A person wrote a note."""

    text: str


class Letter(Body, frozen=True, tag="letter"):
    """A letter to the customer was written.

    Attributes:
        reference: what the customer quotes; says nothing about the case.
        subject: the key or account that the letter is about.
    """

    reference: str
    subject: str
    text: str


class Appealed(Body, frozen=True, tag="appeal"):
    """The customer answered a letter.

    Attributes:
        text: the answer, as the person who records it sums it up.
        received_at: wall-clock time, epoch seconds.
    """

    reference: str
    text: str
    received_at: float


class Ruled(Body, frozen=True, tag="ruling"):
    """A person upheld or overturned the decision.

    Attributes:
        reference: of the letter that was appealed against; empty without an appeal.
        subject: the key or account that it is about; all of the case if it is the case's subject.
        alerts: ids of the alerts that an overturned decision rested on: all are withdrawn.
    """

    result: Literal["upheld", "overturned"]
    reason: str
    reference: str = ""
    subject: str = ""
    alerts: list[str] = []


class Traced(Body, frozen=True, tag="trace"):
    """Outputs of a suspect model were tested for marks, canaries and responses.

    Attributes:
        model: what the person who ran the test calls the suspect model.
        outputs: SHA-256 of the file of outputs.
        result: the row of this case's campaign, see `monitor.tracing`.
    """

    model: str
    outputs: str
    result: dict[str, float | int | str | bool | None]


class Exported(Body, frozen=True, tag="export"):
    """A bundle was written. `manifest` is the SHA-256 of its signed manifest."""

    manifest: str
    reason: str = ""


class Closed(Body, frozen=True, tag="closed"):
    """The case was closed."""

    outcome: Literal["extraction", "not extraction", "unclear", "duplicate"]
    reason: str


class Reopened(Body, frozen=True, tag="reopened"):
    """A closed case was opened again."""

    reason: str


AnyBody = (
    Opened | AlertSeen | FactsTaken | Changed | Noted | Letter | Appealed | Ruled | Traced
    | Exported | Closed | Reopened
)  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """The payload of an entry: what is signed.

    Attributes:
        case: id of the case, `case_` and 16 hexadecimal digits.
        number: from 1, without gaps.
        previous: SHA-256 of the entry before it as it is stored, hexadecimal; empty for the first.
        at: wall-clock time, epoch seconds.
        who: a person's name, or `monitor`.
        source: what the entry was made from, so that it is written once: `<topic>:<partition>:
            <offset>` of an alert, the id of a change; empty for what a person wrote.
    """

    case: str
    number: int
    previous: str
    at: float
    who: str
    body: AnyBody
    source: str = ""

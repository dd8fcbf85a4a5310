"""The facts about one key, account or end user.

They follow from its record and its partition's state as of one offset, and from the alert messages
up to there. An early checkpoint may publish alerts before the offset that led to them is stored;
such messages are left out, because a replay up to the stored offset does not yield them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from monitor.alerting.alerts import (
    SEVERITIES,
    Action,
    Alert,
    Lifecycle,
    OpenAlert,
    Severity,
    alert_id,
)
from monitor.alerting.policy import LIMIT_OF_FEW, Policy, action_for
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.detectors.base import Detector
from monitor.evidence.facts import (
    DecisionFact,
    Facts,
    FindingFact,
    Moment,
    Number,
    StreamRange,
    SubjectType,
    Versions,
)
from monitor.identity import ACCOUNT_PREFIX, END_USER_PREFIX
from monitor.partition import Partition
from monitor.records.baseline import Baseline
from monitor.records.end_users import from_few
from monitor.records.inputs import ACCOUNT, END_USER, KEY
from monitor.records.profile import RECORD, Profile, Records
from pipelines.cases.facts import labels, words
from pipelines.inspect.key import evidence_facts
from pipelines.inspect.what_if import one_in

_MEDIAN, _P999 = 1, 3  # places in the quantiles of `inspect.key`


class Known(NamedTuple):
    """What the facts about a subject follow from.

    Attributes:
        record: `RECORD`, as of the partition's offset.
        partition: that has its alerts, restored from its state.
        messages: alert messages about it.
        others: records of other keys, for what is ordinary; may be empty.
        stream, complete: see `Facts`.
    """

    subject: str
    record: Any
    partition: Partition
    messages: Sequence[Alert]
    others: Records
    stream: list[StreamRange]
    complete: bool


def key_facts(known: Known, settings: Settings, versions: Versions) -> Facts:
    """Collect the facts about a key, an account or an end user."""
    record, partition = known.record, known.partition
    lifecycle = Lifecycle(settings.detection, action_for, ALL_DETECTORS)
    open_alerts = lifecycle.open_on(record, known.subject)
    outbox = [each for each in partition.outbox if each.subject.id == known.subject]
    ids = {*alert_ids(known.subject, record)}
    messages = _as_of(
        [each for each in words.in_order([*known.messages, *outbox]) if each.id in ids],
        open_alerts,
        partition.watermark,
    )
    findings = _findings(known, settings, messages, open_alerts)
    severity = words.most_severe(each.severity for each in findings)
    requests, tokens = int(record["requests"]), round(float(record["tokens"]))
    first, last = float(record["first_seen"]), float(record["last_seen"])
    what = f"{known.subject} sent {words.volume(requests, tokens)} {words.span(first, last)}"
    strongest = findings[0] if findings else None
    why = (
        f"{strongest.statement[:1].lower()}{strongest.statement[1:].rstrip('.')}; "
        f"{one_in(strongest.probability)} ordinary keys shows as much within a day"
        if strongest
        else "nothing unusual was found"
    )
    decisions = [*words.decisions(messages), *_last_decision(known, settings, open_alerts)]
    timeline = [
        Moment(first, "The first request."),
        *words.moments(messages, {each.alert: each.opened_at for each in findings if each.alert}),
        Moment(last, "The last request so far."),
    ]
    return Facts(
        subject=known.subject,
        type=_type(known),
        at=partition.watermark,
        severity=severity,
        statement=f"{what}: {why}.",
        requests=requests,
        tokens=tokens,
        first_seen=first,
        last_seen=last,
        versions=versions,
        findings=findings,
        timeline=sorted(timeline, key=lambda each: each.at),
        decisions=list(dict.fromkeys(sorted(decisions, key=lambda each: each.at))),
        alerts=[states[-1] for states in words.by_alert(messages).values()],
        stream=known.stream,
        complete=known.complete,
    )


def _type(known: Known) -> SubjectType:
    found = known.partition.subject(known.subject).type
    if found == "api_key" and known.subject.startswith(ACCOUNT_PREFIX):
        return "account"
    if found == "api_key" and known.subject.startswith(END_USER_PREFIX):
        return "end_user"
    return found


def _as_of(
    messages: Sequence[Alert], open_alerts: Sequence[OpenAlert], watermark: float
) -> list[Alert]:
    """The messages about the record's alerts that it had led to by then, the oldest first."""
    severities = {each.id: SEVERITIES.index(each.severity) for each in open_alerts}
    found: list[Alert] = []
    for id, states in words.by_alert(messages).items():
        if id in severities:
            found += [
                each
                for each in states
                if each.state != "resolved" and SEVERITIES.index(each.severity) <= severities[id]
            ]
        else:
            found += [each for each in states if each.detected_at <= watermark]
    return words.latest(found)


def alert_ids(subject: str, record: Any) -> list[str]:
    """The last alert of each kind on a subject, open or ended: the record keeps when it opened."""
    opened = record["opened"].tolist()
    return [
        alert_id(subject, each.name, opened[each.slot])
        for each in ALL_DETECTORS
        if opened[each.slot] > 0
    ]


def _findings(
    known: Known, settings: Settings, messages: Sequence[Alert], open_alerts: Sequence[OpenAlert]
) -> list[FindingFact]:
    """What detectors found, with and without an alert, the most improbable first."""
    now = {each.name: _Now.of(each, known) for each in ALL_DETECTORS}
    opened, groups = {each.id: each for each in open_alerts}, words.by_alert(messages)
    found = []
    for id in dict.fromkeys([*opened, *groups]):
        kind = opened[id].kind if id in opened else groups[id][0].kind
        if kind in now:  # else of a detector that this version does not have
            found.append(_of_alert(id, opened.get(id), groups.get(id, []), now[kind], known))
    alerted = {each.kind for each in found}
    confirming = Lifecycle(settings.detection, action_for).confirming
    found += [
        each.finding(None, each.evidence, each.since, float(known.record["last_seen"]))
        for kind, each in now.items()
        if kind not in alerted and each.probability <= confirming
    ]
    return sorted(found, key=lambda each: (each.probability, each.kind, each.opened_at))


class _Now(NamedTuple):
    """What a detector finds in the record as it is."""

    detector: Detector
    evidence: dict[str, float]
    probability: float
    since: float
    ordinary: dict[str, tuple[float | None, ...]]

    @classmethod
    def of(cls, detector: Detector, known: Known) -> _Now:
        rows, baseline = np.array([known.record], RECORD), known.partition.baseline
        found = detector(Profile(rows), baseline)
        facts = evidence_facts(detector, found, baseline, known.others)
        return cls(
            detector,
            {each.name: each.value for each in facts},
            float(found.p[0]),
            float(found.since[0]),
            {each.name: each.ordinary for each in facts},
        )

    def finding(
        self,
        severity: Severity | None,
        evidence: dict[str, float],
        opened: float,
        confirmed: float,
        alert: str = "",
    ) -> FindingFact:
        """A finding with this evidence, which may be of an earlier time."""
        evidence = dict(evidence)
        probability = evidence.pop("probability", self.probability)
        try:
            summary = self.detector.summary(evidence)
        except (KeyError, IndexError):  # not known any more, or of another version
            summary = f"the evidence of the alert {self.detector.name} is no longer known"
        return FindingFact(
            kind=self.detector.name,
            severity=severity,
            statement=words.sentence(summary),
            probability=probability,
            opened_at=opened,
            confirmed_at=confirmed,
            alert=alert,
            numbers=[
                self._number(name, value)
                for name, value in evidence.items()
                if name not in labels.CODES
            ],
        )

    def _number(self, name: str, value: float) -> Number:
        quantiles = self.ordinary.get(name, (None,) * 4)
        return msgspec.structs.replace(
            labels.of_detector(self.detector, name, value),
            median=quantiles[_MEDIAN],
            p999=quantiles[_P999],
        )


def _of_alert(
    id: str, opened: OpenAlert | None, states: Sequence[Alert], now: _Now, known: Known
) -> FindingFact:
    """The finding of an alert, with the evidence of its last message that has it."""
    seen = words.raised(states)
    evidence = seen.evidence if seen else now.evidence
    if opened is not None:
        severity, begun = opened.severity, opened.opened
        confirmed = float(known.record["confirmed"][now.detector.slot])
    elif states[-1].state == "resolved":
        severity, (begun, confirmed) = states[-1].severity, states[-1].window
        evidence = seen.evidence if seen else {}
    else:  # the message of its end is not known
        last = states[-1]
        severity, begun, confirmed = last.severity, last.detected_at, last.detected_at
    return now.finding(severity, evidence, begun, confirmed, id)


def _last_decision(
    known: Known, settings: Settings, open_alerts: Sequence[OpenAlert]
) -> list[DecisionFact]:
    """The last decision on the subject, if its alerts are still open: the ladder may have risen."""
    decided, record = float(known.record["decided"]), np.array([known.record], RECORD)
    role = {"account": ACCOUNT, "end_user": END_USER}.get(_type(known), KEY)
    (few,) = from_few(record, np.array([role], np.uint8))
    limit: Action = LIMIT_OF_FEW if few else "block"
    if not decided:
        return []
    ruling = Policy(settings.decisions).due(open_alerts, 0.0, decided, limit)
    if ruling is None:
        return []
    return [DecisionFact(known.subject, ruling.action, decided, ruling.alert.id)]


def is_compared(kind: str, name: str) -> bool:
    """Whether what is ordinary for a number of a detector follows from the stream.

    Of a level it does: the baseline of the partition has it. Of other numbers it is that of other
    keys at that moment, of which a sample is read.
    """
    detectors = {each.name: each for each in ALL_DETECTORS}
    declared = detectors[kind].evidence.get(name) if kind in detectors else None
    return declared is not None and declared.level is not None


def baseline_is_shared(baseline: Baseline, reference: Baseline) -> bool:
    """Whether a baseline uses what other partitions have learned."""
    return not np.array_equal(baseline.mean.pool.vectors, reference.mean.pool.vectors)

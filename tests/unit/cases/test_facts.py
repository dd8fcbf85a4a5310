"""Facts from records and partitions, without a server."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from monitor.alerting.alerts import Alert, Subject, alert_id
from monitor.campaigns.imported import ImportSeen
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS, DETECTORS
from monitor.errors import InputError
from monitor.evidence.facts import Facts
from monitor.partition import Partition
from monitor.records.baseline import shipped_reference
from monitor.records.profile import RECORD
from pipelines.cases.facts.campaign import Known as KnownCampaign
from pipelines.cases.facts.campaign import campaign_facts
from pipelines.cases.facts.key import Known, key_facts
from pipelines.cases.facts.labels import CODES, of_campaign, of_detector
from pipelines.cases.facts.versions import versions, with_detection
from pipelines.cases.reproduction.compare import compare
from pipelines.inspect.criteria import evaluate
from tests.support import campaigns
from tests.support.requests import START

SETTINGS = Settings()
VERSIONS = versions(SETTINGS)
KEY, BURST = "k_1", next(each for each in DETECTORS if each.name == "burst")
OPENED = START + 600.0


def message(state: str, severity: str, at: float = OPENED) -> Alert:
    """A message about the key's alert."""
    evidence = {"probability": 1e-6, "in_window": 900.0, "window_seconds": 3600.0}
    return Alert(
        id=alert_id(KEY, "burst", OPENED),
        kind="burst",
        state=state,  # type: ignore[arg-type]
        severity=severity,  # type: ignore[arg-type]
        score=0.9,
        subject=Subject("api_key", KEY),
        detected_at=at,
        window=(OPENED, at),
        evidence=evidence | {"of_tokens": 0.0, "ordinary_share": 1e-5},
        summary=f"{KEY}: many requests.",
        decision="observe" if state == "resolved" else "throttle",
    )


def facts_of(severity: int, *messages: Alert) -> Facts:
    """The facts of a key whose record has the alert with a severity, 0 if it has ended."""
    record = np.zeros(1, RECORD)[0]
    record["requests"], record["first_seen"], record["last_seen"] = 900, START, START + 900.0
    record["opened"][BURST.slot] = OPENED
    record["severity"][BURST.slot] = severity
    partition = Partition("requests:0", 0, shipped_reference())
    partition.clock.watermark = START + 900.0
    known = Known(KEY, record, partition, messages, np.empty(0, RECORD), [], True)
    return key_facts(known, SETTINGS, VERSIONS)


def test_facts_keep_the_last_message_of_an_open_alert() -> None:
    facts = facts_of(2, message("open", "info"), message("update", "warning", OPENED + 60.0))
    assert [(each.state, each.severity) for each in facts.alerts] == [("update", "warning")]
    (finding,) = (each for each in facts.findings if each.kind == "burst")
    assert (finding.severity, finding.opened_at, finding.probability) == ("warning", OPENED, 1e-6)
    number = next(each for each in finding.numbers if each.name == "in_window")
    assert (number.value, number.unit) == (900.0, "count")


def test_facts_leave_out_messages_ahead_of_the_record() -> None:
    facts = facts_of(2, message("update", "warning"), message("update", "critical", OPENED + 1.0))
    assert [each.severity for each in facts.alerts] == ["warning"]
    assert facts.severity == "warning"


def test_facts_keep_the_evidence_of_an_alert_that_ended() -> None:
    ended = message("resolved", "warning", OPENED + 90.0)
    facts = facts_of(0, message("open", "warning"), ended)
    (finding,) = (each for each in facts.findings if each.alert)
    assert "900 requests" in finding.statement
    assert [each.text for each in facts.timeline][-2:] == [
        "The alert burst ended.",
        "The last request so far.",
    ]


def test_facts_say_that_evidence_is_not_known_any_more() -> None:
    facts = facts_of(0, message("resolved", "warning", OPENED + 90.0))
    (finding,) = (each for each in facts.findings if each.alert)
    assert finding.numbers == []
    known = facts_of(0, message("open", "warning"), message("resolved", "warning", OPENED + 90.0))
    assert {row.result for row in compare(facts, known, {})} == {"same", "unknown"}


def test_facts_of_a_campaign_leave_out_alerts_on_others() -> None:
    partition = campaigns.partition()
    partition.outbox = [message("open", "critical")]
    campaign = partition.rounds.campaigns[0]
    known = KnownCampaign(partition, campaign, False, [message("open", "critical")], [], True)
    assert campaign_facts(known, SETTINGS, VERSIONS).alerts == []


def test_facts_list_indicators_of_partners_that_counted() -> None:
    partition = campaigns.partition()
    campaign = partition.rounds.campaigns[0]
    campaign.imported = [
        ImportSeen("i-1", "network", "00", "feed", "Partner", "x", 6, START, START, 1.25),
        ImportSeen("i-2", "network", "01", "feed", "Partner", "x", 6, START, START, 0.0),
    ]
    known = KnownCampaign(partition, campaign, False, [], [], True)
    (finding,) = campaign_facts(known, SETTINGS, VERSIONS).findings
    assert [each.value for each in finding.numbers if each.name.startswith("indicator ")] == [1.25]


def test_facts_say_when_keys_are_no_campaign() -> None:
    partition = campaigns.partition()
    known = KnownCampaign(partition, partition.rounds.campaigns[2], True, [], [], True)
    facts = campaign_facts(known, SETTINGS, VERSIONS)
    assert (facts.severity, facts.findings, len(facts.members)) == (None, [], 8)
    assert facts.statement.endswith("no evaluation has found a campaign.")


def test_settings_of_a_case_are_used_whatever_is_set_now() -> None:
    other = Settings(detection={"info": 0.5}, mapping={"preset": "openai"})
    used, unknown = with_detection(other, VERSIONS)
    assert (versions(used), unknown) == (VERSIONS, [])
    table, _ = with_detection(SETTINGS, versions(other))
    assert table.mapping == {"preset": "openai"}


def test_settings_that_do_not_exist_are_named() -> None:
    detection = {**VERSIONS.detection, "detection.newer": 1.0}
    newer = msgspec.structs.replace(VERSIONS, detection=detection)
    assert with_detection(SETTINGS, newer)[1] == ["detection.newer"]


def test_wrong_settings_in_a_case_are_refused() -> None:
    detection = {**VERSIONS.detection, "detection.info": "much"}
    wrong = msgspec.structs.replace(VERSIONS, detection=detection)
    with pytest.raises(InputError, match="settings in the case cannot be used"):
        with_detection(SETTINGS, wrong)


def test_comparison_allows_for_rounding_only() -> None:
    facts = facts_of(2, message("update", "warning"))
    close = msgspec.structs.replace(facts, first_seen=facts.first_seen * (1 + 1e-12))
    other = msgspec.structs.replace(facts, tokens=1)
    assert {row.result for row in compare(facts, close, {})} == {"same"}
    (row,) = (row for row in compare(facts, other, {}) if row.result != "same")
    assert (row.group, row.name, row.case, row.replay) == ("totals", "tokens", "0", "1")
    (row,) = (row for row in compare(facts, other, {"": "cut"}) if row.result != "same")
    assert (row.result, row.why) == ("unknown", "cut")


def test_numbers_of_facts_have_labels_in_plain_words() -> None:
    names = {name for each in ALL_DETECTORS for name in each.evidence} - CODES
    labels = [
        of_detector(each, name, 0.0).label
        for each in ALL_DETECTORS
        for name in names & set(each.evidence)
    ]
    partition = campaigns.partition()
    evaluated = evaluate(partition, partition.rounds.campaigns[2])
    found = [*evaluated.evidence, *(f"{kind}_nats" for kind in evaluated.group.nats)]
    labels += [of_campaign(name, 0.0).label for name in found]
    jargon = ("nats", "surprisal", "squared", "born", "pace", "_")
    assert [each for each in labels if any(word in each for word in jargon)] == []

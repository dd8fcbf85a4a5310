"""Letters, appeals and rulings, in Redis."""

from __future__ import annotations

import re
import time

import msgspec
import pytest

from monitor.errors import InputError
from monitor.evidence.entries import Closed, Ruled
from pipelines.cases.review.appeals import waiting, withdrawn_lately
from tests.support.cases import CAMPAIGN, MEMBERS, campaign_alert, key_alert
from tests.support.reviews import BY, KEY, Reviewed

DAY = 86_400.0


@pytest.fixture
def reviewed(redis_url: str) -> Reviewed:
    return Reviewed(redis_url)


def test_letter_on_a_key_without_a_case_opens_one(reviewed: Reviewed) -> None:
    reviewed.blocked_key()
    written = reviewed.review.letter(KEY, "ann")
    assert written.is_new
    assert re.fullmatch(r"R(-[0-9A-Z]{4}){3}", written.letter.reference)
    assert "Its requests are refused" in written.letter.text
    case = reviewed.cases.case(written.case)
    assert (case.subject, case.type, [*case.alerts]) == (KEY, "api_key", [f"a_{KEY[2:]}"])
    assert reviewed.cases.find(written.letter.reference) == written.case
    again = reviewed.review.letter(KEY, "ann")
    assert (again.is_new, again.letter) == (False, written.letter)
    assert reviewed.review.letter(KEY, "ann", again=True).is_new


def test_letter_needs_something_that_is_enforced(reviewed: Reviewed) -> None:
    reviewed.alert(key_alert(KEY))
    with pytest.raises(InputError, match="Nothing that a customer notices is enforced"):
        reviewed.review.letter(KEY, "ann")
    assert reviewed.cases.rows() == []
    with pytest.raises(InputError, match="no alert and no decision on k_7777"):
        reviewed.review.letter("k_" + "7" * 24, "ann", action="block")
    with pytest.raises(InputError, match="There is no case k_12"):
        reviewed.review.letter("k_12", "ann", action="block")
    written = reviewed.review.letter(KEY, "ann", action="throttle")
    assert "limited number of requests" in written.letter.text


def test_letter_on_a_campaign_needs_one_member(reviewed: Reviewed) -> None:
    case = reviewed.campaign()
    with pytest.raises(InputError, match="a campaign of 5 keys: name one"):
        reviewed.review.letter(case, "ann")
    with pytest.raises(InputError, match="k_other is no subject"):
        reviewed.review.letter(case, "ann", subject="k_other")
    written = reviewed.review.letter(case, "ann", subject=KEY)
    assert "together with others" in written.letter.text
    assert not any(other in written.letter.text for other in [*MEMBERS, CAMPAIGN, case])


def test_appeal_waits_until_a_ruling(reviewed: Reviewed) -> None:
    reviewed.blocked_key()
    reference = reviewed.review.letter(KEY, "ann").letter.reference
    recorded = reviewed.review.appeal(reference.lower(), "We evaluate\nour own tutor.", "bo")
    assert recorded.in_time
    (found,) = waiting(reviewed.cases.rows(), 14)
    assert (found.reference, found.subject) == (reference, KEY)
    assert not found.is_overdue(time.time())
    assert found.is_overdue(time.time() + 14 * DAY)
    ruling = reviewed.review.rule("upheld", reference, *BY)
    assert (ruling.result, ruling.reference, ruling.alerts) == ("upheld", reference, [])
    assert waiting(reviewed.cases.rows(), 14) == []
    assert reviewed.on(KEY).action == "block"


def test_appeal_names_what_is_wrong_with_it(reviewed: Reviewed) -> None:
    reviewed.blocked_key()
    reference = reviewed.review.letter(KEY, "ann").letter.reference
    with pytest.raises(InputError, match="1 to 4,000 characters"):
        reviewed.review.appeal(reference, "\x1b\x00\n", "bo")
    with pytest.raises(InputError, match="before the letter was written"):
        reviewed.review.appeal(reference, "No.", "bo", time.time() - 9 * DAY)
    with pytest.raises(InputError, match="There is no case R-0000"):
        reviewed.review.appeal("R-0000", "No.", "bo")


def test_overturned_key_is_free_and_its_alert_withdrawn(reviewed: Reviewed) -> None:
    alert = reviewed.blocked_key()
    reference = reviewed.review.letter(KEY, "ann").letter.reference
    reviewed.review.appeal(reference, "Our own tests.", "bo")
    ruling = reviewed.review.rule("overturned", reference, *BY)
    assert ruling.alerts == [alert.id]
    assert (reviewed.on(KEY).action, reviewed.on(KEY).why) == ("observe", "withdrawn")
    case = reviewed.cases.case(ruling.case)
    assert case.is_overturned
    assert withdrawn_lately(reviewed.control.read(), time.time()) == {"harvest": 1}
    changes = [each.what for each in reviewed.control.audit()]
    assert changes == ["shadow", "case", "letter", "appeal", "withdraw", "overturn"]


def test_overturned_key_is_free_of_its_campaign_too(reviewed: Reviewed) -> None:
    alert = reviewed.blocked_key()
    reviewed.campaign()
    written = reviewed.review.letter(KEY, "ann")
    ruling = reviewed.review.rule("overturned", written.letter.reference, *BY)
    assert {*ruling.alerts} == {alert.id, campaign_alert().id}
    assert reviewed.on(KEY).action == "observe"
    assert {reviewed.on(key).action for key in MEMBERS[1:]} == {"block"}
    cleared = reviewed.control.read().withdrawn_by_subject
    assert cleared[KEY]["campaign"].members == {*MEMBERS}
    assert CAMPAIGN not in cleared


def test_overturned_key_is_cleared_of_a_campaign_that_may_decide_later(reviewed: Reviewed) -> None:
    alert = reviewed.blocked_key()
    campaign = reviewed.alert(campaign_alert())
    written = reviewed.review.letter(KEY, "ann")
    assert "together with others" not in written.letter.text
    ruling = reviewed.review.rule("overturned", written.letter.reference, *BY)
    assert {*ruling.alerts} == {alert.id, campaign.id}
    reviewed.block(KEY, campaign, "campaign")
    assert reviewed.on(KEY).why == "withdrawn"


def test_overturned_member_leaves_the_campaign_as_it_is(reviewed: Reviewed) -> None:
    case = reviewed.campaign()
    reviewed.review.rule("overturned", case, *BY, subject=KEY)
    assert reviewed.on(KEY).action == "observe"
    assert {reviewed.on(key).action for key in MEMBERS[1:]} == {"block"}
    assert not reviewed.cases.case(case).is_overturned


def test_overturned_campaign_frees_all_members(reviewed: Reviewed) -> None:
    case = reviewed.campaign()
    ruling = reviewed.review.rule("overturned", CAMPAIGN, *BY)
    assert (ruling.case, ruling.subject, ruling.lifted) == (case, CAMPAIGN, [])
    assert {reviewed.on(key).action for key in MEMBERS} == {"observe"}
    assert reviewed.control.read().withdrawn_by_subject[CAMPAIGN]["campaign"].members == {*MEMBERS}


def test_overturned_campaign_leaves_other_decisions(reviewed: Reviewed) -> None:
    reviewed.campaign()
    reviewed.block(MEMBERS[1], key_alert(MEMBERS[1], "critical"))
    ruling = reviewed.review.rule("overturned", CAMPAIGN, *BY)
    assert (ruling.lifted, ruling.remaining) == ([], [MEMBERS[1]])
    assert reviewed.on(MEMBERS[1]).action == "block"


def test_overturning_a_key_deletes_what_a_person_decided(reviewed: Reviewed) -> None:
    reviewed.blocked_key()
    reviewed.control.decide(KEY, "block", 30 * DAY, *BY)
    written = reviewed.review.letter(KEY, "ann")
    assert "made by a person" in written.letter.text
    ruling = reviewed.review.rule("overturned", written.letter.reference, *BY)
    assert ruling.lifted == [KEY]
    assert reviewed.on(KEY).action == "observe"
    assert reviewed.store.in_force([KEY]) == [[]]


def test_key_of_an_overturned_account_alert_is_free_alone(reviewed: Reviewed) -> None:
    account = "a_" + "7" * 24
    alert = key_alert(account, "critical")
    subject = msgspec.structs.replace(alert.subject, type="account", members=MEMBERS)
    alert = reviewed.alert(msgspec.structs.replace(alert, subject=subject))
    for key in MEMBERS[:2]:
        reviewed.block(key, alert, "account")
    written = reviewed.review.letter(KEY, "ann")
    reviewed.review.rule("overturned", written.letter.reference, *BY)
    assert [reviewed.on(key).action for key in MEMBERS[:2]] == ["observe", "block"]
    assert KEY not in reviewed.control.read().withdrawn_by_subject


def test_interrupted_overturning_is_finished_by_the_same_command(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = reviewed.campaign()
    append = reviewed.cases.append

    def fail(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reviewed.cases, "append", fail)
    with pytest.raises(KeyboardInterrupt):
        reviewed.review.rule("overturned", case, *BY)
    assert {reviewed.on(key).action for key in MEMBERS} == {"observe"}
    monkeypatch.setattr(reviewed.cases, "append", append)
    reviewed.review.rule("overturned", case, *BY)
    rulings = [each for each in reviewed.cases.entries(case) if isinstance(each.body, Ruled)]
    assert len(rulings) == 1
    assert [each.what for each in reviewed.control.audit()].count("withdraw") == 1


@pytest.mark.parametrize("subject", ["", KEY])
def test_upheld_takes_an_overturning_back(reviewed: Reviewed, subject: str) -> None:
    case = reviewed.campaign()
    reviewed.review.rule("overturned", case, *BY, subject=subject)
    ruling = reviewed.review.rule("upheld", case, *BY, subject=subject)
    assert ruling.alerts == [campaign_alert().id]
    assert reviewed.control.read().withdrawn == {}
    assert {reviewed.on(key).action for key in MEMBERS} == {"block"}


def test_case_of_a_review_is_whole(reviewed: Reviewed) -> None:
    case = reviewed.campaign()
    reference = reviewed.review.letter(case, "ann", subject=KEY).letter.reference
    reviewed.review.appeal(reference, "No.", "bo")
    reviewed.review.rule("overturned", reference, *BY)
    kinds = [each.body.__struct_config__.tag for each in reviewed.cases.entries(case)]
    assert kinds == ["opened", "alert", "letter", "appeal", "ruling"]


def test_letter_after_a_closed_case_opens_another(reviewed: Reviewed) -> None:
    reviewed.campaign()
    first = reviewed.cases.open_case(KEY, "api_key", "INC-1", "ann")
    reviewed.cases.append(first, Closed("unclear", "INC-1"), "ann")
    assert reviewed.review.letter(KEY, "ann").case != first


def test_review_works_on_a_cluster(cluster_url: str) -> None:
    reviewed = Reviewed(cluster_url)
    case = reviewed.campaign()
    reference = reviewed.review.letter(case, "ann", subject=KEY).letter.reference
    reviewed.review.appeal(reference, "No.", "bo")
    reviewed.review.rule("overturned", reference, *BY)
    assert [reviewed.on(key).action for key in MEMBERS[:2]] == ["observe", "block"]
    reviewed.review.rule("upheld", reference, *BY)
    assert reviewed.on(KEY).action == "block"

"""Review of a case: the letter to a customer, the appeal against it, and what a person rules.

An overturned decision is lifted at once. The alerts behind it are withdrawn together with the
behaviour that they were about, so engine and linker find nothing in it until something new is seen
(`Cleared` in `monitor/alerting/enforcement.py`), and the key counts as ordinary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Literal

from monitor.alerting.alerts import Action, Alert
from monitor.alerting.changes import change_by
from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import OPERATOR, effective, withdrawal_name
from monitor.config import Settings
from monitor.errors import InputError, MonitorError
from monitor.evidence.case import Case
from monitor.evidence.entries import AlertSeen, Appealed, FactsTaken, Letter, Ruled
from monitor.evidence.facts import Facts, SubjectType
from monitor.evidence.rows import MONITOR
from monitor.evidence.store import CaseStore
from monitor.identity import is_pseudonym
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases.review.letter import DAY, Format, Measure, content_of, new_reference, render
from pipelines.cases.review.results import Recorded, Ruling, Written
from pipelines.inspect.withdrawal import Behaviours

ANNOUNCED: tuple[Action, ...] = ("throttle", "challenge", "block")
_LONGEST_TEXT = 4_000  # characters of what a customer answered
_TYPES: dict[str, SubjectType] = {
    "k": "api_key",
    "a": "account",
    "u": "end_user",
    "c": "campaign",
}


class Review:
    """Writes letters, records appeals and rules.

    Args:
        settings: of the deployment.
        cases: where cases are kept; with a key to sign.
        collect: collects the facts about a subject, for a case that is opened here.
    """

    def __init__(
        self, settings: Settings, cases: CaseStore, collect: Callable[[str], Facts] | None = None
    ) -> None:
        self._collect = collect
        self._settings = settings
        self._cases = cases
        self._control = ControlStore(settings.redis_url)
        self._book = AlertBook(settings.redis_url)
        self._store = RedisStore(settings.redis_url, settings.record_seconds)

    # Letters

    def letter(
        self,
        target: str,
        who: str,
        *,
        subject: str = "",
        action: Action | None = None,
        form: Format | None = None,
        again: bool = False,
    ) -> Written:
        """Write a letter, or return the last one on the same subject that has no ruling yet.

        Args:
            target: a case, or a subject; without a case one is opened.
            subject: the key or account to write about; of a campaign, one of its members.
            action: what was done; default: what is enforced now.
            form: see `render`.
            again: whether to write a new one in any case.

        Raises:
            InputError: if nothing is enforced, or the case has no such subject.
        """
        case = self._cases.case(self._case_for(target, who, action))
        subject = _subject_in(case, subject or (target if target in case.members else ""))
        answered = {each.reference for each in case.rulings}
        for each in reversed(case.letters):
            if each.subject == subject and each.reference not in answered and not again:
                return Written(case.id, each, False)
        measure = self._measure(subject, case.opened_at, action)
        kinds = {each.kind for each in self._alerts(case, subject)}
        reference, type = new_reference(), _TYPES[subject[0]]
        content = content_of(reference, type, kinds, measure, self._settings, time.time())
        letter = Letter(reference, subject, render(content, self._settings, form))
        change = change_by(who, "letter", case.id, f"Letter {reference} on {subject}.")
        self._cases.append(case.id, letter, who, change=change)
        return Written(case.id, letter, True)

    def _case_for(self, target: str, who: str, action: Action | None) -> str:
        """The case that is meant; one is opened for a key or account without an open one."""
        if not is_pseudonym(target):
            return self._cases.find(target)
        if (found := self._cases.open_case_of(target)) is not None:
            return found
        self._measure(target, 0.0, action)  # no case is opened without a decision
        if not self._about(target) and not self._in_force(target):
            raise InputError(f"Redis knows of no alert and no decision on {target}.")
        reason = "A letter about a decision is to be written."
        alert = next((each.id for each in self._about(target)), "")
        change = change_by(who, "case", target, reason)
        case = self._cases.open_case(
            target, _TYPES[target[0]], reason, who, alert=alert, change=change
        )
        for each in self._about(target):
            self._cases.append(case, AlertSeen(each), MONITOR, source=f"book:{each.id}")
        if self._collect is not None:
            with suppress(MonitorError):  # Redis has nothing on the subject but a decision
                self._cases.append(case, FactsTaken(self._collect(target)), MONITOR)
        return case

    def _about(self, subject: str) -> list[Alert]:
        """The alerts about a subject that Redis still has, the last ones of each."""
        return [each.alert for each in self._book.entries() if each.alert.subject.id == subject]

    def _measure(self, subject: str, opened_at: float, action: Action | None) -> Measure:
        """What was done to a subject, since then at the latest."""
        found = effective(
            self._in_force(subject),
            self._control.read(),
            time.time(),
            self._store.shadow() is not False,
        )
        by_person = found.decision is not None and found.decision.origin == OPERATOR
        since = found.decision.made_at if found.decision else opened_at
        if found.action in ANNOUNCED:
            return Measure(found.action, since, by_person)
        if action in ANNOUNCED:
            return Measure(action, since, by_person)
        raise InputError(
            f"Nothing that a customer notices is enforced on {subject} now. If it was, say what "
            f"with --action {'|'.join(ANNOUNCED)}."
        )

    # Appeals

    def appeal(
        self, reference: str, text: str, who: str, received_at: float | None = None
    ) -> Recorded:
        """Record an appeal.

        Args:
            text: the customer's answer, as whoever records it sums it up.
            received_at: wall-clock time, epoch seconds; default: now.

        Raises:
            InputError: if there is no such letter, or the text cannot be used.
        """
        case, letter, written = self._letter(reference)
        now = time.time()
        received = now if received_at is None else received_at
        if not written - DAY <= received <= now + DAY:
            raise InputError("The appeal was received before the letter was written, or later.")
        body = Appealed(letter.reference, checked_lines(text), received)
        why = f"Appeal against letter {letter.reference}."
        change = change_by(who, "appeal", case.id, why)
        self._cases.append(case.id, body, who, change=change)
        rules = self._settings.cases
        in_time = received <= written + rules.appeal_days * DAY
        return Recorded(case.id, body, in_time, received + rules.answer_days * DAY)

    def _letter(self, reference: str) -> tuple[Case, Letter, float]:
        """A letter, its case, and when it was written."""
        reference = reference.strip().upper()
        case = self._cases.case(self._cases.find(reference))
        for entry in reversed(case.entries):
            if isinstance(entry.body, Letter) and entry.body.reference == reference:
                return case, entry.body, entry.at
        raise InputError(f"There is no letter {reference}: it begins with R- as on the letter.")

    # Rulings

    def rule(
        self,
        result: Literal["upheld", "overturned"],
        target: str,
        who: str,
        why: str,
        *,
        subject: str = "",
    ) -> Ruling:
        """Uphold or overturn a decision. Interrupted, it can be called again.

        Args:
            target: a case, or the reference of a letter.
            subject: one member of a campaign; default: the letter's, or all of the case.
        """
        reference = ""
        if target.strip().upper().startswith("R-"):
            case, letter, _ = self._letter(target)
            reference, subject = letter.reference, letter.subject
        else:
            case = self._cases.case(self._cases.find(target))
            if subject or (target in case.members and target != case.subject):
                subject = _subject_in(case, subject or target)
            subject = subject or case.subject
            reference = _last_appeal(case, subject)
        change = change_by(who, "uphold" if result == "upheld" else "overturn", case.id, why)
        lifted: list[str] = []
        remaining: list[str] = []
        if result == "upheld":
            alerts = self._reinstate(case, subject, who, why)
        else:
            alerts, lifted, remaining = self._overturn(case, subject, who, why)
        about = "" if subject == case.subject else subject
        body = Ruled(result, change.why, reference, about, alerts)
        self._cases.append(case.id, body, who, change=change)
        return Ruling(case.id, subject, result, reference, alerts, lifted, remaining)

    def _overturn(
        self, case: Case, subject: str, who: str, why: str
    ) -> tuple[list[str], list[str], list[str]]:
        """Withdraw the alerts, then delete what a person decided because of the case."""
        behaviours, withdrawn = Behaviours(self._settings), self._control.read().withdrawn
        alerts = self._alerts(case, subject, listing=True)
        for alert in alerts:
            for_one = alert.subject.id != subject and not subject.startswith("c_")
            about = subject if for_one else alert.subject.id
            known = withdrawn.get(withdrawal_name(alert.id, subject if for_one else ""))
            if known is not None and (known.who, known.why) == (who, why):
                continue  # the ruling was interrupted
            behaviour = behaviours.of(alert)
            members = list(behaviour.members)
            if for_one and subject not in members:
                members.append(subject)
            self._control.withdraw(
                alert.id,
                about,
                alert.kind,
                alert.severity,
                who,
                why,
                requests=behaviour.requests,
                members=members,
                for_one=for_one,
            )
        subjects = case.members if subject == case.subject else [subject]
        subjects = [*dict.fromkeys([*subjects, subject])]
        lifted, remaining = [], []
        decided_here = {each.change.id for each in case.changes if each.change.what == "decide"}
        for each, decisions in self._still_held(subjects):
            mine = each == subject or any(d.reason in decided_here for d in decisions)
            if mine:
                self._control.delete(each, who, why)
                lifted.append(each)
            else:
                remaining.append(each)
        return [alert.id for alert in alerts], lifted, remaining

    def _still_held(self, subjects: list[str]) -> Iterator[tuple[str, list[ActiveDecision]]]:
        """Subjects with decisions that no withdrawal lifts, and these decisions."""
        subjects = [each for each in subjects if not each.startswith("c_")]
        control = self._control.read()
        held = self._store.in_force(subjects)
        for subject, decisions in zip(subjects, held, strict=True):
            left = [d for d in decisions if d is not None and not control.is_withdrawn(d)]
            if any(d.action != "observe" for d in left):
                yield subject, left

    def _reinstate(self, case: Case, subject: str, who: str, why: str) -> list[str]:
        """Take back what an earlier ruling on the subject withdrew."""
        about = "" if subject == case.subject else subject
        last = [each for each in case.rulings if each.subject == about]
        if not last or last[-1].result != "overturned":
            return []
        withdrawn, done = self._control.read().withdrawn, []
        for alert in last[-1].alerts:
            for key in ("", subject):
                if withdrawal_name(alert, key) in withdrawn:
                    self._control.reinstate(alert, who, why, key)
                    done.append(alert)
        return done

    def _alerts(self, case: Case, subject: str, *, listing: bool = False) -> list[Alert]:
        """The alerts behind the decisions on a subject, of the case and newer ones.

        For all of a campaign's case these are its own and those of members that the case has. For
        one key they are its own, and those of campaigns and accounts that led to decisions on it.

        Args:
            listing: whether open alerts of campaigns and accounts that list the key belong to them,
                because they may lead to a decision any time.
        """
        found = {
            id: each
            for id, each in case.alerts.items()
            if subject == case.subject or each.subject.id in (subject, case.subject)
        }
        reasons = {each.reason for each in self._in_force(subject)}
        for entry in self._book.entries():
            alert = entry.alert
            listed = listing and entry.is_open and _is_listed(subject, alert)
            if alert.id in found.keys() | reasons or alert.subject.id == subject or listed:
                found[alert.id] = alert
        return sorted(found.values(), key=lambda each: (each.window[0], each.id))

    def _in_force(self, subject: str) -> list[ActiveDecision]:
        return [each for each in self._store.in_force([subject])[0] if each is not None]


def checked_lines(text: str) -> str:
    """What a customer answered: lines of printable characters.

    Raises:
        InputError: if it is empty or too long.
    """
    lines = ["".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines()]
    text = "\n".join(lines).strip()
    if not 0 < len(text) <= _LONGEST_TEXT:
        raise InputError(
            f"The text must have 1 to {_LONGEST_TEXT:,} characters. Sum it up; the original stays "
            "where it arrived."
        )
    return text


def _is_listed(key: str, alert: Alert) -> bool:
    """Whether the alert of a campaign or an account lists a key."""
    return alert.subject.type in ("campaign", "account") and key in alert.subject.members


def _subject_in(case: Case, subject: str) -> str:
    """The subject of a letter or a ruling, which must be of the case."""
    subject = subject or (case.subject if case.type != "campaign" else "")
    if not subject:
        raise InputError(
            f"Case {case.id} is about a campaign of {len(case.members)} keys: name one of them "
            f"with --subject. `xm case show {case.id}` lists them."
        )
    if subject not in {case.subject, *case.members}:
        raise InputError(f"{subject} is no subject of case {case.id}.")
    return subject


def _last_appeal(case: Case, subject: str) -> str:
    """The reference of the last letter on a subject that has an appeal and no ruling."""
    ruled = {each.reference for each in case.rulings}
    appealed = {each.reference for each in case.appeals} - ruled
    letters: Iterable[Letter] = reversed(case.letters)
    return next(
        (
            each.reference
            for each in letters
            if each.subject == subject and each.reference in appealed
        ),
        "",
    )

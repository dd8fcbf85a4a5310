"""The page of a key, an account or an end user: what is found, beside what is ordinary; what is
decided; and what happened, also after it has ended."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from monitor.alerting.alerts import SEVERITIES
from monitor.alerting.enforcement import Allowance
from monitor.errors import StoreError
from monitor.identity import ACCOUNT_PREFIX, END_USER_PREFIX, is_pseudonym
from monitor.partition import Partition
from monitor.records.profile import SCALES, Profile
from monitor.sketches.habits import model_counts
from pipelines.console.access.tenants import theirs
from pipelines.console.access.viewer import Viewer
from pipelines.console.charts import series
from pipelines.console.forms import page_number
from pipelines.console.page import Console, Pages, Refused, blocking, console, render, viewer
from pipelines.console.pages.decide import held
from pipelines.console.traits import Trait
from pipelines.console.view.alerts import AlertMessage, AlertRow, alert_messages, list_alerts
from pipelines.console.view.campaigns import CampaignRow, campaigns_of
from pipelines.console.view.campaigns import Role as CampaignRole
from pipelines.console.view.history import AuditRow, DecisionRow, audit, decisions
from pipelines.console.view.keys import (
    INDEXED,
    KeyPage,
    KeyRow,
    count_with,
    find_key,
    identifiers_of,
    keys_of_account,
)
from pipelines.inspect.decisions import Applied
from pipelines.inspect.key import DetectorReport, Explanation
from pipelines.inspect.subjects.stored import explain_found, find_record
from pipelines.inspect.what_if import one_in

page = Pages()
log = logging.getLogger(__name__)

RARE = 0.01  # probability up to which a result is shown at once
USUAL = 0.5  # probability from which a result is nothing unusual
_MOST = 100  # alerts, decisions and changes that the timeline shows
_KEYS = 25  # of an account that are listed
_MANY = 1_000  # keys with an identifier that are counted
# Which part of the page shows which facts about the activity
_PARTS = {
    "conversation": ("follow-ups", "tiny last turns", "reused ids", "different end_users"),
    "networks": ("different addresses", "different user_agents"),
}


class Shared(NamedTuple):
    """An identifier of a key's latest fingerprint.

    Attributes:
        keys: how many keys have it; `None` for kinds that too many keys have.
    """

    trait: Trait
    keys: int | None


class Event(NamedTuple):
    """Something that happened to a subject. Times are epoch seconds."""

    at: float
    what: Literal["alert", "decision", "change"]
    row: AlertMessage | DecisionRow | AuditRow


class Use(NamedTuple):
    """A key's requests in numbers, as of its last one.

    Attributes:
        windows: requests and tokens in the time before, by its length.
        networks: shares of recent requests by usual network.
        gap: usual time between requests, seconds; 0 if unknown.
    """

    windows: list[tuple[str, float, float]]
    networks: list[tuple[str, float]]
    late: int
    reused: int
    gap: float


class Live(NamedTuple):
    """What Redis has about a subject at this moment.

    Attributes:
        explanation, use: `None` without a record.
        end_user_of: the key of an end user with an open alert; empty for others.
        open_case: its id.
        is_away: whether Redis does not answer.
    """

    explanation: Explanation | None = None
    use: Use | None = None
    end_user_of: str = ""
    applied: Applied | None = None
    allowance: Allowance | None = None
    open_case: str | None = None
    is_away: bool = False


class Subject(NamedTuple):
    """What is known about a key, an account or an end user.

    Attributes:
        keys: of the account; `None` for others.
        alerts: by id.
    """

    row: KeyRow | None
    live: Live
    traits: list[Shared]
    campaigns: list[tuple[CampaignRow, CampaignRole]]
    keys: KeyPage | None
    alerts: dict[str, AlertRow]
    events: list[Event]

    @property
    def is_known(self) -> bool:
        """Whether there is anything to show."""
        live = self.live
        found = self.row, live.explanation, live.applied, live.allowance
        known = any(each is not None for each in found) or live.is_away
        keys = self.keys is not None and self.keys.total
        return known or bool(self.events or self.campaigns or keys)


@page("/keys/{subject}", right="read")
async def key(request: Request) -> Response:
    """The page of a key, an account or an end user."""
    subject = request.path_params["subject"]
    works, person = console(request), viewer(request)
    number = page_number(request.query_params)
    known = is_pseudonym(subject)
    found = await blocking(collect, works, person, subject, number) if known else None
    if found is None or not found.is_known:
        raise Refused(404, works.words("key.unknown"))
    shown = _shown(works, found) | {"number": number, "size": _KEYS}
    return render(request, "key.html", subject=subject, found=found, many=_MANY, **shown)


def collect(works: Console, person: Viewer, subject: str, number: int = 1) -> Subject | None:
    """What is known about a subject; `None` if it is another tenant's.

    Args:
        number: of the page of its keys, if it is an account; from 1.
    """
    view, tenants = works.view, person.tenants
    row = find_key(view, subject, tenants)
    if row is None and subject not in theirs(view, person, [subject]):
        return None
    alerts = list_alerts(
        view, tenants, state="any", subjects=[subject], order="newest", limit=_MOST
    ).rows
    is_account = subject.startswith(ACCOUNT_PREFIX)
    return Subject(
        row=row,
        live=_live(works, subject),
        traits=_traits(works, person, subject),
        campaigns=campaigns_of(view, subject, tenants),
        keys=keys_of_account(view, subject, tenants, limit=_KEYS, offset=(number - 1) * _KEYS)
        if is_account
        else None,
        alerts={alert.id: alert for alert in alerts},
        events=_events(works, person, subject, alerts),
    )


def _live(works: Console, subject: str) -> Live:
    """What Redis has about a subject."""
    try:
        known = works.ordinary()
        found = find_record(works.store, subject, known.partitions)
        decision, allowance = held(works, subject)
        return Live(
            explanation=found
            and explain_found(works.store, subject, works.settings, *found, others=known.others),
            use=found and use_of(found[0]),
            end_user_of=_end_user_of(subject, known.partitions),
            applied=decision,
            allowance=allowance,
            open_case=works.cases.store.open_case_of(subject),
        )
    except StoreError as error:
        log.error("store_failed reason=%r", str(error))
        return Live(is_away=True)


def use_of(record: np.void) -> Use:
    """The requests of a key in numbers."""
    counts = Profile(np.array([record])).counts[0].tolist()
    requests, tokens = counts[: len(SCALES)], counts[len(SCALES) :]
    networks = model_counts(record["networks"], record["network_counts"])
    total = sum(networks.values()) or 1.0
    shares = {f"{name:08x}": count / total for name, count in networks.items()}
    gap = float(record["gap"])
    return Use(
        windows=list(zip(SCALES, requests, tokens, strict=True)),
        networks=sorted(shares.items(), key=lambda each: -each[1]),
        late=int(record["late"]),
        reused=int(record["reused_ids"]),
        gap=math.exp(gap) if gap else 0.0,
    )


def worst_of(explanation: Explanation) -> DetectorReport:
    """The report with the most severe open alert, or else the least probable one."""

    def rank(report: DetectorReport) -> tuple[int, float]:
        level = SEVERITIES.index(report.severity) if report.severity else -1
        return -level, report.probability

    return min(explanation.detectors, key=rank)


def _shown(works: Console, found: Subject) -> dict[str, Any]:
    """What the template shows of an explanation."""
    explanation = found.live.explanation
    if explanation is None:
        name = "refused.away" if found.live.is_away else "key.verdict.gone"
        return {"verdict": works.words(name)}
    activity = explanation.activity
    measures: dict[str, list[series.Measure]] = {"conversation": [], "networks": [], "prompts": []}
    for fact in activity.facts:
        part = next((part for part, names in _PARTS.items() if fact.name in names), "prompts")
        measures[part].append(series.measure(fact))
    reports = sorted(explanation.detectors, key=lambda report: report.probability)
    shown = [(each, one_in(each.probability), _evidence(each)) for each in reports]
    return {
        "verdict": _verdict(works, explanation),
        "worst": worst_of(explanation),
        "findings": [each for each in shown if is_rare(each[0])],
        "others": [each for each in shown if not is_rare(each[0])],
        "parts": measures,
        "last_day": series.last_day(activity, works.words("key.requests")),
        "rhythm": series.rhythm(activity, works.words("key.share")),
    }


def is_rare(report: DetectorReport) -> bool:
    """Whether a result is shown at once."""
    return report.severity is not None or report.probability <= RARE


def _evidence(report: DetectorReport) -> list[series.Measure]:
    """The evidence of a result, without what the key has as little of as others."""
    found = [series.measure(fact) for fact in report.facts if fact.shown]
    return [each for each in found if {each.value} != {*each.ordinary[1:3]}]


def _verdict(works: Console, explanation: Explanation) -> str:
    """The most severe open alert, or else the least probable result, in a sentence."""
    worst, words = worst_of(explanation), works.words
    chance, summary = _sentence(one_in(worst.probability)), _sentence(worst.summary)
    if worst.severity and worst.probability <= explanation.thresholds["info"]:
        return words("key.verdict.found", summary=summary, chance=chance)
    if worst.severity:
        kind = words.get(f"kind.{worst.kind}", worst.kind)
        return words("key.verdict.fading", kind=kind, chance=chance)
    if worst.probability < USUAL:
        return words("key.verdict.unusual", summary=summary, chance=chance)
    return words("key.verdict.usual")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _end_user_of(subject: str, partitions: dict[str, Partition]) -> str:
    """The key of an end user with an open alert."""
    if not subject.startswith(END_USER_PREFIX):
        return ""
    found = (each.end_users[subject] for each in partitions.values() if subject in each.end_users)
    return next(found, "")


def _traits(works: Console, person: Viewer, subject: str) -> list[Shared]:
    """The identifiers of a key, and how many keys have each."""
    view, tenants = works.view, person.tenants
    return [
        Shared(
            Trait(kind, hashed),
            count_with(view, kind, hashed, tenants, _MANY) if kind in INDEXED else None,
        )
        for kind, hashed in identifiers_of(view, subject).items()
    ]


def _events(works: Console, person: Viewer, subject: str, alerts: list[AlertRow]) -> list[Event]:
    """Alerts, decisions and changes, the newest first."""
    view, tenants = works.view, person.tenants
    changes = audit(view, tenants, subject=subject, limit=_MOST)
    by_people = {change.id for change in changes}
    messages = alert_messages(view, [alert.id for alert in alerts], tenants)
    found = [
        *(Event(each.detected_at, "alert", each) for each in messages),
        *(Event(each.at, "change", each) for each in changes),
        *(
            Event(each.at, "decision", each)
            for each in decisions(view, tenants, subject=subject, limit=_MOST)
            if each.reason not in by_people
        ),
    ]
    return sorted(found, key=lambda each: -each.at)[:_MOST]

"""The incident report, for management, counsel and regulators.

It says what happened, when, how much was taken, how surely, what was done and what is not known.
Every number has the entry of the case that it comes from.
"""

from __future__ import annotations

import math

from msgspec import structs

from monitor.evidence.entries import Appealed, Closed, FactsTaken, Opened, Ruled, Traced
from monitor.evidence.facts import Facts, FindingFact, MemberFact, Number
from pipelines.reports import history, pictures, words
from pipelines.reports.blocks import (
    Block,
    Column,
    Document,
    Items,
    Pair,
    Pairs,
    Picture,
    Row,
    Section,
    Sources,
    Table,
    Text,
    cited,
)
from pipelines.reports.evidence import Evidence
from pipelines.reports.in_force import InForce, in_force
from pipelines.reports.traces import traced

METHOD = (
    "A number in brackets names the entry of the case file that a statement comes from. Each entry "
    "is signed and contains the SHA-256 of the entry before it. The command xm case verify checks "
    "them."
)
_SURE = 0.95  # probability from which a key is named as a member
_LARGEST = 10  # members that are listed
_MOMENTS = 40  # of the timeline that are listed
_SHARE = "share_of_traffic"
_NUMBERS = 8  # of a finding that are listed
_PLAIN = {  # of a campaign: what it is, unit; the others are for people who know the monitor
    "own_alerts": ("members with an alert of their own", "count"),
    "accused_share": ("members with a serious alert of their own", "share"),
    "distinct_prompts": ("different prompts of all members together", "count"),
    "repeats": ("prompts of a typical member that it had sent before", "share"),
    "follow_ups": ("requests of a typical member that continue a conversation", "share"),
    "end_users": ("end users of a typical member", "count"),
    "requests_an_hour": ("requests per hour of a typical member", "count"),
}
_TECHNICAL = {"nats", "octaves"}  # units
_COPYING = {"campaign", "combined", "coverage", "elicitation", "harvest", "templates"}


def incident(evidence: Evidence, applies: InForce | None = None) -> Document:
    """The incident report on a case.

    Args:
        applies: what of the decisions is in force; `None` if it was not looked up.
    """
    case, facts = evidence.case, evidence.facts
    sections = [Section("Summary", _summary(evidence))]
    if facts is not None:
        sections.append(Section("What happened", _happened(evidence, facts)))
    sections.append(Section("When", _when(evidence)))
    sections.append(Section("How much was taken", _amount(evidence)))
    sections.append(Section("How sure this is", _sure(evidence)))
    sections.append(Section("What was done", _done(evidence, applies)))
    if case.traces:
        sections.append(Section("Tests of suspect models", traced(evidence)))
    sections.append(Section("What is not known", [Items(unknown(evidence))]))
    return Document(
        title=f"Incident report {case.id}",
        subject=f"{_about(evidence)}. Case as of {words.moment(case.changed_at)}.",
        sections=sections,
        sources=[
            *([applies.source] if applies is not None else []),
            *evidence.sources({*cited(sections), *evidence.opening, evidence.head.number}),
        ],
        subject_sources=(*evidence.opening, evidence.head.number),
        warning=warning(evidence),
        method=METHOD,
    )


def warning(evidence: Evidence) -> str:
    """What a reader has to know first; empty without."""
    case = evidence.case
    if case.is_overturned:
        return (
            "A person has overturned the decision: this is regarded as a false alarm. "
            "See the section on what was done."
        )
    if case.outcome in ("not extraction", "duplicate"):
        return f"The case was closed as: {case.outcome}."
    if evidence.facts is None:
        return "No facts have been collected yet. This report is incomplete."
    return ""


def _about(evidence: Evidence) -> str:
    subject = words.SUBJECTS[evidence.case.type]
    return f"{subject[:1].upper()}{subject[1:]} {evidence.case.subject}"


def _summary(evidence: Evidence) -> list[Block]:
    case, facts = evidence.case, evidence.facts
    blocks: list[Block] = []
    if facts is not None:
        source = evidence.facts_source
        blocks.append(Text(_sentence(evidence, facts), source))
        if facts.severity is not None:
            severity = words.SEVERITIES[facts.severity]
            blocks.append(Text(f"The monitor rates this as {severity}.", source))
    else:
        blocks.append(Text(f"The case was opened for this reason: {case.reason}", evidence.opening))
    opened = f"{words.moment(case.opened_at)} by {case.opened_by}"
    status = Pair("Status of the case", case.status, (evidence.head.number,))
    if case.outcome:
        closing = evidence.last(Closed)
        status = Pair("Status of the case", f"closed: {case.outcome}", closing)
    blocks.append(Pairs([Pair("Case opened", opened, evidence.opening), status]))
    return blocks


def _sentence(evidence: Evidence, facts: Facts) -> str:
    """Who did what, in one sentence."""
    amount = words.count(facts.requests, "request")
    if facts.tokens:
        amount += f" with {words.count(facts.tokens, 'token')}"
    span = f"Between {words.moment(facts.first_seen)} and {words.moment(facts.last_seen)}"
    if facts.type == "campaign":
        who = f"{words.members(_members(facts))} that acted together"
    else:
        who = f"one {words.SUBJECTS[facts.type]}"
    copying = any(each.kind in _COPYING for each in facts.findings)
    pattern = "fits the copying of a model" if copying else "is unusual"
    return f"{span}, {who} sent {amount}. The pattern {pattern}."


def _happened(evidence: Evidence, facts: Facts) -> list[Block]:
    if not facts.findings:
        return [Text("The facts contain no finding.", evidence.facts_source)]
    blocks: list[Block] = []
    for each in sorted(facts.findings, key=lambda each: each.opened_at):
        blocks.append(Text(f"{words.kind(each.kind)}. {each.statement}", evidence.facts_source))
        table = numbers(plain_numbers(each), evidence.facts_source)
        if table.rows:
            blocks.append(table)
    return [*blocks, Text("All measured numbers are in the case file.", evidence.facts_source)]


def plain_numbers(finding: FindingFact) -> list[Number]:
    """The numbers of a finding that need no explanation, those known of ordinary keys first."""
    if finding.kind == "campaign":
        found = {each.name: each for each in finding.numbers}
        return [
            structs.replace(found[name], label=label, unit=unit)
            for name, (label, unit) in _PLAIN.items()
            if name in found
        ]
    plain = [
        each
        for each in finding.numbers
        if each.unit not in _TECHNICAL and each.name != "probability"
    ]
    return sorted(plain, key=lambda each: each.median is None)[:_NUMBERS]


def numbers(stated: list[Number], source: Sources) -> Table:
    """The numbers of a finding beside what is ordinary."""
    compared = any(each.median is not None or each.p999 is not None for each in stated)
    columns = [Column("Measured", 40 if compared else 68), Column("Here", 18, right=True)]
    if compared:
        columns.append(Column("Half of ordinary keys are below", 16, right=True))
        columns.append(Column("1 in 1,000 ordinary keys is above", 16, right=True))
    rows = []
    for each in stated:
        values = [each.value, each.median, each.p999] if compared else [each.value]
        label = each.label or each.name.replace("_", " ")
        rows.append(Row([label, *(words.number(value, each.unit) for value in values)], source))
    return Table(columns, rows)


def _when(evidence: Evidence) -> list[Block]:
    facts, source = evidence.facts, evidence.facts_source
    blocks: list[Block] = []
    if facts is not None:
        rows = [
            Pair("First request", words.moment(facts.first_seen), source),
            Pair("Last request", words.moment(facts.last_seen), source),
            Pair("Facts collected up to", words.moment(facts.at), source),
        ]
        if facts.first_seen and facts.last_seen:
            rows.insert(2, Pair("Time between them", _span(facts), source))
        blocks.append(Pairs(rows))
        picture = pictures.growth(facts)
        if picture:
            caption = "Number of keys that had been used, over time."
            blocks.append(Picture(picture, caption, source))
    return blocks + history.timeline(evidence, _MOMENTS, of_members=False)


def _span(facts: Facts) -> str:
    return words.duration(facts.last_seen - facts.first_seen)


def _amount(evidence: Evidence) -> list[Block]:
    facts, source = evidence.facts, evidence.facts_source
    if facts is None:
        return [Text("Not known: no facts have been collected.")]
    rows = [Pair("Requests", f"{facts.requests:,}", source)]
    tokens = f"{facts.tokens:,}" if facts.tokens else words.UNKNOWN
    meaning = "those of requests and of responses together, as the gateway counted them"
    rows.append(Pair("Tokens", tokens, source, meaning))
    share, cited_in = share_of_traffic(evidence)
    label = share.label if share is not None else ""
    value = words.number(share.value, "share") if share is not None else words.UNKNOWN
    rows.append(Pair("Share of all traffic", value, cited_in, label))
    members = _members(facts)
    if facts.type == "campaign":
        rows.append(Pair("Members", words.members(members), source))
    if not facts.complete:
        missing = "the record of the stream does not reach back to the first request"
        rows.append(Pair("Completeness", "at least these amounts", source, missing))
    blocks: list[Block] = [Pairs(rows)]
    if len(members) > 1:
        largest = sorted(members, key=lambda each: (-each.requests, each.key))[:_LARGEST]
        rest = len(members) - len(largest)
        blocks.append(_largest(largest, source))
        if rest:
            these = f"These are the {len(largest)} members with the most requests."
            blocks.append(Text(f"{these} The case file has the other {rest:,}, too.", source))
    return blocks


def share_of_traffic(evidence: Evidence) -> tuple[Number | None, Sources]:
    """The subject's share of all requests, from the last facts that have it."""
    found: tuple[Number | None, Sources] = None, evidence.facts_source
    for entry, taken in evidence.of(FactsTaken):
        for finding in taken.facts.findings:
            for each in finding.numbers:
                if each.name == _SHARE:
                    found = each, (entry.number,)
    return found


def _members(facts: Facts) -> list[MemberFact]:
    return [each for each in facts.members if each.role == "member"]


def _largest(members: list[MemberFact], source: Sources) -> Table:
    rows = [
        Row(
            [
                each.key,
                f"{each.requests:,}",
                f"{each.tokens:,}" if each.tokens else words.UNKNOWN,
                words.moment(each.first_seen).removesuffix(" UTC"),
                words.moment(each.last_seen).removesuffix(" UTC"),
            ],
            source,
        )
        for each in members
    ]
    columns = [
        Column("Key or account (pseudonym)", 30, code=True),
        Column("Requests", 11, right=True),
        Column("Tokens", 12, right=True),
        Column("First request, UTC", 19),
        Column("Last request, UTC", 19),
    ]
    return Table(columns, rows)


def _sure(evidence: Evidence) -> list[Block]:
    facts, source = evidence.facts, evidence.facts_source
    if facts is None:
        return [Text("Not known: no facts have been collected.")]
    blocks: list[Block] = []
    rows = [
        Row(
            [
                words.kind(each.kind),
                words.SEVERITIES[each.severity] if each.severity else "no alert",
                words.odds(each.probability),
            ],
            source,
        )
        for each in sorted(facts.findings, key=lambda each: each.probability)
    ]
    if rows:
        blocks.append(
            Text(
                "How likely the same is without any copying. For a key: that an ordinary key shows "
                "it within a day. For a group: that a random group of as many keys is as alike. "
                "What is measured of ordinary traffic supports no smaller chance than the limit "
                "that the table states."
            )
        )
        columns = [
            Column("What was found", 50),
            Column("Rated as", 16),
            Column("Chance without copying", 22, right=True),
        ]
        blocks.append(Table(columns, rows))
    members = _members(facts)
    if facts.type == "campaign" and members:
        sure = sum(each.confidence >= _SURE for each in members)
        beside = sum(each.role == "bystander" for each in facts.members)
        least = math.floor(100 * min(each.confidence for each in members))
        pairs = [
            Pair("Members that belong to the group with at least 95%", f"{sure:,}", source),
            Pair("Least sure member", f"{least}%", source),
            Pair(
                "Keys left out",
                f"{beside:,}",
                source,
                "they share an identifier with members but behave differently",
            ),
        ]
        blocks.append(Pairs(pairs))
    replay = (
        "The stream of requests that the case rests on is recorded from the first request on. "
        "A replay of it must give the same numbers, see the command xm case reproduce."
        if facts.complete and facts.stream
        else "The stream that the case rests on is not recorded in full. A replay cannot confirm "
        "all numbers."
    )
    return [*blocks, Text(replay, source)]


def _done(evidence: Evidence, applies: InForce | None) -> list[Block]:
    blocks = history.decided(evidence)
    if applies is not None:
        blocks += in_force(applies)
    blocks += history.review(evidence, texts=False)
    for entry, body in evidence.of(Closed):
        sentence = f"{words.moment(entry.at)}: {entry.who} closed the case as {body.outcome}."
        blocks.append(Text(f"{sentence} Reason: {body.reason}", (entry.number,)))
    return blocks


def unknown(evidence: Evidence) -> list[Text]:
    """What the case does not show. Every report says it."""
    case, facts, source = evidence.case, evidence.facts, evidence.facts_source
    found = [
        Text(
            "Who is behind the keys. The case contains pseudonyms only. The provider finds the "
            "customers with its own records."
        ),
        Text(
            "What was asked and answered. No prompt and no response is kept. The findings rest on "
            "measurements of them."
        ),
        Text(
            "Which decisions were in force at which time. The case records what was decided, not "
            "what the gateway did. In shadow mode, decisions are recorded and not enforced."
        ),
    ]
    if facts is None:
        return [Text("All facts: none have been collected yet.", evidence.last(Opened)), *found]
    if not facts.tokens:
        found.append(Text("The number of tokens. The gateway did not report them.", source))
    if share_of_traffic(evidence)[0] is None:
        found.append(Text("The share of all traffic. The facts do not contain it.", source))
    if not facts.complete:
        found.append(Text("What happened before the recorded part of the stream begins.", source))
    if not facts.stream:
        found.append(Text("The offsets of the stream, so nothing can be replayed.", source))
    traced = evidence.last(Traced)
    if traced:
        found.append(Text("Whether other models than the tested ones were trained.", traced))
    else:
        found.append(
            Text("Whether a model was trained with the responses. No suspect model was tested.")
        )
    beside = sum(each.role == "bystander" for each in facts.members)
    if beside:
        keys = words.count(beside, "key")
        found.append(
            Text(f"Whether {keys} that share an identifier with members took part.", source)
        )
    ruled = {ruling.reference for ruling in case.rulings}
    open_appeals = [
        entry.number for entry, appeal in evidence.of(Appealed) if appeal.reference not in ruled
    ]
    if open_appeals:
        found.append(Text("How the open appeals will be decided.", tuple(open_appeals)))
    if not evidence.last(Ruled):
        found.append(
            Text("Whether a review by a person would confirm the decision: none is recorded.")
        )
    return found

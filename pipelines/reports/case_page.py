"""The case page: everything that a case file contains, to read. It is part of every bundle."""

from __future__ import annotations

from monitor.evidence.entries import AlertSeen
from monitor.evidence.facts import Facts, MemberFact
from pipelines.reports import history, pictures, words
from pipelines.reports.blocks import (
    Block,
    Column,
    Document,
    Pair,
    Pairs,
    Picture,
    Row,
    Section,
    Source,
    Sources,
    Table,
    Text,
)
from pipelines.reports.evidence import Evidence, describe
from pipelines.reports.incident import numbers, plain_numbers, warning
from pipelines.reports.traces import traced

_METHOD = (
    "All entries of the case, in order. A number in brackets names the entry that a statement "
    "comes from. The SHA-256 is that of the entry as it is stored, with its signature. Each entry "
    "contains the SHA-256 of the entry before it."
)
_STRENGTH = (
    "Strength is the natural logarithm of how much more likely the observation is among members "
    "than among other keys: 3 means 20 times."
)
_NATS = (
    "For people who know the monitor. A nat is the unit of strength: 3 nats mean 20 times more "
    "likely. An octave is a factor of 2."
)
_STRONGEST = 3  # ties that are listed per member
_DRAWN = (
    "Keys of the group as dots, red if they belong to it with at least 95%, and keys left out as "
    "circles outside. Inside are the identifiers that they share, with their number in the table."
)


def case_page(evidence: Evidence) -> Document:
    """Everything that a case contains."""
    facts = evidence.facts
    sections = [Section("Case", [Pairs(_head(evidence))])]
    if facts is not None:
        sections += _of_facts(evidence, facts)
    sections.append(Section("Timeline", history.timeline(evidence)))
    alerts = _alerts(evidence)
    if alerts.rows:
        sections.append(Section("Alerts", [alerts], wide=True))
    sections.append(Section("Decisions and changes", history.decided(evidence)))
    sections.append(Section("Letters, appeals and rulings", history.review(evidence, texts=True)))
    for title, blocks in (
        ("Notes", history.notes(evidence)),
        ("Tests of suspect models", traced(evidence)),
    ):
        if blocks:
            sections.append(Section(title, blocks))
    if facts is not None:
        sections += _origin(evidence, facts)
    return Document(
        title=f"Case file {evidence.case.id}",
        subject=f"As of entry {evidence.head.number}, {words.moment(evidence.case.changed_at)}.",
        sections=sections,
        subject_sources=(evidence.head.number,),
        sources=[
            Source(entry.number, describe(entry), evidence.digests[entry.number])
            for entry in evidence.case.entries
        ],
        warning=warning(evidence),
        method=_METHOD,
    )


def _head(evidence: Evidence) -> list[Pair]:
    case, opening = evidence.case, evidence.opening
    status = f"{case.status}: {case.outcome}" if case.outcome else case.status
    head = evidence.head
    return [
        Pair("Subject", case.subject, opening, words.SUBJECTS[case.type]),
        Pair("Opened", f"{words.moment(case.opened_at)} by {case.opened_by}", opening),
        Pair("Reason", case.reason, opening),
        Pair("Status", status, (head.number,)),
        Pair("Entries", f"{len(case.entries):,}", (head.number,)),
        Pair("SHA-256 of the last entry", evidence.digests[head.number], (head.number,)),
    ]


def _of_facts(evidence: Evidence, facts: Facts) -> list[Section]:
    source = evidence.facts_source
    found: list[Block] = [Text(facts.statement, source)]
    found.append(
        Pairs(
            [
                Pair("Facts as of", words.moment(facts.at), source),
                Pair("Requests", f"{facts.requests:,}", source),
                Pair("Tokens", f"{facts.tokens:,}" if facts.tokens else words.UNKNOWN, source),
                Pair("First request", words.moment(facts.first_seen), source),
                Pair("Last request", words.moment(facts.last_seen), source),
            ]
        )
    )
    for each in facts.findings:
        severity = words.SEVERITIES[each.severity] if each.severity else "no alert"
        chance = f"Chance without copying: {words.odds(each.probability)}."
        title = f"{words.kind(each.kind)} ({each.kind}, {severity})."
        times = f"Opened {words.moment(each.opened_at)}, last {words.moment(each.confirmed_at)}."
        found.append(Text(f"{title} {each.statement} {chance} {times}", source))
        table = numbers(plain_numbers(each), source)
        if table.rows:
            found.append(table)
    sections = [Section("What was found", found)]
    members = [each for each in facts.members if each.role == "member"]
    beside = [each for each in facts.members if each.role == "bystander"]
    whole, cited_in = evidence.whole_facts
    if whole is not None and (picture := pictures.graph(whole)):
        graph: list[Block] = [Picture(picture, _DRAWN, cited_in)]
        if whole.shared:
            graph.append(_shared(whole, cited_in))
        sections.append(Section("What the keys share", graph))
    if members:
        blocks: list[Block] = [Text(_STRENGTH), _keys(members, source)]
        sections.append(Section("Keys of the group", blocks, wide=True))
    if beside:
        why = "They share an identifier with the group but behave differently. Nothing is decided."
        sections.append(Section("Keys left out", [Text(why), _keys(beside, source)], wide=True))
    return sections


def _shared(facts: Facts, source: Sources) -> Table:
    drawn = pictures.drawn_hubs(facts)
    rows = [
        Row(
            [
                str(drawn.get(each.id, "")),
                words.tie(each.kind),
                each.id,
                f"{each.members:,}",
                f"{each.others:,}",
                f"{each.nats:.1f}",
            ],
            source,
        )
        for each in sorted(facts.shared, key=lambda each: drawn.get(each.id, len(drawn) + 1))
    ]
    columns = [
        Column("No.", 6, right=True),
        Column("What", 20),
        Column("Identifier (pseudonym)", 32, code=True),
        Column("Members", 11, right=True),
        Column("Others", 11, right=True),
        Column("Strength", 11, right=True),
    ]
    return Table(columns, rows)


def _keys(members: list[MemberFact], source: Sources) -> Table:
    rows = [
        Row(
            [
                each.key,
                f"{100 * each.confidence:.1f}%",
                f"{each.requests:,}",
                f"{each.tokens:,}" if each.tokens else words.UNKNOWN,
                words.moment(each.first_seen).removesuffix(" UTC"),
                words.moment(each.last_seen).removesuffix(" UTC"),
                words.SEVERITIES[each.own_alert] if each.own_alert else "none",
                _ties(each),
            ],
            source,
        )
        for each in members
    ]
    columns = [
        Column("Key or account (pseudonym)", 17, code=True),
        Column("Sure", 6, right=True),
        Column("Requests", 8, right=True),
        Column("Tokens", 8, right=True),
        Column("First request, UTC", 12),
        Column("Last request, UTC", 12),
        Column("Own alert", 8),
        Column("What ties it to the others, strength", 23),
    ]
    return Table(columns, rows)


def _ties(member: MemberFact) -> str:
    strongest = sorted(member.nats.items(), key=lambda each: -each[1])[:_STRONGEST]
    return ", ".join(f"{words.tie(name)} {nats:.1f}" for name, nats in strongest if nats > 0)


def _alerts(evidence: Evidence) -> Table:
    rows = [
        Row(
            [
                words.moment(seen.alert.detected_at),
                seen.alert.id,
                seen.alert.state,
                f"{words.kind(seen.alert.kind)} ({words.SEVERITIES[seen.alert.severity]})",
                seen.alert.summary,
            ],
            (entry.number,),
        )
        for entry, seen in evidence.of(AlertSeen)
    ]
    columns = [
        Column("Detected", 12),
        Column("Alert", 17, code=True),
        Column("State", 9),
        Column("What", 22),
        Column("Summary", 33),
    ]
    return Table(columns, rows)


def _origin(evidence: Evidence, facts: Facts) -> list[Section]:
    """What the facts depend on: versions, settings and the stream."""
    source, versions = evidence.facts_source, facts.versions
    rows = [
        Pair("Program", versions.program, source),
        Pair("Baseline of ordinary keys", versions.reference, source),
        Pair("Model of contents", versions.content, source),
        Pair("Model of tasks", versions.tasks, source),
        Pair("Weights for campaigns", versions.campaigns, source),
        Pair("Settings", versions.settings, source),
    ]
    rows += [Pair(name, str(value), source) for name, value in sorted(versions.detection.items())]
    sections = [Section("Versions and settings", [Pairs(rows)])]
    for each in facts.findings:
        stated = [number for number in each.numbers if number.name != "probability"]
        if len(stated) > len(plain_numbers(each)):
            title = f"All measured numbers: {words.kind(each.kind)}"
            sections.append(Section(title, [Text(_NATS), numbers(stated, source)]))
    if facts.stream:
        stream = [
            Row(
                [each.topic, f"{each.partition:,}", f"{each.first:,}", f"{each.end:,}"],
                source,
            )
            for each in facts.stream
        ]
        columns = [
            Column("Topic", 40),
            Column("Partition", 14, right=True),
            Column("First offset", 18, right=True),
            Column("Up to, not with", 18, right=True),
        ]
        sections.append(Section("Stream", [Table(columns, stream)]))
    return sections

"""The documents of a case: for a bundle, and the incident report."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import msgspec

from monitor.evidence.entries import Entry
from monitor.evidence.facts import Facts
from pipelines.reports import pictures, render
from pipelines.reports.blocks import shortened
from pipelines.reports.case_page import case_page
from pipelines.reports.evidence import Evidence, evidence_of
from pipelines.reports.in_force import InForce
from pipelines.reports.incident import incident

_PRINTED = 1_000  # rows of a table in the PDF: some 20 s and 80 pages for as many keys


class RecordedEntry(msgspec.Struct, frozen=True):
    """An entry in `case.json`, with the SHA-256 of its stored line."""

    entry: Entry
    sha256: str


def documents(
    entries: Sequence[tuple[Entry, str]], applies: InForce | None = None
) -> dict[str, bytes]:
    """The documents of a bundle, by file name. The same entries give the same bytes.

    Args:
        entries: each with the SHA-256 of its stored line, hexadecimal.
        applies: what of the decisions is in force; `None` if it was not looked up.
    """
    evidence = evidence_of(entries)
    whole = case_page(evidence)
    printed = shortened(whole, _PRINTED, "case.html and case.json")
    found = {
        "case.json": _case_json(entries),
        "case.html": render.html(whole).encode(),
        "case.pdf": render.pdf(render.html(printed)),
    }
    report = incident(evidence, applies)
    page = render.html(report)
    found |= {
        "incident.html": page.encode(),
        "incident.md": render.markdown(report).encode(),
        "incident.pdf": render.pdf(page),
    }
    facts, _ = evidence.whole_facts
    if facts is not None:
        found["graph.graphml"] = graphml(facts)
        if picture := pictures.graph(facts):
            found["graph.svg"] = picture.encode()
    return found


def incident_report(evidence: Evidence, applies: InForce | None, kind: str) -> bytes:
    """The incident report as `md`, `html` or `pdf`."""
    report = incident(evidence, applies)
    if kind == "md":
        return render.markdown(report).encode()
    page = render.html(report)
    return render.pdf(page) if kind == "pdf" else page.encode()


def _case_json(entries: Sequence[tuple[Entry, str]]) -> bytes:
    recorded = [RecordedEntry(entry, digest) for entry, digest in entries]
    return msgspec.json.format(msgspec.json.encode(recorded), indent=1) + b"\n"


def graphml(facts: Facts) -> bytes:
    """The keys of a case and what they share as GraphML, which Gephi and NetworkX read."""
    import networkx as nx

    found: Any = nx.Graph(id=facts.subject)
    found.add_node(facts.subject, kind=facts.type, requests=facts.requests, tokens=facts.tokens)
    nats = {each.id: each.nats for each in facts.shared}
    for shared in facts.shared:
        found.add_node(
            shared.id,
            kind=shared.kind,
            members=shared.members,
            others=shared.others,
            nats=shared.nats,
        )
    for member in facts.members:
        found.add_node(
            member.key,
            kind=member.role,
            confidence=member.confidence,
            requests=member.requests,
            tokens=member.tokens,
            first_seen=member.first_seen,
            last_seen=member.last_seen,
            alert=member.own_alert or "",
        )
        if member.role == "member" and member.key != facts.subject:
            weight = sum(member.nats.values())
            found.add_edge(facts.subject, member.key, weight=weight, **member.nats)
        found.add_weighted_edges_from(
            (member.key, each, nats[each]) for each in member.shares if each in nats
        )
    file = BytesIO()
    nx.write_graphml(found, file, encoding="utf-8", prettyprint=True)
    return file.getvalue()

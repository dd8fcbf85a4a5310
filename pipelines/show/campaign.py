"""Show one campaign as a page: reason, evidence, growth, shared identifiers, members."""

from __future__ import annotations

from collections import Counter, defaultdict

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from monitor.campaigns.imported import ImportSeen
from pipelines.inspect.campaign import CampaignDetail, Member, SharedIdentifier
from pipelines.inspect.campaigns import SHORT
from pipelines.inspect.criteria import CriterionResult
from pipelines.show.style import (
    SEVERITY_STYLES,
    add_columns,
    axis_width,
    block_chart,
    count,
    date_time,
    number,
    short,
    table,
)

_ROWS = 4  # of the chart
_MEMBERS = 20  # that are listed
_VALUES = 5  # of a kind of identifier that are listed
_WIDE = 110  # columns of a console on which the table of members is complete
_STRONGEST = 3  # kinds of evidence that are listed per member
_LEAST_NATS = 0.05  # of evidence that is listed
_LABELS = {  # by kind of evidence, where its name is not plain
    "direction": "prompts",
    "likeness": "distillation list",
    "born": "first seen",
    "pace": "request rate",
    "even": "steadiness",
    "variety": "prompt variety",
    "system": "system prompt",
    "tls_fingerprint": "TLS",
    "tls": "TLS",
    "imported": "partners' indicators",
    "user_agent": "user agent",
}


def show(detail: CampaignDetail, console: Console | None = None) -> None:
    """Print the detail of a campaign."""
    console = console or Console()
    console.print(_header(detail))
    heading = "why" if detail.summary.severity else "why not"
    _part(console, heading, _criteria(detail.criteria))
    _part(console, "evidence", _evidence(detail))
    if detail.timeline:
        _part(console, "growth", _chart(detail, min(console.width, 100)), _timeline(detail))
    if detail.shared:
        _part(console, "shared identifiers", _identifiers(detail.shared))
    if detail.imported:
        _part(console, "indicators of partners", _imported(detail.imported))
    if detail.members:
        _part(console, "members", _members(detail, wide=console.width >= _WIDE))
    if len(detail.members) > _MEMBERS:
        more = len(detail.members) - _MEMBERS
        console.print(Text(f"… and {more:,} more: --json lists all of them.\n", "dim"))
    if detail.bystanders:
        heading = "bystanders: they share a rare identifier but do not behave like members"
        _part(console, heading, _bystanders(detail))


def _part(console: Console, heading: str, *parts: Table | Text) -> None:
    console.print(Rule(heading, align="left", style="dim"))
    for part in parts:
        console.print(part)
    console.print()


def sentence(detail: CampaignDetail) -> str:
    """The campaign in one sentence."""
    summary = detail.summary
    numbers = f"{count(summary.requests, 'request')} and {count(summary.tokens, 'token')}"
    if summary.state == "none":
        keys = count(summary.members, "similar key")
        return f"{keys}, {numbers}. This is no campaign: {summary.reason}."
    keys = count(summary.members, "coordinated key")
    if summary.state == "merged":
        return f"{keys}, {numbers}; {summary.reason} at {date_time(summary.ended)} UTC."
    return f"{keys}, {numbers}; {summary.reason}."


def _header(detail: CampaignDetail) -> Text:
    summary = detail.summary
    text = Text(summary.id, "bold")
    if summary.severity is not None:
        text.append(f"  {summary.severity}", f"not bold {SEVERITY_STYLES[summary.severity]}")
        text.append(f" since {date_time(summary.since)} UTC", "not bold")
    else:
        text.append(f"  found {date_time(summary.since)} UTC", "not bold")
    if summary.state == "over":
        text.append(f", over since {date_time(summary.ended)} UTC", "not bold")
    text.append(f"\n{sentence(detail)}\n", "not bold")
    if summary.state == "open":
        requests = count(summary.last_hour, "request")
        text.append("Decision: ", "not bold").append(summary.decision, "bold")
        text.append(f" all members. {requests} in the last complete hour.\n", "not bold")
    return text


def _criteria(results: list[CriterionResult]) -> Table | Text:
    """Each criterion with the group's value, its nats and what the number is, strongest first."""
    if not results:
        return Text("It has fewer than two sure members.")
    rows = table()
    add_columns(rows, "")
    add_columns(rows, "value", "for a campaign", "nats", numbers=True)
    rows.add_column("")
    for each in sorted(results, key=lambda each: -each.nats):
        mark = Text("✓", "green") if each.met else Text("✗", "red")
        value = "unknown" if each.value is None else number(each.value)
        what = f"{each.measures}, {each.unit}".removesuffix(", ")
        bound = f"{each.comparison} {number(each.bound)}"
        rows.add_row(mark, value, bound, f"{each.nats:+.1f}", what)
    return rows


def _evidence(detail: CampaignDetail) -> Table:
    """Mean evidence per member by kind, as bars."""
    rows = table()
    add_columns(rows, "")
    add_columns(rows, "nats per member", numbers=True)
    add_columns(rows, "")
    for kind, nats in sorted(detail.evidence.items(), key=lambda each: -each[1]):
        if abs(nats) < _LEAST_NATS:
            continue
        bar = "━" * round(abs(nats) * 5)
        rows.add_row(evidence_label(kind), f"{nats:+.1f}", Text(bar, "blue" if nats > 0 else "red"))
    return rows


def _chart(detail: CampaignDetail, width: int) -> Text:
    """Members over time, from when the group was found until its end or now."""
    begin, end = detail.found, detail.summary.ended or detail.until
    most = max(entry.members for entry in detail.timeline)
    axis = axis_width(most)
    columns = width - axis - 1
    step = max(end - begin, 1.0) / columns
    members = [
        next((e.members for e in reversed(detail.timeline) if e.at <= begin + i * step), 0)
        for i in range(columns)
    ]
    text = block_chart(members, _ROWS, highest=most)
    first, last = date_time(begin), f"{date_time(end)} UTC"
    gap = columns - len(first) - len(last)
    return text.append(f"{'':{axis}}{first}{'':{gap}}{last}", "dim")


def _timeline(detail: CampaignDetail) -> Table:
    rows = table()
    add_columns(rows, "")
    rows.add_column("")
    add_columns(rows, "members", numbers=True)
    for entry in detail.timeline:
        change = "found" if entry.change == "born" else entry.change
        link = {"merged": " with ", "split": " from "}.get(entry.change, "")
        rows.add_row(
            date_time(entry.at), f"{change}{link}{entry.other[:SHORT]}", f"{entry.members:,}"
        )
    return rows


def _identifiers(shared: list[SharedIdentifier]) -> Table:
    """One row per kind: how many are shared, and the strongest ones."""
    rows = table()
    add_columns(rows, "")
    add_columns(rows, "shared", "nats", numbers=True)
    rows.add_column("strongest: id, members + other keys")
    kinds = Counter(each.kind for each in shared)
    for kind, n in sorted(kinds.items(), key=lambda each: -_strongest_nats(shared, each[0])):
        listed = [each for each in shared if each.kind == kind][:_VALUES]
        values = ", ".join(f"{each.id} {each.members:,} + {each.others:,}" for each in listed)
        more = f", … {n - len(listed):,} more" if n > len(listed) else ""
        strongest = f"{_strongest_nats(shared, kind):.1f}"
        rows.add_row(evidence_label(kind), f"{n:,}", strongest, values + more)
    return rows


def _strongest_nats(shared: list[SharedIdentifier], kind: str) -> float:
    return max(each.nats for each in shared if each.kind == kind)


def _imported(imported: list[ImportSeen]) -> Table:
    """One row per campaign of a partner. A partner chose these texts: they are shown as they are,
    without control characters."""
    rows = table()
    add_columns(rows, "partner", "its campaign")
    add_columns(rows, "members", "nats", numbers=True)
    rows.add_column("indicators")
    groups = defaultdict[tuple[str, str], list[ImportSeen]](list)
    for each in imported:
        groups[each.source_name or each.source, each.campaign].append(each)
    for (partner, campaign), group in groups.items():
        kinds = Counter(each.kind for each in group if each.nats)
        common = sum(not each.nats for each in group)
        listed = [f"{n:,} {evidence_label(kind)}" for kind, n in kinds.items()]
        rows.add_row(
            _plain(partner),
            _plain(campaign),
            f"{max(each.members for each in group):,}",
            f"{max(each.nats for each in group):.1f}",
            ", ".join([*listed, *([f"{common:,} without weight"] if common else [])]),
        )
    return rows


def _plain(text: str) -> Text:
    return Text("".join(each for each in text if each.isprintable()))


def _members(detail: CampaignDetail, *, wide: bool) -> Table:
    """The most probable members; a wide table has when and why each was named."""
    rows = table()
    add_columns(rows, "key")
    add_columns(rows, "confidence", "requests", "tokens", numbers=True)
    add_columns(rows, "own alert")
    if wide:
        add_columns(rows, "named")
        rows.add_column("strongest evidence, nats")
    for member in detail.members[:_MEMBERS]:
        alert = member.own_alert or ""
        named = date_time(member.named) if member.named else ""
        rows.add_row(
            member.key,
            _percent(member.confidence),
            short(member.requests),
            short(member.tokens),
            Text(alert, SEVERITY_STYLES.get(alert, "")),
            *((named, _strongest_kinds(member)) if wide else ()),
        )
    return rows


def _strongest_kinds(member: Member) -> str:
    kinds = sorted(member.nats.items(), key=lambda each: -each[1])[:_STRONGEST]
    return ", ".join(
        f"{evidence_label(kind)} {nats:.1f}" for kind, nats in kinds if nats >= _LEAST_NATS
    )


def _bystanders(detail: CampaignDetail) -> Table:
    rows = table()
    add_columns(rows, "key")
    add_columns(rows, "requests", numbers=True)
    rows.add_column("shares")
    for each in detail.bystanders:
        rows.add_row(each.key, f"{each.requests:,}", ", ".join(each.shares))
    return rows


def evidence_label(kind: str) -> str:
    """The name of a kind of evidence in plain words."""
    return _LABELS.get(kind, kind)


def _percent(share: float) -> str:
    """A probability in percent, never rounded up to 100%."""
    return f"{min(share, 0.999):.1%}" if share < 0.9995 else ">99.9%"

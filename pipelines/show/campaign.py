"""A dossier as a page: what it is in a sentence, why, how it grew, what is shared, who is of it."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pipelines.inspect.campaign import CampaignDetail, Member, Shared
from pipelines.inspect.campaigns import SHORT
from pipelines.inspect.criteria import Question
from pipelines.show.style import (
    SEVERITY_STYLES,
    axis_width,
    block_chart,
    date_time,
    number,
    table,
)

_ROWS = 4  # of the chart
_MEMBERS = 20  # that are listed
_VALUES = 5  # of a kind of identifier, too
_STRONGEST = 3  # kinds of evidence at a member
_SLIGHT = 0.05  # nats that are not worth a word
_WAYS = {"either way": "needed", "by its members": "and either", "by its pace": "or all of"}


def show(detail: CampaignDetail, console: Console | None = None) -> None:
    """Print a dossier."""
    console = console or Console()
    console.print(_header(detail))
    _part(console, "why" if detail.line.severity else "why not", _questions(detail.questions))
    _part(console, "what links them", _evidence(detail))
    if detail.timeline:
        _part(console, "how it grew", _chart(detail, min(console.width, 100)), _moments(detail))
    if detail.shared:
        _part(console, "what they share", _identifiers(detail.shared))
    if detail.members:
        _part(console, "who is of it", _members(detail))
    if len(detail.members) > _MEMBERS:
        more = len(detail.members) - _MEMBERS
        console.print(Text(f"… and {more:,} more: --json has all of them.\n", "dim"))
    if detail.bystanders:
        heading = "bystanders: they share what is rare, but do not act like them"
        _part(console, heading, _bystanders(detail))


def _part(console: Console, heading: str, *parts: Table | Text) -> None:
    console.print(Rule(heading, align="left", style="dim"))
    for part in parts:
        console.print(part)
    console.print()


def sentence(detail: CampaignDetail) -> str:
    """What it is."""
    line = detail.line
    keys = f"{line.members:,} keys"
    took = f"{line.requests:,} requests and {line.tokens:,} tokens"
    if line.state == "none":
        return f"{keys} have something in common, with {took}; no campaign, for {line.reason}."
    if line.state == "merged":
        return f"{keys} act as one, with {took}; {line.reason} since {date_time(line.ended)} UTC."
    return f"{keys} act as one, with {took} so far; {line.reason}."


def _header(detail: CampaignDetail) -> Text:
    line = detail.line
    text = Text(line.id, "bold")
    if line.severity is not None:
        text.append(f"  {line.severity}", f"not bold {SEVERITY_STYLES[line.severity]}")
        text.append(f" since {date_time(line.since)} UTC", "not bold")
    else:
        text.append(f"  found {date_time(line.since)} UTC", "not bold")
    if line.state == "over":
        text.append(f", over since {date_time(line.ended)} UTC", "not bold")
    text.append(f"\n{sentence(detail)}\n", "not bold")
    if line.state == "open":
        text.append("Its alert asks gateways to ", "not bold").append(line.decision, "bold")
        text.append(f" them; {line.hour:,} requests in the last hour.\n", "not bold")
    return text


def _questions(asked: list[Question]) -> Table | Text:
    """The verdict's questions, each with its number beside what is asked of it."""
    if not asked:
        return Text("Hardly any key is of it.")
    rows = table()
    rows.add_column("")
    rows.add_column("found", justify="right", no_wrap=True)
    rows.add_column("a campaign", justify="right", no_wrap=True)
    rows.add_column("")
    way = ""
    for question in asked:
        if question.way != way:
            way = question.way
            rows.add_row(Text(_WAYS[way], "dim"))
        bound = f"{'≥' if question.least else '≤'} {number(question.bound)}"
        mark = Text("✓", "green") if question.met else Text("✗", "red")
        found = "too soon" if question.value is None else number(question.value)
        rows.add_row(mark, found, bound, question.asks)
    return rows


def _evidence(detail: CampaignDetail) -> Table:
    """Mean nats by kind, as bars."""
    rows = table()
    rows.add_column("", no_wrap=True)
    rows.add_column("nats a member", justify="right", no_wrap=True)
    rows.add_column("", no_wrap=True)
    for kind, nats in sorted(detail.evidence.items(), key=lambda each: -each[1]):
        if abs(nats) < _SLIGHT:
            continue
        bar = "━" * round(abs(nats) * 5)
        rows.add_row(_word(kind), f"{nats:+.1f}", Text(bar, "blue" if nats > 0 else "red"))
    return rows


def _chart(detail: CampaignDetail, width: int) -> Text:
    """Members over time, from when the group was found to its end, or until now."""
    begin, end = detail.found, detail.line.ended or detail.until
    most = max(moment.members for moment in detail.timeline)
    axis = axis_width(most)
    columns = width - axis - 1
    step = max(end - begin, 1.0) / columns
    members = [
        next((m.members for m in reversed(detail.timeline) if m.at <= begin + i * step), 0)
        for i in range(columns)
    ]
    text = block_chart(members, _ROWS, highest=most)
    last = date_time(end)
    gap = columns - len(date_time(begin)) - len(last)
    return text.append(f"{'':{axis}}{date_time(begin)}{'':{gap}}{last} UTC", "dim")


def _moments(detail: CampaignDetail) -> Table:
    rows = table()
    rows.add_column("", no_wrap=True)
    rows.add_column("")
    rows.add_column("members", justify="right")
    for moment in detail.timeline:
        link = {"merged": " with ", "split": " from "}.get(moment.change, "")
        what = f"{moment.change}{link}{moment.other[:SHORT]}"
        rows.add_row(date_time(moment.at), what, f"{moment.members:,}")
    return rows


def _identifiers(shared: list[Shared]) -> Table:
    """A line a kind: how many of it, and the most telling ones, members and others each."""
    rows = table()
    rows.add_column("", no_wrap=True)
    rows.add_column("shared", justify="right", no_wrap=True)
    rows.add_column("nats", justify="right", no_wrap=True)
    rows.add_column("the most telling, members + others who have it")
    kinds = Counter(each.kind for each in shared)
    for kind, count in sorted(kinds.items(), key=lambda each: -_best(shared, each[0])):
        some = [each for each in shared if each.kind == kind][:_VALUES]
        values = ", ".join(f"{each.id} {each.members:,} + {each.others:,}" for each in some)
        more = f", … {count - len(some):,} more" if count > len(some) else ""
        rows.add_row(_word(kind), f"{count:,}", f"{_best(shared, kind):.1f}", values + more)
    return rows


def _best(shared: list[Shared], kind: str) -> float:
    return max(each.nats for each in shared if each.kind == kind)


def _members(detail: CampaignDetail) -> Table:
    rows = table()
    rows.add_column("key", no_wrap=True)
    for name in ("sure", "requests", "tokens"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("named", no_wrap=True)
    rows.add_column("alert", no_wrap=True)
    rows.add_column("the strongest links, nats")
    for member in detail.members[:_MEMBERS]:
        accused = member.accused or ""
        rows.add_row(
            member.key,
            _share(member.confidence),
            f"{member.requests:,}",
            f"{member.tokens:,}",
            date_time(member.named) if member.named else "",
            Text(accused, SEVERITY_STYLES.get(accused, "")),
            _strongest(member),
        )
    return rows


def _strongest(member: Member) -> str:
    kinds = sorted(member.nats.items(), key=lambda each: -each[1])[:_STRONGEST]
    return ", ".join(f"{_word(kind)} {nats:.1f}" for kind, nats in kinds if nats >= _SLIGHT)


def _bystanders(detail: CampaignDetail) -> Table:
    rows = table()
    rows.add_column("key", no_wrap=True)
    rows.add_column("requests", justify="right", no_wrap=True)
    rows.add_column("shares")
    for each in detail.bystanders:
        rows.add_row(each.key, f"{each.requests:,}", ", ".join(each.shares))
    return rows


def _word(kind: str) -> str:
    return kind.replace("_", " ").replace("fingerprint", "").strip()


def _share(share: float) -> str:
    """In percent, but nothing is all that is not all."""
    return f"{min(share, 0.999):.1%}" if share < 0.9995 else ">99.9%"

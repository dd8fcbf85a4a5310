"""Show the list of campaigns."""

from __future__ import annotations

from textwrap import fill

from rich.console import Console
from rich.text import Text

from pipelines.inspect.campaigns import CampaignList, CampaignSummary
from pipelines.show.style import SEVERITY_STYLES, count, date_time, default_console


def show(found: CampaignList, console: Console | None = None) -> None:
    """Print each campaign as a block that keeps its id in one piece on any terminal."""
    console = console or default_console()
    if found.campaigns:
        console.print(Text("Campaigns, times in UTC\n", "bold"))
    for each in found.campaigns:
        console.print(_header(each), soft_wrap=True)
        for line in (_numbers(each), each.reason):
            wrapped = fill(line, console.width, initial_indent="  ", subsequent_indent="  ")
            console.print(Text(wrapped), soft_wrap=True)
        console.print()
    console.print(sentence(found))


def sentence(found: CampaignList) -> str:
    """The list in one sentence."""
    alive = [each for each in found.campaigns if each.state == "open"]
    members, requests, tokens = (
        sum(getattr(each, name) for each in alive) for name in ("members", "requests", "tokens")
    )
    others = count(found.not_campaigns, "other group")
    return (
        f"{count(len(alive), 'open campaign')}: {count(members, 'key')}, "
        f"{count(requests, 'request')} and {count(tokens, 'token')}, among {found.keys:,} keys. "
        f"{others} {'is' if found.not_campaigns == 1 else 'are'} no campaign."
    )


def _header(summary: CampaignSummary) -> Text:
    text = Text.assemble((summary.id, "bold"), "  ")
    if summary.state == "none":
        text.append("no campaign", "dim").append(f"  found {date_time(summary.since)}")
    elif summary.state == "open":
        assert summary.severity is not None
        text.append(summary.severity, SEVERITY_STYLES[summary.severity])
        text.append(f"  since {date_time(summary.since)}  {summary.decision}")
    else:
        text.append(f"{summary.state} {date_time(summary.ended)}", "dim")
    return text


def _numbers(summary: CampaignSummary) -> str:
    return (
        f"{count(summary.members, 'key')}, {count(summary.requests, 'request')} "
        f"({summary.last_hour:,} in the last complete hour), {count(summary.tokens, 'token')}"
    )

"""Show what was exchanged with partners."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from pipelines.sharing.exchange import Sent
from pipelines.sharing.overview import ExportedLine, Overview, SourceLine
from pipelines.sharing.receive import Import
from pipelines.show.style import count, date_time, default_console

_NAME = 50  # characters of a source's name
KIND_NAMES = {
    "network": "network",
    "tls": "TLS fingerprint",
    "system": "system prompt",
    "template": "prompt template",
}


def show_sent(sent: Sent, console: Console | None = None) -> None:
    """Print what left."""
    console = console or default_console()
    hashes = kinds_of(sent.hashes) or "no indicator in force"
    console.print(f"{sent.campaign} under TLP:{sent.tlp.upper()} to {sent.target}", markup=False)
    console.print(f"{hashes}; {count(sent.objects, 'object')} sent", markup=False)
    console.print(f"as {sent.id}", markup=False, style="dim")
    if sent.held_back:
        console.print(
            f"{count(sent.held_back, 'indicator')} held back: partners shared them under a "
            "stricter TLP."
        )


def show_sightings(sent: Sent, console: Console | None = None) -> None:
    """Print which sightings left."""
    console = console or default_console()
    if not sent.hashes:
        console.print("No indicator of a partner was seen in a campaign since the last report.")
        return
    console.print(f"Sightings of {kinds_of(sent.hashes)} to {sent.target}.", markup=False)


def show_import(result: Import, console: Console | None = None) -> None:
    """Print what became of a partner's objects."""
    console = console or default_console()
    console.print(
        f"{count(result.added, 'indicator')} added, {result.renewed:,} renewed, "
        f"{result.revoked:,} revoked, {result.unchanged:,} unchanged."
    )
    for why, number in sorted(result.skipped.items()):
        console.print(f"  {number:,} not imported: {why}", markup=False)
    others = sum(result.others.values())
    if others:
        console.print(f"  {count(others, 'object')} of other types ignored", style="dim")
    for problem in result.problems:
        console.print(f"  {problem}", markup=False, style="yellow", soft_wrap=True)
    if result.invalid > len(result.problems):
        console.print(f"  and {count(result.invalid - len(result.problems), 'more problem')}")
    for id, partners in result.sighted.items():
        console.print(f"  {count(partners, 'partner')} saw {id}", markup=False)


def show_dropped(result: Mapping[str, int], console: Console | None = None) -> None:
    """Print how many indicators were dropped."""
    (console or default_console()).print(f"{count(result['dropped'], 'indicator')} dropped.")


def show_list(found: Overview, console: Console | None = None) -> None:
    """Print what was exchanged."""
    console = console or default_console()
    name = f"{found.organisation}  {found.identity}" if found.identity else "no name"
    console.print(f"{name}\nsalt {found.salt}", markup=False)
    console.print("\nShared", style="bold")
    for each in found.exported:
        console.print(_exported(each), soft_wrap=True)
    if not found.exported:
        console.print("nothing", style="dim")
    console.print("\nImported", style="bold")
    for source in found.sources:
        console.print(_source(source), soft_wrap=True)
    if not found.sources:
        console.print("nothing", style="dim")


def kinds_of(kinds: Mapping[str, int]) -> str:
    """Numbers of indicators by kind, in words."""
    return ", ".join(count(number, KIND_NAMES.get(kind, kind)) for kind, number in kinds.items())


def _exported(each: ExportedLine) -> Text:
    text = Text(f"{each.campaign}  ", "bold")
    text.append(f"TLP:{each.tlp.upper()}\n  {each.shared}\n", "not bold")
    if each.revoked:
        text.append(f"  taken back {date_time(each.modified)}", "dim")
    else:
        until = f"until {_day(each.valid_until)}" if each.hashes else "none in force"
        text.append(f"  {count(each.hashes, 'indicator')}, {until}", "not bold")
    for target, gone in each.targets.items():
        text.append(f"\n  {target}: {'taken back' if gone else 'shared'}", "not bold")
    if each.withdrawn or (each.revoked and not all(each.targets.values())):
        why = "Its alert was withdrawn" if each.withdrawn else "Some partners still have it"
        text.append(f"\n  {why}: take it back with ", "yellow")
        text.append(f"xm share revoke {each.campaign}", "yellow")
    return text


def _source(each: SourceLine) -> Text:
    text = Text(f"{(each.name or each.source)[:_NAME]}  ", "bold")
    text.append(f"up to TLP:{each.tlp.upper()}\n", "not bold")
    if each.name:
        text.append(f"  {each.source}\n", "not bold")
    text.append(f"  {kinds_of(each.kinds)}\n", "not bold")
    until = _day(each.valid_until)
    return text.append(f"  until {until}; {each.seen:,} seen here", "not bold")


def _day(ts: float) -> str:
    """A time months ahead as a day."""
    return f"{datetime.fromtimestamp(ts, UTC):%d %b %Y}"

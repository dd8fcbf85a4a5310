"""Show what a verification found."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from monitor.evidence.bundle.verify import BundleReport
from pipelines.cases.verify import CaseReport
from pipelines.show.style import count, default_console


def show_bundle(report: BundleReport, console: Console | None = None) -> None:
    """Print what was found in a bundle."""
    console = console or default_console()
    _headline(console, "The bundle is as it was signed.", len(report.problems))
    for each in report.problems:
        _problem(console, each.file or "container", each.kind, each.text)
    said = report.predicate
    if said is None:
        return
    _row(console, "case", f"{said.case}, {_entries(said.entries)}")
    _row(console, "files", f"{report.documents}")
    _row(console, "signed", f"{_time(said.created_at)} with key {report.key}")
    _row(console, "manifest", f"SHA-256 {report.manifest}")
    if report.stamped_at is not None:
        how = "verified with" if report.stamp_verified else "not verified: use --timestamp-ca, for"
        text = f"{_time(report.stamped_at)}, {how} the certificate of {said.authority}"
        _row(console, "time stamp", text)


def show_case(report: CaseReport, console: Console | None = None) -> None:
    """Print what was found in a case."""
    console = console or default_console()
    chain = report.chain
    _headline(console, "The case is as it was signed.", len(report.problems))
    for each in report.problems:
        _problem(console, f"entry {each.entry:,}", each.kind, each.text)
    _row(console, "case", chain.case)
    _row(console, "entries", f"{chain.entries:,}, {count(chain.signatures, 'signature')} verified")
    if report.on_topic is None:
        _row(console, "topic", "not compared")
    else:
        waiting = chain.entries - report.on_topic
        text = _entries(report.on_topic) + f", {waiting:,} not copied yet" * bool(waiting)
        _row(console, "topic", text)
    if report.strangers:
        text = f"{count(report.strangers, 'message')} on the topic without our signature"
        _row(console, "ignored", text)
    for kid in chain.keys:
        _row(console, "key", kid)
    if chain.head:
        _row(console, "head", f"SHA-256 {chain.head}")


def _headline(console: Console, fine: str, problems: int) -> None:
    if problems:
        text = Text(f"{count(problems, 'problem')} found.", "bold red")
    else:
        text = Text(fine, "bold green")
    console.print(text, soft_wrap=True)


def _problem(console: Console, where: str, kind: str, text: str) -> None:
    line = Text("  ").append(_printable(where), "bold")
    line.append(f"  {kind}: {_printable(text)}", "not bold")
    console.print(line, soft_wrap=True)


def _row(console: Console, name: str, value: str) -> None:
    console.print(Text(f"  {name:<11}", "dim").append(_printable(value), "not dim"), soft_wrap=True)


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _entries(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def _printable(text: str) -> str:
    """A text from a file that anybody may have written. It goes to a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)

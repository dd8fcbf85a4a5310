"""Commands on cases: open, list, show, note, close, reopen."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from monitor import config
from pipelines.cli.cases.documents import CaseId
from pipelines.cli.cases.group import case, require_cases_extra
from pipelines.cli.options import AsJson, Who, Why, output


@case.command("open", epilog="Example: `xm case open c_5f1e0d2c9b8a --why INC-1207`")
def open_(
    subject: Annotated[str, typer.Argument(help="A campaign, key, account or end user.")],
    why: Why,
    who: Who,
    as_json: AsJson = False,
) -> None:
    """Open a case, with the alerts and facts of this moment. Later alerts are added to it."""
    require_cases_extra()
    settings = config.load()
    from pipelines.cases import desk
    from pipelines.cases.access import case_store
    from pipelines.show.cases.case import show

    store = case_store(settings)
    output(desk.view(store, desk.open_case(store, settings, subject, who, why)), as_json, show)


@case.command("list", epilog="Example: `xm case list --all`")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Include closed cases.")] = False,
    subject: Annotated[str, typer.Option(help="Only on this subject.")] = "",
    as_json: AsJson = False,
) -> None:
    """List open cases, the ones that changed last first."""
    require_cases_extra()
    settings = config.load()
    from pipelines.cases import desk
    from pipelines.cases.access import case_store
    from pipelines.show.cases.case import show_list

    store = case_store(settings, sign=False)
    output(desk.listed(store, everything=everything, subject=subject), as_json, show_list)


@case.command("show", epilog="Example: `xm case show case_75b8`")
def show_(case: CaseId, as_json: AsJson = False) -> None:
    """Show a case: what is known, who did what, and whether its entries are whole.

    Exit status 1: an entry is not as it was signed.
    """
    require_cases_extra()
    settings = config.load()
    from pipelines.cases import desk
    from pipelines.cases.access import case_store
    from pipelines.show.cases.case import show

    store = case_store(settings, sign=False)
    found = desk.view(store, store.find(case))
    output(found, as_json, show)
    if found.problems:
        raise typer.Exit(1)


@case.command("note", epilog="Example: `xm case note case_75b8 'Customer called, see INC-1207'`")
def note(
    case: CaseId,
    text: Annotated[str, typer.Argument(help="The note; - reads it from standard input.")],
    who: Who,
    as_json: AsJson = False,
) -> None:
    """Write a note into a case. It is signed and stays: write no raw key, address or prompt."""
    require_cases_extra()
    settings = config.load()
    from pipelines.cases import desk
    from pipelines.cases.access import case_store
    from pipelines.show.cases.case import show_entry

    store = case_store(settings)
    written = sys.stdin.read() if text == "-" else text
    output(desk.note(store, store.find(case), written, who), as_json, show_entry)


@case.command(
    "close", epilog="Example: `xm case close case_75b8 --outcome extraction --why banned`"
)
def close(
    case: CaseId,
    outcome: Annotated[
        Literal["extraction", "not-extraction", "unclear", "duplicate"],
        typer.Option(help="What it was."),
    ],
    why: Why,
    who: Who,
    as_json: AsJson = False,
) -> None:
    """Close a case: later alerts are not added to it. Decisions stay as they are.

    If it was no extraction, also withdraw the alert: `xm alerts withdraw`, `xm case overturn`.
    """
    require_cases_extra()
    settings = config.load()
    from pipelines.cases import desk
    from pipelines.cases.access import case_store
    from pipelines.show.cases.case import show_entry

    store = case_store(settings)
    chosen = desk.outcome_of(outcome)
    output(desk.close(store, store.find(case), chosen, who, why), as_json, show_entry)


@case.command("reopen", epilog="Example: `xm case reopen case_75b8 --why 'they are back'`")
def reopen(case: CaseId, why: Why, who: Who, as_json: AsJson = False) -> None:
    """Open a closed case again."""
    require_cases_extra()
    settings = config.load()
    from pipelines.cases import desk
    from pipelines.cases.access import case_store
    from pipelines.show.cases.case import show_entry

    store = case_store(settings)
    output(desk.reopen(store, store.find(case), who, why), as_json, show_entry)

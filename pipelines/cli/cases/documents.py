"""Commands that write documents: `xm case export`, `xm report incident|transparency`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config
from monitor.errors import ConfigError, InputError
from pipelines.cli.cases.group import case, report, require_cases_extra
from pipelines.cli.options import AsJson, Who, Why, done, output

if TYPE_CHECKING:
    from pipelines.reports.export import Export

CaseId = Annotated[
    str,
    typer.Argument(metavar="CASE", help="Case id, its beginning, a subject, or a reference."),
]
Out = Annotated[Path, typer.Option(help="A file in .md, .html or .pdf, or a folder for all three.")]


@case.command(
    "export", epilog="Example: `xm case export case_75b8 --out case.zip --why 'For counsel'`"
)
def export(
    case: CaseId,
    out: Annotated[Path, typer.Option(help="Write the bundle here.")],
    why: Why,
    who: Who,
    as_json: AsJson = False,
) -> None:
    """Write a case as a bundle: its entries, pages to read, a graph, and a signed manifest.

    With XM_CASES__TIMESTAMP_URL, the bundle has a time stamp of that authority. The export is
    recorded in the case.
    """
    require_cases_extra()
    settings = config.load()
    from monitor.evidence.keys import signer_of
    from pipelines.cases.access import case_store
    from pipelines.reports import export as exports

    signer = signer_of(settings)
    if signer is None:
        raise ConfigError(
            "There is no key to sign the bundle with: make one with `xm case key new` and name it "
            "in XM_CASES__KEY_FILE."
        )
    store = case_store(settings)
    done = exports.export(store, store.find(case), out, settings, signer, who=who, why=why)
    output(done, as_json, _show_export)


def _show_export(done: Export) -> None:
    stamped = "with" if done.stamped else "without"
    typer.echo(f"{done.file}: case {done.case}, {done.entries:,} entries, {stamped} time stamp.")
    typer.echo(f"SHA-256 of the manifest: {done.manifest}")


@report.command("incident", epilog="Example: `xm report incident case_75b8 --out report.pdf`")
def incident(case: CaseId, out: Out, who: Who, as_json: AsJson = False) -> None:
    """Write the report on a case for management, counsel and regulators.

    It says what happened, when, how much was taken, how surely, what was done and what is not
    known. Each number has the entry of the case that it comes from. With XM_CASES__KEY_FILE, facts
    that the monitor recorded only in part are first collected in full.
    """
    require_cases_extra()
    settings = config.load()
    from pipelines.cases.access import case_store
    from pipelines.reports.documents import incident_report
    from pipelines.reports.evidence import evidence_of
    from pipelines.reports.export import (
        complete,
        subjects,
        verified_lines,
        with_digests,
        write_report,
    )
    from pipelines.reports.in_force import look_up

    store = case_store(settings)
    found = store.find(case)
    if settings.cases.key_file is not None:
        complete(store, found, settings, who)
    evidence = evidence_of(with_digests(verified_lines(store, found)))
    applies = look_up(settings, subjects(evidence.case))
    report_of = partial(incident_report, evidence, applies)
    _show_files(write_report(out, f"incident-{found}", report_of), as_json)


@report.command(
    "transparency",
    epilog="Example: `xm report transparency --from 2026-01-01 --to 2026-03-31 --out q1`",
)
def transparency(
    since: Annotated[str, typer.Option("--from", help="First day, UTC.", metavar="DAY")],
    until: Annotated[str, typer.Option("--to", help="Last day, UTC.", metavar="DAY")],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Write the counts of a period: alerts, decisions, appeals and withdrawn alerts.

    Nothing in it is personal, and small counts are not printed.
    """
    require_cases_extra()
    first, last = _day(since), _day(until)
    if last < first:
        raise InputError(f"The last day, {until}, is before the first, {since}.")
    settings = config.load()
    from pipelines.cases.review import transparency as counts
    from pipelines.reports.export import write_report
    from pipelines.reports.transparency import transparency_report

    figures = counts.transparency(settings, first, last + 86_400.0)
    written = write_report(out, "transparency", partial(transparency_report, figures))
    _show_files(written, as_json)


def _show_files(written: Iterable[Path], as_json: bool) -> None:
    files = [str(file) for file in written]
    done({"files": files}, as_json, "\n".join(files))


def _day(text: str) -> float:
    """The beginning of a day in UTC, epoch seconds."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is not a day: write it as 2026-03-31.") from None
    return datetime.combine(day, time.min, UTC).timestamp()

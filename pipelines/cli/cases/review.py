"""Commands of a review: letter, appeal, appeals, uphold, overturn."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitor import config
from monitor.errors import InputError
from pipelines.cli.cases.group import case, require_cases_extra
from pipelines.cli.options import AsJson, Who, Why, output

if TYPE_CHECKING:
    from monitor.config import Settings
    from pipelines.cases.review.rule import Review

Reference = Annotated[str, typer.Argument(help="Of the letter, as R-7Q3M-K9ZD-20XF.")]
CaseOrReference = Annotated[
    str,
    typer.Argument(
        metavar="CASE|REFERENCE", help="A case, its subject, or the reference of a letter."
    ),
]
Subject = Annotated[
    str, typer.Option(help="The key or account; of a campaign, one member.", metavar="KEY")
]


def _review(settings: Settings) -> Review:
    require_cases_extra()
    from pipelines.cases.access import case_store
    from pipelines.cases.collect import Collector
    from pipelines.cases.review.rule import Review

    return Review(settings, case_store(settings), Collector(settings).collect)


@case.command("letter", epilog="Example: `xm case letter k_30263b9df560394b856f332d`")
def letter(
    target: Annotated[
        str, typer.Argument(metavar="CASE|KEY", help="A case, or a key or account with a decision.")
    ],
    who: Who,
    subject: Subject = "",
    action: Annotated[
        Literal["throttle", "challenge", "block"] | None,
        typer.Option(help="What was done, if it is not enforced any more."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it here: .txt, .md or .html.", metavar="FILE")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Write a new one, with a new reference.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the letter that explains a decision to the customer, with a reference to appeal.

    It says what was done and, in general words, why, but not how the use is recognised. The case
    keeps it; without a case, one is opened. A letter that has no ruling yet is printed again as it
    is.
    """
    settings = config.load()
    review = _review(settings)
    from pipelines.cases.review.letter import form_of, format_of
    from pipelines.show.cases.review import show_letter

    form = None if out is None else format_of(out)
    if out is not None and form is None:
        raise InputError(f"{out} has no format of a letter: name it .txt, .md or .html.")
    written = review.letter(target, who, subject=subject, action=action, form=form, again=again)
    if out is not None:
        if not written.is_new and form != form_of(written.letter.text):
            raise InputError(
                f"Letter {written.letter.reference} was written in another format: add --again to "
                "write a new one."
            )
        try:
            out.write_text(written.letter.text, "utf-8")
        except OSError as error:
            raise InputError(f"Cannot write {out}: {error.strerror}.") from error
    output(written, as_json, lambda found: show_letter(found, out))


@case.command("appeal", epilog="Example: `xm case appeal R-7Q3M-K9ZD-20XF --text 'our own tests'`")
def appeal(
    reference: Reference,
    who: Who,
    text: Annotated[
        str, typer.Option(help="What the customer answers, summed up; - reads it from a pipe.")
    ],
    received: Annotated[
        str, typer.Option(help="The day it arrived, 2026-11-28. Default: today.", metavar="DAY")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Record a customer's appeal. Write no prompt, API key or address into it."""
    settings = config.load()
    from pipelines.show.cases.review import show_appeal

    if text == "-":
        text = sys.stdin.read()
    recorded = _review(settings).appeal(reference, text, who, _day(received))
    output(recorded, as_json, show_appeal)


@case.command("appeals", epilog="Example: `xm case appeals`")
def appeals(as_json: AsJson = False) -> None:
    """List appeals that wait for a ruling, those that are due first on top."""
    settings = config.load()
    require_cases_extra()
    from pipelines.cases.access import case_store
    from pipelines.cases.review.appeals import waiting
    from pipelines.show.cases.review import show_waiting

    rows = case_store(settings, sign=False).rows()
    found = waiting(rows, settings.cases.answer_days)
    output(found, as_json, lambda each: show_waiting(each, time.time()))


@case.command("uphold", epilog="Example: `xm case uphold R-7Q3M-K9ZD-20XF --why INC-7`")
def uphold(
    target: CaseOrReference, why: Why, who: Who, subject: Subject = "", as_json: AsJson = False
) -> None:
    """Uphold a decision, after an appeal or without one. An earlier overturning is taken back."""
    _rule("upheld", target, who, why, subject, as_json)


@case.command("overturn", epilog="Example: `xm case overturn R-7Q3M-K9ZD-20XF --why INC-7`")
def overturn(
    target: CaseOrReference, why: Why, who: Who, subject: Subject = "", as_json: AsJson = False
) -> None:
    """Overturn a decision: its alerts are withdrawn, and nothing of it is enforced any more.

    It stays overturned until something new is seen: another kind of alert, a higher severity, far
    more requests, or other keys. Of a campaign, name one member with --subject, or all are meant.
    """
    _rule("overturned", target, who, why, subject, as_json)


def _rule(
    result: Literal["upheld", "overturned"],
    target: str,
    who: str,
    why: str,
    subject: str,
    as_json: bool,
) -> None:
    settings = config.load()
    from pipelines.show.cases.review import show_ruling

    ruling = _review(settings).rule(result, target, who, why, subject=subject)
    output(ruling, as_json, show_ruling)


def _day(text: str) -> float | None:
    """A day as epoch seconds, `None` without one."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InputError(f"{text!r} is not a day: write it as 2026-11-28.") from None

"""Commands on marks in responses, and on the search for them in a suspect model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config
from monitor.errors import ConfigError, InputError
from pipelines.cli.options import AsJson, Who, done, output

if TYPE_CHECKING:
    from pipelines.cases.tracing.trace import Encoder

commands = typer.Typer()
marks_app = typer.Typer(no_args_is_help=True, help="Read which marks are on responses.")
commands.add_typer(marks_app, name="marks")

MarkId = Annotated[str, typer.Argument(help="Mark id, m_….", metavar="MARK")]


@marks_app.command("list", epilog="Example: `xm marks list`")
def marks_list(as_json: AsJson = False) -> None:
    """List marks, the newest first, with the campaign, key or account that each belongs to."""
    settings = config.load()
    from pipelines.cases.tracing.marks import issued_marks
    from pipelines.show.cases.trace import show_marks

    output(issued_marks(settings), as_json, show_marks)


@marks_app.command("secret", epilog="Example: `xm marks secret --out marking-secret`")
def marks_secret(
    out: Annotated[Path, typer.Option(help="New file, readable by its owner only.")],
    as_json: AsJson = False,
) -> None:
    """Write the marking secret, for the servers that mark responses.

    It is derived from the identity secret, which it does not reveal.
    """
    settings = config.load()
    from monitor.tracing.marks import marking_secret

    secret = marking_secret(settings).hex()
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"Cannot write {out}: {error.strerror}. Name a new file.") from error
    with os.fdopen(file, "w") as writer:
        writer.write(f"{secret}\n")
    sentence = f"{out} has the marking secret: set XM_TRACING__SECRET_FILE to it."
    done({"file": out}, as_json, sentence)


@marks_app.command("canaries", epilog="Example: `xm marks canaries m_5e2a`")
def marks_canaries(mark: MarkId, as_json: AsJson = False) -> None:
    """Print the canary answers of a mark, as text for a system prompt."""
    settings = config.load()
    from monitor.tracing.choices import instructions, load_canaries
    from monitor.tracing.marks import is_mark, mark_key, marking_secret

    if settings.tracing.canaries_file is None:
        raise ConfigError("There are no canaries: set XM_TRACING__CANARIES_FILE.")
    if not is_mark(mark):
        raise InputError(f"{mark!r} is not a mark id: list them with `xm marks list`.")
    canaries = load_canaries(settings.tracing.canaries_file)
    text = instructions(canaries, mark_key(marking_secret(settings), mark, "mark canaries"))
    done({"mark": mark, "instructions": text}, as_json, text)


@commands.command(
    "trace", epilog="Example: `xm trace outputs.jsonl --tokenizer tokenizer.json --model acme-7b`"
)
def trace(
    outputs: Annotated[
        Path, typer.Argument(help="JSON lines with `output`, and `prompt` if known.")
    ],
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json of the model that was marked.")
    ] = None,
    ordinary: Annotated[
        Path | None, typer.Option(help="Outputs of your own model without marks, same form.")
    ] = None,
    marks: Annotated[
        list[str] | None,
        typer.Option("--mark", help="Ask for this mark too; repeatable.", metavar="MARK"),
    ] = None,
    model: Annotated[str, typer.Option(help="What to call the suspect model.")] = "",
    picture: Annotated[Path | None, typer.Option(help="Write a picture, PNG or SVG.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Add the result to the cases of these marks.")
    ] = False,
    as_json: AsJson = False,
    *,
    who: Who,
) -> None:
    """Test a suspect model's outputs for the marks of all campaigns.

    Without --tokenizer the tokens are not tested. Ask the suspect model your own
    questions: text that others hand over may quote marked responses.
    """
    settings = config.load()
    from pipelines.cases.tracing.marks import issued_marks
    from pipelines.cases.tracing.trace import read_sample, seen_by
    from pipelines.cases.tracing.trace import trace as test
    from pipelines.show.cases.trace import show

    encoder = _encoder(tokenizer)
    sample = read_sample(outputs, encoder)
    usual = read_sample(ordinary, encoder) if ordinary else None
    issued = issued_marks(settings)
    subjects = {each.mark: each.subject for each in issued}
    subjects |= {mark: "named by --mark" for mark in _checked(marks or []) if mark not in subjects}
    if not subjects:
        raise InputError("No response has been marked: name a mark with --mark.")
    seen = seen_by(settings, subjects.values())
    report = test(
        settings, sample, subjects, model=model or outputs.stem, ordinary=usual, seen=seen
    )
    if picture is not None:
        from pipelines.show.cases.trace_plot import plot

        plot(report, picture)
    if record:
        from pipelines.cases.tracing.record import record_trace

        for case in record_trace(settings, report, issued, who):
            typer.echo(f"Recorded in {case}.", err=True)
    output(report, as_json, show)


def _checked(marks: list[str]) -> list[str]:
    from monitor.tracing.marks import is_mark

    for mark in marks:
        if not is_mark(mark):
            raise InputError(f"{mark!r} is not a mark id: list them with `xm marks list`.")
    return marks


def _encoder(file: Path | None) -> Encoder | None:
    if file is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigError(
            "--tokenizer needs the package `tokenizers`: install it with pip."
        ) from error
    try:
        found: Encoder = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises no other class
        raise InputError(f"{file} is not a tokenizer.json: {error}.") from error
    return found

"""The command line: `xm COMMAND`.

An error that an operator can fix is printed as one sentence, with exit status 2. Commands load the
settings before they import anything slow, so that a wrong setting is reported at once.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Annotated

import typer

from monitor.errors import MonitorError
from pipelines.cli.lazy import Entry, LazyGroup

_HELP = {"-h", "--help", "--version", "--install-completion", "--show-completion"}


class Commands(LazyGroup):
    """All commands."""

    panels = {  # noqa: RUF012
        "Who extracts, and what was done": (
            Entry("alerts", "alerts", "Read alerts, and act on them."),
            Entry(
                "campaigns",
                "inspect",
                "List campaigns (coordinated keys), the most severe first, with the reason.",
            ),
            Entry(
                "keys",
                "operate.keys",
                "List keys in Redis, the most remarkable first. Reads page by page and does not "
                "block Redis.",
            ),
            Entry(
                "explain",
                "inspect",
                "Show a key's verdict, decision and evidence, and what would change its severity.",
            ),
            Entry(
                "decisions",
                "decisions",
                "List decisions as they apply, and decide by hand. Every change is audited.",
            ),
            Entry(
                "audit",
                "decisions",
                "Show who changed decisions, switches and the allow-list, when, and why.",
            ),
        ),
        "Is it working": (
            Entry(
                "status",
                "operate.status",
                "Show whether the monitor works: its processes, mode, lag, receivers, and what is "
                "open.",
            ),
            Entry(
                "doctor",
                "operate.status",
                "Check Kafka, Redis, the workers and the receivers, each with a remedy.",
            ),
            Entry(
                "rejected",
                "operate.rejected",
                "List requests that were rejected, and send them again.",
            ),
            Entry(
                "version",
                "operate.status",
                "Show the version of this installation, and of what it runs on.",
            ),
            Entry("config", "operate.config", "Check the settings, and see what they are."),
        ),
        "Cases, reports and partners": (
            Entry("case", "cases.all", "Keep case files: signed records of what was found."),
            Entry("report", "cases.all", "Write reports as Markdown, HTML or PDF."),
            Entry("share", "cases.share", "Exchange campaigns with partners."),
            Entry("marks", "tracing", "Read which marks are on responses."),
            Entry(
                "trace",
                "tracing",
                "Test a suspect model's outputs for the marks of all campaigns.",
            ),
        ),
        "Run the monitor": (
            Entry(
                "worker",
                "live",
                "Monitor the live stream: read requests from Kafka, emit alerts, decisions and "
                "metrics.",
            ),
            Entry(
                "serve",
                "live",
                "Answer gateways: look-ups, the change feed, and changes by people, from memory.",
            ),
            Entry(
                "console",
                "operate.console",
                "Serve web pages: who extracts the model and why, and what to do about it.",
            ),
            Entry(
                "forward",
                "forward",
                "Send requests from logs to Kafka. Nothing is lost while Kafka is away.",
            ),
            Entry(
                "produce",
                "live",
                "Send recorded requests to Kafka, at full speed unless a rate or a speed is set.",
            ),
            Entry("topics", "live", "Manage the Kafka topics."),
            Entry(
                "kernels",
                "operate.kernels",
                "Show whether the compiled kernels of this installation are used.",
            ),
            Entry("token", "live", "Make a token for the decision service or the forwarder."),
        ),
        "Try it, and fit it to your traffic": (
            Entry("demo", "live", "Watch the monitor catch simulated extraction on this machine."),
            Entry(
                "init",
                "operate.init",
                "Write a first configuration: settings, secrets, compose, Prometheus and the "
                "gateway.",
            ),
            Entry(
                "inspect",
                "inspect",
                "Take a first look at a log: its format, how requests are read, what is missing.",
            ),
            Entry(
                "replay",
                "offline",
                "Run recorded requests through the same engine as a worker, without Kafka or "
                "Redis.",
            ),
            Entry(
                "simulate",
                "offline",
                "Write labelled traffic: ordinary keys and keys that extract the model.",
            ),
            Entry(
                "evaluate",
                "offline",
                "Measure detection on labelled traffic: recall, requests to detection, false "
                "alerts.",
            ),
            Entry(
                "calibrate",
                "model",
                "Build a baseline from ordinary traffic. It holds statistics only, no prompt.",
            ),
            Entry(
                "learn",
                "model",
                "Fit the content model to ordinary prompts. It holds statistics only, no prompt.",
            ),
            Entry(
                "public",
                "inspect",
                "Show the baseline that workers have learned from all keys, and its uncertainty.",
            ),
        ),
    }


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"extraction-monitor {version('extraction-monitor')}")
        raise typer.Exit


@app.callback(
    epilog="Exit status 0: done, and all is well. 1: done, and the answer is bad, as the help of "
    "each command says. 2: not done; a sentence on standard error says why. 130: interrupted."
)
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Detects model extraction through an LLM API in real time."""


def main() -> None:
    """Run a command."""
    # Most objects are of modules and tables and live on; reference counts free most of the others.
    gc.set_threshold(100_000, 20, 100)
    # aiokafka logs every failed attempt. The final error of the command reports it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    checking = sys.argv[1:3] == ["config", "check"]  # reports them as errors
    if (
        sys.argv[1:]
        and not checking
        and not _HELP & set(sys.argv)
        and "_XM_COMPLETE" not in os.environ
    ):
        _report_unknown_variables()
    try:
        app()
    except MonitorError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _report_unknown_variables() -> None:
    from monitor import config

    for sentence in config.unknown_variables():
        typer.echo(sentence, err=True)


if __name__ == "__main__":
    main()

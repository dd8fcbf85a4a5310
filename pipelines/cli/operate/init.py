"""The command that writes a first configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.errors import ConfigError, InputError
from pipelines.cli.options import stderr
from pipelines.setup.choices import GATEWAYS, NO_GATEWAY, Choices

commands = typer.Typer()

_KINDS = (*GATEWAYS, NO_GATEWAY)


@commands.command(epilog="Example: `xm init --gateway nginx --sample access.jsonl`")
def init(
    folder: Annotated[Path, typer.Argument(help="Write into this folder.")] = Path(
        "extraction-monitor"
    ),
    kafka: Annotated[
        str | None, typer.Option(help="Bootstrap servers, comma-separated.", metavar="HOST:PORT")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(help="URL of Redis. With a password: --redis-url-file.")
    ] = None,
    redis_url_file: Annotated[
        Path | None, typer.Option(help="A file that has the URL of Redis.")
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="The gateway.", metavar="|".join(_KINDS))
    ] = None,
    api: Annotated[
        str, typer.Option(help="The model API behind the gateway.", metavar="HOST:PORT")
    ] = "127.0.0.1:8000",
    sample: Annotated[
        Path | None, typer.Option(help="A log of requests, from which the mapping is guessed.")
    ] = None,
    mapping: Annotated[
        str | None, typer.Option(help="The preset of the log, instead of a guess.")
    ] = None,
    alertmanager: Annotated[str | None, typer.Option(help="URL of Alertmanager.")] = None,
    webhook: Annotated[
        str | None, typer.Option(help="URL of a webhook. A secret to sign with is made.")
    ] = None,
    pagerduty_key_file: Annotated[
        Path | None, typer.Option(help="A file that has PagerDuty's integration key.")
    ] = None,
    slack_url_file: Annotated[
        Path | None, typer.Option(help="A file that has the URL of a Slack webhook.")
    ] = None,
    console: Annotated[
        str | None,
        typer.Option(help="Name of the console's first administrator. A token is made."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take the defaults.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files. Secrets that exist are kept.")
    ] = False,
) -> None:
    """Write a first configuration: settings, secrets, compose, Prometheus and the gateway.

    Asks on a terminal for what no option says. Then checks what it has written, as `xm config
    check` does.
    """
    ask = sys.stdin.isatty() and not yes
    kafka = _asked(kafka, "Kafka bootstrap servers", "127.0.0.1:9092", ask)
    if redis_url_file is None:
        redis = _asked(redis, "URL of Redis", "redis://127.0.0.1:6379/0", ask)
    gateway = _asked(gateway, f"Gateway ({', '.join(_KINDS)})", NO_GATEWAY, ask)
    if gateway not in _KINDS:
        raise InputError(f"There is no gateway {gateway!r}: choose from {', '.join(_KINDS)}.")
    if sample is None and mapping is None and ask:
        named = typer.prompt("A log of requests (empty: none)", "", show_default=False)
        sample = Path(named) if named else None
    alertmanager = _asked(alertmanager, "URL of Alertmanager (empty: none)", "", ask)
    console = _asked(console, "Administrator of the console (empty: no console)", "", ask)
    token, line = _administrator(console) if console else ("", "")
    chosen = Choices(
        folder=folder.resolve(),
        kafka=kafka,
        redis=redis or "",
        redis_file=redis_url_file,
        gateway=gateway,
        api=api,
        mapping=mapping or _mapping(sample, gateway),
        alertmanager=alertmanager,
        webhook=webhook or "",
        pagerduty_key=pagerduty_key_file,
        slack_url=slack_url_file,
        console_user=line,
    )
    _write(chosen, force, token)


def _asked(given: str | None, question: str, default: str, ask: bool) -> str:
    if given is not None:
        return given
    return str(typer.prompt(question, default, show_default=bool(default))) if ask else default


def _administrator(name: str) -> tuple[str, str]:
    """A token and the line of the console's users file.

    Raises:
        ConfigError: if the console is not installed, or the name cannot be used.
    """
    try:
        from pipelines.console.access.users import new_user
    except ImportError as error:
        raise ConfigError(
            "The console needs the extra console: pip install 'extraction-monitor[console]'."
        ) from error
    return new_user(name, "admin")


def _mapping(sample: Path | None, gateway: str) -> str:
    """The mapping that reads a log, or else that of the gateway's log.

    Raises:
        InputError: if nothing reads the log.
    """
    if sample is None:
        return GATEWAYS[gateway][1] if gateway in GATEWAYS else "native"
    from pipelines.inspect.recording import inspect_recording

    seen = inspect_recording(str(sample), "native")
    if not seen.mostly_read:
        raise InputError(
            f"No mapping reads {sample}: see `xm inspect {sample}`, name a preset with --mapping, "
            "or leave --sample out and write the mapping yourself."
        )
    preset: Any = seen.mapping.get("preset")
    return str(preset) if len(seen.mapping) == 1 and preset else seen.toml


def _write(chosen: Choices, force: bool, token: str) -> None:
    from monitor import config
    from pipelines.health.settings import check_settings
    from pipelines.setup.files import files_of
    from pipelines.setup.write import write
    from pipelines.show.operate.config import show_report
    from pipelines.show.operate.init import show_next

    config.Settings(kafka=chosen.kafka)
    written = write(files_of(chosen), force=force)
    os.environ["XM_CONFIG"] = str(chosen.settings_file)
    report = check_settings()
    show_next(chosen, written)
    if chosen.users_file in written:
        stderr.print(f"Token of the console's administrator, shown once: {token}", markup=False)
    show_report(report)
    if report.errors:
        raise typer.Exit(1)

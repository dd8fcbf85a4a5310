"""Arguments and helpers that several commands share."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import msgspec
import typer
from rich.console import Console

from monitor.errors import InputError
from monitor.identity import is_pseudonym
from pipelines.worker.roles import Role

if TYPE_CHECKING:
    from monitor.config import Settings

RequestFile = Annotated[str, typer.Argument(help="A file or folder of requests; - is stdin.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Overturned = Annotated[
    bool,
    typer.Option(
        "--overturned",
        help="Count keys whose alerts a person withdrew as ordinary. Asks Redis, and needs the "
        "workers' XM_IDENTITY_SECRET.",
    ),
]
Why = Annotated[str, typer.Option(help="The reason, for the audit.", metavar="TEXT")]


def _login() -> str:
    """The name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"uid {os.getuid()}"


Who = Annotated[
    str,
    typer.Option(
        help="Who makes the change, for the audit. Default: the login name.",
        metavar="NAME",
        default_factory=_login,
        show_default=False,
    ),
]

stderr = Console(stderr=True, soft_wrap=True, highlight=False)


def has_secret(settings: Settings) -> bool:
    """Whether the settings name an identity secret."""
    return settings.identity_secret is not None or settings.identity_secret_file is not None


def with_secret(settings: Settings) -> Settings:
    """Return the settings, with a random secret for this run if they have none."""
    if has_secret(settings):
        return settings
    from pydantic import SecretStr

    return settings.model_copy(update={"identity_secret": SecretStr(secrets.token_hex(32))})


def typed(what: str) -> str:
    """Read a secret without echo, or from a pipe. An argument would be in the process list."""
    text = getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline()
    return text.strip()


def seconds_of(duration: str) -> float:
    """The seconds of a duration as people write it.

    Raises:
        InputError: if it has another form.

    >>> seconds_of("90m")
    5400.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", duration)
    if found is None:
        raise InputError(f"{duration!r} is not a duration: write 30s, 90m, 4h or 7d.")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]]


def time_of(text: str) -> float:
    """Seconds since the epoch of `now`, `-2h` (two hours before now) or an RFC 3339 time.

    Raises:
        InputError: if it has another form.

    >>> time_of("2026-03-02T00:00:00Z")
    1772409600.0
    """
    if text == "now":
        return time.time()
    if text.startswith("-"):
        return time.time() - seconds_of(text[1:])
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise InputError(f"{text!r} is not a time: write now, -2h or 2026-03-02T00:00:00Z.")
    return read.timestamp()


def roles_of(named: Sequence[str] | None) -> list[Role]:
    """The roles that an option names, with commas or repeated; all without one.

    Raises:
        InputError: if one does not exist.

    >>> [role.value for role in roles_of(["link,watch"])]
    ['watch', 'link']
    """
    names = {name.strip() for each in named or ["all"] for name in each.split(",")}
    unknown = names - {*Role, "all"}
    if unknown:
        raise InputError(
            f"{min(unknown)!r} is not a role of a worker: choose among {', '.join(Role)}."
        )
    return [role for role in Role if role in names or "all" in names]


def output(report: object, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a report as one JSON object, or show it."""
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        show(report)


def note_differences(settings: Settings) -> None:
    """Say on standard error where thresholds and reference are not those of the workers."""
    from pipelines.health.differences import differences

    for sentence in differences(settings):
        stderr.print(sentence, markup=False)


def done(facts: dict[str, object], as_json: bool, sentence: str) -> None:
    """Print what a command did: as one JSON object, or in a sentence."""
    if as_json:
        text = {key: str(each) if isinstance(each, Path) else each for key, each in facts.items()}
        sentence = msgspec.json.encode(text).decode()
    typer.echo(sentence)


def check_pseudonym(text: str, what: str, remedy: str) -> None:
    """Check the form of a pseudonym. The error does not repeat what may be an API key.

    Raises:
        InputError: if it has another form.
    """
    if not is_pseudonym(text):
        raise InputError(
            f"{what} is not a pseudonym (k_ and 24 hexadecimal digits, as in alerts; a_ for an "
            f"account, u_ for an end user). {remedy}."
        )


@contextmanager
def output_file(path: Path | None, option: str) -> Iterator[BinaryIO | None]:
    """Open the file that an option names, or yield `None` without one.

    Raises:
        InputError: if it cannot be written.
    """
    if path is None:
        yield None
        return
    try:
        file = path.open("wb")
    except OSError as error:
        raise InputError(
            f"Cannot write {path} ({error.strerror}). Name another file with {option}."
        ) from error
    with file:
        yield file

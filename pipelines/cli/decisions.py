"""Commands on decisions: list them, decide in place of the detectors, hold them back; the audit."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitor import config
from monitor.errors import ConfigError, InputError
from pipelines.cli import complete
from pipelines.cli.options import AsJson, Who, Why, check_pseudonym, output, seconds_of, typed

if TYPE_CHECKING:
    from monitor.alerting.changes import Change
    from monitor.config import Settings
    from monitor.store.control import ControlStore

commands = typer.Typer()
decisions_app = typer.Typer()
commands.add_typer(decisions_app, name="decisions")


class RawType(StrEnum):
    """What a raw name is the name of."""

    KEY = "key"
    ACCOUNT = "account"
    PAYMENT = "payment"
    NETWORK = "network"


Subject = Annotated[
    str | None, typer.Argument(help="A pseudonym, as in alerts.", autocompletion=complete.keys)
]
Raw = Annotated[
    RawType | None,
    typer.Option("--raw", help="Read the name itself, of this type, from a prompt or a pipe."),
]
For = Annotated[str, typer.Option("--for", help="How long: 30s, 90m, 4h, 7d.", metavar="TIME")]
ForNow = Annotated[
    str | None,
    typer.Option(
        "--for", help="How long: 30s, 90m, 4h, 7d. Default: until changed.", metavar="TIME"
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before enforcing more.")]
State = Annotated[
    Literal["on", "off", "default"], typer.Argument(help="`default`: as the settings say.")
]


def _store(settings: Settings) -> ControlStore:
    from monitor.store.control import ControlStore

    return ControlStore(settings.redis_url)


def _pseudonym(subject: str | None, raw: RawType | None, settings: Settings) -> str:
    """The subject of a command, from its pseudonym or from the name that a person types."""
    if (subject is None) == (raw is None):
        raise ConfigError("Give a pseudonym, as in alerts, or --raw key to enter the API key.")
    if subject is not None:
        from monitor.requests.ties import is_tie

        if not is_tie(subject):
            check_pseudonym(subject, "The argument", "Enter a raw name with --raw TYPE")
        return subject
    assert raw is not None
    from monitor.store.redis import RedisStore
    from pipelines.inspect.subjects.names import pseudonym_of

    store = RedisStore(settings.redis_url, settings.record_seconds)
    return pseudonym_of(raw.value, typed(f"Name of the {raw}"), store, settings)


def _done(change: Change, as_json: bool) -> None:
    from pipelines.show.actions.audit import show_one

    output(change, as_json, show_one)


@decisions_app.callback(invoke_without_command=True, epilog="Example: `xm decisions`")
def decisions(context: typer.Context, as_json: AsJson = False) -> None:
    """List decisions as they apply, and decide by hand. Every change is audited."""
    if context.invoked_subcommand is None:
        decisions_list(as_json=as_json)


@decisions_app.command("list", epilog="Example: `xm decisions list k_e1d20bc60b4589d33ce25944`")
def decisions_list(
    subject: Subject = None,
    raw: Raw = None,
    top: Annotated[int, typer.Option(help="Number of decisions to list.", min=0)] = 50,
    as_json: AsJson = False,
) -> None:
    """List all decisions in force, or one: the action, its end, and whether it is enforced."""
    settings = config.load()
    from monitor.store.redis import RedisStore
    from pipelines.inspect.decisions import list_decisions, reader
    from pipelines.show.actions.decisions import show, show_one

    store = RedisStore(settings.redis_url, settings.record_seconds)
    if subject is None and raw is None:
        output(list_decisions(store, _store(settings)), as_json, partial(show, top=top))
        return
    name = _pseudonym(subject, raw, settings)
    found = reader(store, settings)(name)
    if found is None:
        raise InputError(f"There is no decision on {name}.")
    output(found, as_json, show_one)


@decisions_app.command(
    "add", epilog="Example: `xm decisions add k_e1d2… --action block --for 4h --why INC-1207`"
)
def decisions_add(
    action: Annotated[
        Literal["observe", "mark", "throttle", "challenge", "block"],
        typer.Option(help="`observe` lifts what the detectors decided."),
    ],
    duration: For,
    why: Why,
    who: Who,
    subject: Subject = None,
    raw: Raw = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests per minute, for `throttle`.", metavar="N")
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Record it only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide on a key, an account or an end user, in place of the detectors."""
    settings = config.load()
    name = _pseudonym(subject, raw, settings)
    change = _store(settings).decide(
        name, action, seconds_of(duration), who, why, rate=rate, shadow=shadow
    )
    _done(change, as_json)


@decisions_app.command("delete", epilog="Example: `xm decisions delete k_e1d2… --why INC-1207`")
def decisions_delete(
    why: Why, who: Who, subject: Subject = None, raw: Raw = None, as_json: AsJson = False
) -> None:
    """Delete all decisions on a subject. Detectors may decide again while an alert is open.

    To keep it lifted, use `add --action observe`, `allow` or `xm alerts withdraw`.
    """
    settings = config.load()
    _done(_store(settings).delete(_pseudonym(subject, raw, settings), who, why), as_json)


@decisions_app.command(
    "allow", epilog="Example: `xm decisions allow a_5f1e… --owner sales --for 30d --why 'pilot'`"
)
def decisions_allow(
    owner: Annotated[str, typer.Option(help="Who answers for it.", metavar="NAME")],
    duration: For,
    why: Why,
    who: Who,
    subject: Subject = None,
    raw: Raw = None,
    as_json: AsJson = False,
) -> None:
    """Put a key, account, end user, payment or network on the allow-list.

    No decision on it applies, nor on a key that used this account, payment or network.
    """
    settings = config.load()
    name = _pseudonym(subject, raw, settings)
    _done(_store(settings).allow(name, owner, seconds_of(duration), who, why), as_json)


@decisions_app.command("deny", epilog="Example: `xm decisions deny a_5f1e… --why 'pilot ended'`")
def decisions_deny(
    why: Why, who: Who, subject: Subject = None, raw: Raw = None, as_json: AsJson = False
) -> None:
    """Take a subject off the allow-list: decisions apply to it again."""
    settings = config.load()
    _done(_store(settings).disallow(_pseudonym(subject, raw, settings), who, why), as_json)


@decisions_app.command("shadow", epilog="Example: `xm decisions shadow off --why 'trial is over'`")
def decisions_shadow(
    state: State,
    why: Why,
    who: Who,
    kind: Annotated[
        str, typer.Option(help="Only for this kind of alert; `operator`: decisions by hand.")
    ] = "",
    duration: ForNow = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Switch shadow mode: on records decisions and enforces none, off enforces them.

    Applies at once, without a restart, and in place of XM_DECISIONS__SHADOW.
    """
    _switch("shadow", state, who, why, duration, yes, as_json, _checked_kind(kind))


@decisions_app.command("kill", epilog="Example: `xm decisions kill --why 'customers locked out'`")
def decisions_kill(
    why: Why,
    who: Who,
    state: Annotated[Literal["on", "off"], typer.Argument(help="`off`: enforce again.")] = "on",
    duration: ForNow = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Enforce nothing, at once and everywhere, until it is switched off."""
    _switch("kill", state, who, why, duration, yes, as_json)


@decisions_app.command("caps", epilog="Example: `xm decisions caps off --for 2h --why INC-1207`")
def decisions_caps(
    state: State,
    why: Why,
    who: Who,
    duration: ForNow = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Lift the caps on how many keys are challenged or blocked in an hour, or restore them."""
    _switch("caps", state, who, why, duration, yes, as_json)


def _switch(
    name: Literal["kill", "shadow", "caps"],
    state: str,
    who: str,
    why: str,
    duration: str | None,
    yes: bool,
    as_json: bool,
    kind: str = "",
) -> None:
    until = None if duration is None else time.time() + seconds_of(duration)
    on = {"on": True, "off": False, "default": None}[state]
    store = _store(config.load())
    if not (on or yes) and sys.stdin.isatty():
        typer.confirm(
            "More decisions may be enforced. `xm decisions` lists them. Go on?", abort=True
        )
    _done(store.switch(name, on, who, why, kind=kind, until=until), as_json)


def _checked_kind(kind: str) -> str:
    from monitor.alerting.enforcement import SHADOW_KINDS

    if kind and kind not in SHADOW_KINDS:
        raise InputError(f'There is no kind "{kind}". Choose one of {", ".join(SHADOW_KINDS)}.')
    return kind


@commands.command(epilog="Example: `xm audit --since 7d`")
def audit(
    since: Annotated[str, typer.Option(help="How far back: 90m, 4h, 7d.", metavar="TIME")] = "366d",
    as_json: AsJson = False,
) -> None:
    """Show who changed decisions, switches and the allow-list, when, and why.

    Redis has the last 100,000 changes. The topic extraction.audit has all of them.
    """
    settings = config.load()
    from pipelines.show.actions.audit import show

    output(list(_store(settings).audit(time.time() - seconds_of(since))), as_json, show)

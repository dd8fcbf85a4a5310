"""Commands on alerts: list, show, test, silence, withdraw, redeliver."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from monitor import config
from monitor.errors import ConfigError, InputError
from pipelines.cli import complete
from pipelines.cli.options import AsJson, Who, Why, done, output, seconds_of

if TYPE_CHECKING:
    from monitor.alerting.enforcement import Control
    from monitor.config import Settings
    from monitor.config.receivers import Severity
    from monitor.store.alert_book import AlertBook
    from pipelines.notify.route import Route

commands = typer.Typer()
alerts_app = typer.Typer(no_args_is_help=True, help="Read alerts, and act on them.")
commands.add_typer(alerts_app, name="alerts")

AlertId = Annotated[
    str, typer.Argument(help="Alert id or unique prefix.", autocompletion=complete.alert_ids)
]


@alerts_app.command("list", epilog="Example: `xm alerts list --severity warning`")
def alerts_list(
    everything: Annotated[
        bool, typer.Option("--all", help="Include alerts that ended in the last 3 days.")
    ] = False,
    severity: Annotated[
        str, typer.Option(help="Least severity: info, warning, critical.")
    ] = "info",
    kind: Annotated[str, typer.Option(help="Only this kind of alert.")] = "",
    subject: Annotated[str, typer.Option(help="Only this key, account or campaign.")] = "",
    as_json: AsJson = False,
) -> None:
    """List open alerts, the most severe first, with the receivers that have them."""
    settings = config.load()
    from pipelines.notify.listing import list_alerts
    from pipelines.show.actions.alerts import show_list

    found = list_alerts(
        _book(settings),
        _control(settings),
        time.time(),
        everything=everything,
        kind=kind,
        subject=subject,
        least_severity=_severity(severity),
    )
    output(found, as_json, show_list)


@alerts_app.command("show", epilog="Example: `xm alerts show a_fbcd2144`")
def alerts_show(alert: AlertId, as_json: AsJson = False) -> None:
    """Show one alert: evidence, decision, and what each receiver got when."""
    settings = config.load()
    from pipelines.notify.listing import find_alert
    from pipelines.show.actions.alerts import show_alert

    found = find_alert(_book(settings), _control(settings), alert, time.time())
    output(found, as_json, show_alert)


@alerts_app.command("test", epilog="Example: `xm alerts test pager`")
def alerts_test(
    receivers: Annotated[
        list[str] | None, typer.Argument(help="Names of receivers; default: all.")
    ] = None,
    severity: Annotated[str, typer.Option(help="Of the test alert.")] = "info",
    as_json: AsJson = False,
) -> None:
    """Send a test alert to receivers and resolve it. Exit status 1: one did not accept it."""
    settings = config.load()
    from pipelines.notify.trial import try_receivers
    from pipelines.show.actions.alerts import show_trials

    tried = asyncio.run(try_receivers(_routes(settings, receivers or []), _severity(severity)))
    output(tried, as_json, show_trials)
    if any(each.failure for each in tried):
        raise typer.Exit(1)


@alerts_app.command(
    "silence", epilog="Example: `xm alerts silence k_30263b9df560394b856f332d --for 8h --why test`"
)
def alerts_silence(
    subject: Annotated[
        str,
        typer.Argument(
            help="Alert (a_…), key, account, end user or campaign.",
            autocompletion=complete.subjects,
        ),
    ] = "",
    kind: Annotated[str, typer.Option(help="Only this kind of alert.")] = "",
    duration: Annotated[
        str, typer.Option("--for", help="For how long: 30m, 4h, 7d.", metavar="TIME")
    ] = "4h",
    why: Annotated[str, typer.Option(help="Reason, for the audit.")] = "",
    end: Annotated[str, typer.Option(help="End this silence (s_…).")] = "",
    as_json: AsJson = False,
    *,
    who: Who,
) -> None:
    """Deliver no alerts on a subject or of a kind for a while; without either, list silences.

    Decisions stay in force. The end of an alert is delivered. An alert that is still open when the
    silence ends is delivered then.
    """
    settings = config.load()
    from pipelines.notify.silencing import end_silence, silence
    from pipelines.show.actions.alerts import show_silences

    book = _book(settings)
    if end:
        typer.echo(f"{end_silence(book, end, who, why).id} has ended.")
    elif subject or kind:
        added = silence(book, subject, kind, seconds_of(duration), who, why)
        output([added], as_json, show_silences)
    elif why:
        raise InputError("Name what to silence: the id of an alert or of its subject, or --kind.")
    else:
        output(book.silences(time.time()), as_json, show_silences)


@alerts_app.command(
    "withdraw", epilog='Example: `xm alerts withdraw a_fbcd2144 --why "our own CI"`'
)
def alerts_withdraw(
    alert: AlertId,
    why: Why,
    who: Who,
    undo: Annotated[bool, typer.Option("--undo", help="Take the withdrawal back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Declare an alert to be no attack: it resolves, and its decisions no longer apply.

    The monitor remembers it. It alerts on the subject again once something new is seen: another
    kind, a higher severity, far more requests, or a campaign of other keys.
    """
    settings = config.load()
    from monitor.store.control import ControlStore
    from pipelines.notify.listing import find_alert

    store = ControlStore(settings.redis_url)
    found = find_alert(_book(settings), store.read(), alert, time.time()).alert
    if undo:
        change = store.reinstate(found.id, who, why)
    else:
        from pipelines.inspect.withdrawal import Behaviours

        what = found.id, found.subject.id, found.kind, found.severity
        requests, members = Behaviours(settings).of(found)
        change = store.withdraw(*what, who, why, requests=requests, members=members)
    what_now = "is an alert again" if undo else "is withdrawn"
    sentence = f"{found.id} ({found.kind} of {found.subject.id}) {what_now}"
    done(
        {"alert": found.id, "withdrawn": not undo, "audit": change.id},
        as_json,
        f"{sentence}: audit entry {change.id}.",
    )


@alerts_app.command("redeliver", epilog="Example: `xm alerts redeliver --receiver pager`")
def alerts_redeliver(
    receiver: Annotated[str, typer.Option(help="Only to this receiver.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send the alerts that receivers did not accept again. Those accepted since are left out.

    Reads the topic of undelivered alerts and sends from here, so it needs the receivers' settings
    and secrets. Exit status 1: a receiver still does not accept.
    """
    settings = config.load()
    import msgspec

    from pipelines.kafka.read import read_topic
    from pipelines.notify.dead_letters import DeadLetter
    from pipelines.notify.redeliver import redeliver
    from pipelines.show.actions.alerts import show_redeliveries

    routes = _routes(settings, [receiver] if receiver else [])
    values = read_topic(settings, settings.topics.undelivered)
    letters = [msgspec.json.decode(value, type=DeadLetter) for value in values]
    if receiver:
        letters = [letter for letter in letters if letter.receiver == receiver]
    tried = asyncio.run(redeliver(letters, routes, _book(settings), time.time()))
    output(tried, as_json, show_redeliveries)
    if any(each.outcome in ("away", "refused") for each in tried):
        raise typer.Exit(1)


def _book(settings: Settings) -> AlertBook:
    from monitor.store.alert_book import AlertBook

    return AlertBook(settings.redis_url)


def _control(settings: Settings) -> Control:
    from monitor.store.control import ControlStore

    return ControlStore(settings.redis_url).read()


def _routes(settings: Settings, names: list[str]) -> list[Route]:
    from pipelines.notify import routes

    found = routes(settings)
    known = [route.receiver.name for route in found]
    if not found:
        raise ConfigError(
            "No receiver is configured: add a table [receivers.routes.NAME] to the settings, or "
            "set XM_RECEIVERS__ALERTMANAGER_URL."
        )
    for name in names:
        if name not in known:
            raise InputError(f"There is no receiver {name}: choose from {', '.join(known)}.")
    return [route for route in found if not names or route.receiver.name in names]


def _severity(text: str) -> Severity:
    from monitor.config.receivers import Severity

    for severity in get_args(Severity):
        if text == severity:
            return cast("Severity", severity)
    raise InputError(f"There is no severity {text}: choose info, warning or critical.")

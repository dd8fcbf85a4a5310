"""Commands on sharing: campaigns to partners and from them."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from monitor import config
from monitor.errors import ConfigError, InputError
from pipelines.cli.options import AsJson, Who, Why, output, seconds_of, stderr

if TYPE_CHECKING:
    from pipelines.sharing.exchange import Exchange, Sent

commands = typer.Typer()
share = typer.Typer(no_args_is_help=True)
commands.add_typer(share, name="share", help="Exchange campaigns with partners.")

Level = Annotated[
    Literal["clear", "green", "amber", "amber+strict", "red"],
    typer.Option("--tlp", help="How far partners may pass it on."),
]
To = Annotated[
    str, typer.Option("--to", help="A file, `taxii` or `misp`.", metavar="FILE|taxii|misp")
]
Format = Annotated[Literal["stix", "misp"], typer.Option("--format", help="Of a file.")]


@share.callback()
def _share() -> None:
    """Exchange campaigns with partners, as salted hashes."""


@share.command("export", epilog="Example: `xm share export c_75b8 --tlp amber --to taxii`")
def share_export(
    campaign: Annotated[str, typer.Argument(help="A campaign or its case, or the start of an id.")],
    to: To,
    who: Who,
    level: Level = "amber",
    format: Format = "stix",
    why: Annotated[str, typer.Option(help="The reason, for the audit.", metavar="TEXT")] = "shared",
    as_json: AsJson = False,
) -> None:
    """Share a campaign: hashes of what its members have in common, and rounded numbers.

    Again, it updates what was shared before. No prompt, key, address or pseudonym leaves.
    """
    exchange = _exchange()
    from pipelines.show.cases.share import show_sent

    sent = exchange.export(_campaign_of(campaign), level, to, format, time.time())
    _record(exchange, sent, who, why)
    output(sent, as_json, show_sent)


@share.command("revoke", epilog="Example: `xm share revoke c_75b8 --to taxii --why 'no attack'`")
def share_revoke(
    campaign: Annotated[str, typer.Argument(help="The start of its id, here or as shared.")],
    to: To,
    why: Why,
    who: Who,
    format: Format = "stix",
    as_json: AsJson = False,
) -> None:
    """Take a shared campaign back. Partners drop its indicators with their next poll."""
    exchange = _exchange()
    from pipelines.show.cases.share import show_sent

    sent = exchange.revoke(campaign, to, format, time.time())
    _record(exchange, sent, who, why, revoked=True)
    output(sent, as_json, show_sent)


@share.command("import", epilog="Example: `xm share import partner.json`")
def share_import(
    file: Annotated[str, typer.Argument(help="A STIX bundle or events of MISP; - is stdin.")],
    who: Who,
    why: Annotated[
        str, typer.Option(help="The reason, for the audit.", metavar="TEXT")
    ] = "received",
    as_json: AsJson = False,
) -> None:
    """Import what a partner has shared. It helps to link keys, and alone accuses nobody."""
    exchange = _exchange()
    from pipelines.sharing.formats.received import MOST_BYTES
    from pipelines.show.cases.share import show_import

    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): name another file.") from error
    result = exchange.read_file(data, file, time.time())
    exchange.record("import", file[:200], who, why, result.counts())
    output(result, as_json, show_import)


@share.command("poll", epilog="Example: `xm share poll --every 15m`")
def share_poll(
    every: Annotated[
        str | None, typer.Option(help="Again and again, after this time.", metavar="TIME")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Read the collection from its beginning.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import what partners have added to the TAXII collection since the last poll."""
    pause = seconds_of(every) if every else None
    exchange = _exchange()
    from monitor.errors import StoreUnavailableError
    from pipelines.sharing.taxii import PartnerError
    from pipelines.show.cases.share import show_import

    while True:
        try:
            result = exchange.poll(time.time(), everything=everything)
            everything = False
            if pause is None or result.has_news:
                output(result, as_json, show_import)
        except (PartnerError, StoreUnavailableError) as error:
            if pause is None:
                raise
            stderr.print(str(error), markup=False)
        if pause is None:
            return
        time.sleep(pause)


@share.command("sightings", epilog="Example: `xm share sightings --to taxii`")
def share_sightings(
    to: Annotated[str, typer.Option("--to", help="A file or `taxii`.", metavar="FILE|taxii")],
    as_json: AsJson = False,
) -> None:
    """Report to partners which of their indicators were seen in campaigns here, if that is news."""
    exchange = _exchange()
    from pipelines.show.cases.share import show_sightings

    output(exchange.send_sightings(to, time.time()), as_json, show_sightings)


@share.command("list", epilog="Example: `xm share list`")
def share_list(as_json: AsJson = False) -> None:
    """List what was shared and what was imported, by source, and how partners know this side."""
    exchange = _exchange()
    from pipelines.show.cases.share import show_list

    output(exchange.overview(time.time()), as_json, show_list)


@share.command("drop", epilog="Example: `xm share drop 3f6c1a2b --why 'network of a university'`")
def share_drop(
    names: Annotated[list[str], typer.Argument(help="Starts of ids of indicators, or sources.")],
    why: Why,
    who: Who,
    as_json: AsJson = False,
) -> None:
    """Drop indicators that partners have shared, and do not import them again."""
    exchange = _exchange()
    from pipelines.show.cases.share import show_dropped

    count = exchange.drop(names, time.time())
    exchange.record("drop", ", ".join(names)[:200], who, why, {"indicators": count})
    output({"dropped": count}, as_json, show_dropped)


def _campaign_of(text: str) -> str:
    """The campaign that is meant by its own id, or by a case of it."""
    if not text.startswith("case_"):
        return text
    from pipelines.cases.access import case_store

    store = case_store(config.load(), sign=False)
    case = store.case(store.find(text))
    if case.type != "campaign":
        raise InputError(f"{case.id} is about a single {case.type}: only campaigns are shared.")
    if case.is_overturned:
        raise InputError(f"The decision of {case.id} was overturned, so it is not shared.")
    return case.subject


def _record(exchange: Exchange, sent: Sent, who: str, why: str, *, revoked: bool = False) -> None:
    """Write to the audit, and to the campaign's open case, that it was shared or taken back."""
    after = {"to": sent.target, "tlp": sent.tlp, "id": sent.id, "revoked": revoked}
    exchange.record("share", sent.campaign, who, why, after)
    settings = config.load()
    if settings.cases.key_file is None:
        return
    from monitor.evidence.entries import Exported
    from pipelines.cases.access import case_store

    store = case_store(settings)
    case = store.open_case_of(sent.campaign)
    if case is not None:
        what = "taken back from" if revoked else f"shared under TLP:{sent.tlp.upper()} with"
        store.append(case, Exported(sent.digest, f"{what} {sent.target}: {why}"), who)


def _exchange() -> Exchange:
    settings = config.load()
    if not all(map(find_spec, ("stix2", "taxii2client", "pymisp"))):
        raise ConfigError(
            "Sharing needs the extra `sharing`. Install it with "
            "`pip install 'extraction-monitor[sharing]'`."
        )
    from pipelines.sharing.exchange import Exchange

    return Exchange(settings)

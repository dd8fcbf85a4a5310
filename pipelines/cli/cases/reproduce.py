"""The command that reproduces the facts of a case: `xm case reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config
from monitor.errors import EvidenceError, InputError
from monitor.evidence.ring import load_ring, need_cryptography
from pipelines.cli.cases.group import case
from pipelines.cli.cases.verify import own_ring
from pipelines.cli.options import AsJson, output

if TYPE_CHECKING:
    from monitor.config import Settings
    from monitor.evidence.entries import Entry
    from monitor.evidence.facts import Facts
    from monitor.evidence.ring import Ring


@case.command("reproduce", epilog="Example: `xm case reproduce case_75b8`")
def case_reproduce(
    what: Annotated[str, typer.Argument(help="A case, or a bundle.", metavar="CASE|FILE")],
    files: Annotated[
        list[str] | None,
        typer.Option(
            help="Replay these recorded requests instead of Kafka; may be repeated.", metavar="FILE"
        ),
    ] = None,
    entry: Annotated[
        int | None, typer.Option(help="Entry with the facts. Default: the last.", min=1)
    ] = None,
    requests: Annotated[
        bool,
        typer.Option(
            "--requests/--no-requests",
            help="For a campaign, replay requests too, not its fingerprints only.",
        ),
    ] = True,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Public keys that you trust. Default: those of this deployment.", metavar="FILE"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay what a case rests on, and compare its facts.

    Reads the offsets that the case names from Kafka, with the settings of the case and the
    identity secret of the deployment. Changes nothing. Ends with status 1 if a value differs.
    """
    need_cryptography()
    settings = config.load()
    from monitor.identity import from_settings
    from pipelines.cases.reproduction.reproduce import reproduce, reproduce_files
    from pipelines.show.cases.reproduce import show

    ring = load_ring(key) if key else own_ring(settings)
    is_bundle = Path(what).is_file()
    entries = _of_bundle(Path(what), ring) if is_bundle else _of_case(what, settings, ring)
    facts, identity = _facts(entries, entry), from_settings(settings)
    if files:
        found = reproduce_files(facts, settings, identity, files)
    else:
        found = reproduce(facts, settings, identity, requests=requests)
    output(found, as_json, show)
    if found.comparison.counts["different"]:
        raise typer.Exit(1)


def _of_bundle(path: Path, ring: Ring) -> list[Entry]:
    from monitor.evidence.bundle.files import contents, read_bundle
    from monitor.evidence.bundle.verify import verify_bundle
    from monitor.evidence.chain import read_entry

    data = read_bundle(path)
    report = verify_bundle(data, ring, b"")
    if not report.ok:
        raise EvidenceError(f"{path} was changed: `xm case verify {path}` says how.")
    return [read_entry(line) for line in contents(data).chain]


def _of_case(name: str, settings: Settings, ring: Ring) -> list[Entry]:
    from monitor.evidence.store import CaseStore

    store = CaseStore(settings.redis_url, ring)
    return store.entries(store.find(name))


def _facts(entries: list[Entry], number: int | None) -> Facts:
    """The facts in an entry; default: in the last that has some."""
    from monitor.evidence.entries import FactsTaken

    taken = {each.number: each.body.facts for each in entries if isinstance(each.body, FactsTaken)}
    if not taken:
        raise InputError("The case has no facts yet: they are taken when a worker records it.")
    if number is not None and number not in taken:
        known = ", ".join(map(str, taken))
        raise InputError(f"Entry {number} has no facts. These entries have some: {known}.")
    return taken[number or max(taken)]

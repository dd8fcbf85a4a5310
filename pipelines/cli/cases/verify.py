"""The command that verifies a case or a bundle: `xm case verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config
from monitor.errors import InputError
from monitor.evidence.ring import Ring, load_ring, need_cryptography
from pipelines.cli.cases.group import case
from pipelines.cli.options import AsJson, output

if TYPE_CHECKING:
    from monitor.config import Settings

_CASE_PREFIX = "case_"


@case.command(
    "verify",
    epilog="Example: `xm case verify case.zip --key public-keys.json`",
    no_args_is_help=True,
)
def case_verify(
    what: Annotated[str, typer.Argument(help="A bundle, or a case in Redis.", metavar="CASE|FILE")],
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Public keys that you trust: PEM, or JSON as `xm case key show --json` prints it. "
            "Default: those of this deployment.",
            metavar="FILE",
        ),
    ] = None,
    timestamp_ca: Annotated[
        Path | None,
        typer.Option(help="Root certificates of the time stamp's authority, PEM.", metavar="FILE"),
    ] = None,
    topic: Annotated[
        bool, typer.Option("--topic/--no-topic", help="Compare a case with its topic.")
    ] = True,
    through: Annotated[
        str,
        typer.Option(
            help="Digest of an entry that the case must still have, as `head` was shown before.",
            metavar="SHA-256",
        ),
    ] = "",
    each: Annotated[
        bool, typer.Option("--each", help="Verify each signature of a long chain.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a case or a bundle, and say what was changed, if anything was.

    A bundle needs nothing but itself and the public key. Ends with status 1 if anything is wrong.
    """
    need_cryptography()
    if Path(what).is_file():
        ok = _bundle(Path(what), key or [], timestamp_ca, as_json)
    else:
        ok = _case(what, key or [], topic, through, each, as_json)
    if not ok:
        raise typer.Exit(1)


def _bundle(path: Path, keys: list[Path], authority: Path | None, as_json: bool) -> bool:
    from monitor.evidence.bundle.files import read_bundle
    from monitor.evidence.bundle.verify import verify_bundle
    from pipelines.show.cases.verify import show_bundle

    ring = load_ring(keys) if keys else own_ring(config.load())
    roots = b""
    if authority is not None:
        try:
            roots = authority.read_bytes()
        except OSError as error:
            raise InputError(f"Cannot read {authority}: {error.strerror}.") from error
    report = verify_bundle(read_bundle(path), ring, roots)
    output(report, as_json, show_bundle)
    return report.ok


def _case(
    name: str, keys: list[Path], topic: bool, through: str, each: bool, as_json: bool
) -> bool:
    settings = config.load()
    from monitor.evidence.store import CaseStore
    from pipelines.cases.verify import verify_case
    from pipelines.kafka.read import read_topic
    from pipelines.show.cases.verify import show_case

    ring = load_ring(keys) if keys else own_ring(settings)
    store = CaseStore(settings.redis_url, ring)
    try:
        found = store.find(name)
    except InputError:
        if not (topic and name.startswith(_CASE_PREFIX)):
            raise
        found = name  # Redis may have lost all of it
    copies = read_topic(settings, settings.topics.cases) if topic else None
    report = verify_case(
        found, store.lines(found), copies, ring, through=through.lower(), each=each or None
    )
    output(report, as_json, show_case)
    return report.ok


def own_ring(settings: Settings) -> Ring:
    """The public keys of this deployment. The private key is not needed for them."""
    file = settings.cases.public_keys
    ring = load_ring([file] if file is not None and file.exists() else [])
    if not len(ring):
        raise InputError(
            "There are no public keys to verify with: name a file of them with --key, or with "
            "XM_CASES__PUBLIC_KEYS_FILE."
        )
    return ring

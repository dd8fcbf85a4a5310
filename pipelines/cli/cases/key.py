"""Commands on the key that signs cases: `xm case key new|rotate|show`."""

from __future__ import annotations

import typer

from monitor import config
from monitor.evidence.ring import KeySet, need_cryptography
from pipelines.cli.cases.group import case
from pipelines.cli.options import AsJson, output

key = typer.Typer(no_args_is_help=True)
case.add_typer(key, name="key")


@key.callback()
def _key() -> None:
    """Make, replace and show the key that signs cases."""


@key.command("new", epilog="Example: `XM_CASES__KEY_FILE=case.pem xm case key new`")
def key_new(as_json: AsJson = False) -> None:
    """Make the key in the file that XM_CASES__KEY_FILE names.

    Only its owner can read the file. Its public key goes into the file of public keys.
    """
    settings = config.load()
    need_cryptography()
    from monitor.evidence.keys import new_key
    from pipelines.show.cases.keys import show_new

    output(new_key(settings.cases), as_json, show_new)


@key.command("rotate", epilog="Example: `xm case key rotate`")
def key_rotate(as_json: AsJson = False) -> None:
    """Replace the key: a new one signs from now on, the old one is retired and deleted.

    The old public key is kept, so that what it signed can still be verified. Running processes use
    the new key within a second.
    """
    settings = config.load()
    need_cryptography()
    from monitor.evidence.keys import rotate_key
    from pipelines.show.cases.keys import show_new

    output(rotate_key(settings.cases), as_json, show_new)


@key.command("show", epilog="Example: `xm case key show --json > public-keys.json`")
def key_show(as_json: AsJson = False) -> None:
    """Show all public keys; with --json as the file that `xm case verify --key` reads."""
    settings = config.load()
    need_cryptography()
    from monitor.evidence.keys import ring_of
    from pipelines.show.cases.keys import show

    output(KeySet(list(ring_of(settings))), as_json, show)

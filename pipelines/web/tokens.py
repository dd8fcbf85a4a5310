"""Tokens of the HTTP services: who may look up, who may change.

A file has one token per line: a name, what it permits (`look`, or `change`, which includes `look`)
and the SHA-256 of the token. `#` begins a comment. `xm token NAME` makes a token and its line. The
token itself is stored nowhere: it has 256 random bits, so its hash cannot be guessed.

    alice    change  9f86d081884c7d65…
    gateway  look    60303ae22b998861…

The file is read again when it changes. A file that cannot be read then is reported, and the tokens
stay as they were.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from monitor.errors import ConfigError
from pipelines.web.watched import Watched

log = logging.getLogger(__name__)

Right = Literal["look", "change"]
_LINE = re.compile(r"([\w.@-]{1,64})\s+(\w+)\s+([0-9a-fA-F]{64})")
_REMEDY = "write a name, look or change, and a SHA-256, as `xm token NAME` prints them"


class Token(NamedTuple):
    """A known token.

    Attributes:
        name: of its owner, for the audit and for rate limits.
        right: what it permits.
    """

    name: str
    right: Right

    def permits(self, right: Right) -> bool:
        """Whether it permits something."""
        return right == "look" or self.right == "change"


class Tokens:
    """The tokens of a file.

    Args:
        file: default: no tokens, so nothing that needs one is permitted.

    Raises:
        ConfigError: if the file cannot be read.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known = [] if file is None else _read(file)
        self._watched = None if file is None else Watched(file)

    def find(self, presented: str) -> Token | None:
        """The token that a client presents; `None` if it is not known.

        The time that this takes does not depend on how much of a token is right.
        """
        hashed = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        found = [token for known, token in self._known if hmac.compare_digest(known, hashed)]
        return found[0] if found else None

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._file is None or self._watched is None:
            return
        try:
            if self._watched.changed():
                self._known = _read(self._file)
                log.info("tokens_read count=%d", len(self._known))
        except (ConfigError, OSError) as error:
            log.error("tokens_not_read reason=%r", str(error))


def new_token(name: str, right: Right) -> tuple[str, str]:
    """A new token and the line for the file.

    Raises:
        ConfigError: if the name cannot stand in the file.
    """
    token = f"xm_{secrets.token_urlsafe(32)}"
    line = f"{name} {right} {hashlib.sha256(token.encode()).hexdigest()}"
    if not _LINE.fullmatch(line):
        raise ConfigError("A token's name has letters, digits and . _ @ -, at most 64.")
    return token, line


def _read(file: Path) -> list[tuple[bytes, Token]]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"Tokens in {file} cannot be read: {reason}.") from error
    known, names = [], set[str]()
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        if not found or found[2] not in get_args(Right):
            raise ConfigError(f"Line {number} of {file} is not a token: {_REMEDY}.")
        if found[1] in names:
            raise ConfigError(f"Line {number} of {file} repeats the name {found[1]}: remove one.")
        names.add(found[1])
        known.append((bytes.fromhex(found[3]), Token(found[1], cast("Right", found[2]))))
    return known

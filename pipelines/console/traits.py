"""Identifiers of fingerprints, by the names under which pages show them.

A payment and a network have the names that decisions list, `p_` and `n_` and 16 hexadecimal digits.
The others have the short names that campaigns show (`s_1a2b3c4d`), from which the keyed hash does
not follow, so their pages are at a letter and the whole hash.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from monitor.requests.ties import network_tie, payment_tie
from pipelines.console.view.keys import Identifier
from pipelines.inspect.campaign import pseudonym

_LETTERS: dict[Identifier, str] = {
    "payment": "p",
    "network": "n",
    "tls": "t",
    "user_agent": "u",
    "system": "s",
    "model": "m",
}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}
_LONG = {"tls": "tls_fingerprint"}  # kinds that campaigns call something else


class Trait(NamedTuple):
    """An identifier.

    Attributes:
        hash: its keyed hash, unsigned.
    """

    kind: Identifier
    hash: int

    @property
    def name(self) -> str:
        """Its pseudonym."""
        if self.kind == "payment":
            return payment_tie(self.hash)
        if self.kind == "network":
            return network_tie(self.hash)
        return pseudonym(_LONG.get(self.kind, self.kind), self.hash)

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/traits/{_LETTERS[self.kind]}_{self.hash:016x}"


def read_trait(text: str) -> Trait | None:
    """The identifier that a path or a person names by a letter and its whole hash.

    >>> read_trait("s_000000000000000a")
    Trait(kind='system', hash=10)
    """
    found = re.fullmatch("([pntusm])_([0-9a-f]{16})", text)
    return Trait(_KINDS[found[1]], int(found[2], 16)) if found else None

"""Links of a chain: what ties an entry to the one before it, and what may be wrong with them."""

from __future__ import annotations

import hashlib

import msgspec

from monitor.errors import EvidenceError
from monitor.evidence import dsse
from monitor.evidence.ring import CLOCK_SKEW, Ring

PAYLOAD_TYPE = "application/vnd.extraction-monitor.case-entry+json"


class Head(msgspec.Struct, frozen=True):
    """What ties an entry to its chain, without its body."""

    case: str
    number: int
    previous: str
    at: float


_heads = msgspec.json.Decoder(Head)


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a chain, at one entry.

    Attributes:
        kind: `changed`, `dropped`, `reordered`, `repeated`, `forked`, `key`, `truncated` or `other
            case`.
        entry: number of the entry, from 1.
    """

    kind: str
    entry: int
    text: str


class Report(msgspec.Struct, frozen=True):
    """The result of a check.

    Attributes:
        entries: in the chain.
        signatures: of how many entries the signature was verified.
        head: digest of the newest entry; empty without one.
        keys: ids of the keys that the entries name, in order of first use.
        problems: in order of the entries; empty if the chain is whole.
    """

    case: str
    entries: int
    signatures: int
    head: str
    keys: list[str]
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def digest(line: bytes) -> str:
    """SHA-256 of a stored line, hexadecimal: `previous` of the next entry."""
    return hashlib.sha256(line).hexdigest()


def read_head(envelope: dsse.Envelope) -> Head:
    """The place of an entry in its chain."""
    try:
        return _heads.decode(envelope.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise EvidenceError("It holds no entry of a case.") from None


def untimely(kid: str, at: float, latest: float, ring: Ring) -> str:
    """What is wrong with the time at which a key signed; empty if nothing is.

    Args:
        at: the entry's own time.
        latest: the latest time of it and all entries before it. A retired key that is used later
            can write an early time into its entry, but not into those before it.
    """
    key = ring.get(kid)
    if key is None:
        return f"The key {kid}, which it names, is not in the ring."
    if at < key.begin - CLOCK_SKEW:
        return f"The key {kid} began to sign later."
    if key.retired is not None and latest > key.retired + CLOCK_SKEW:
        return f"The key {kid} was retired before."
    return ""

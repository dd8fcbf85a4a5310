"""Chains of entries, signed with new keys."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor.evidence.chain import seal
from monitor.evidence.entries import Entry, Noted
from monitor.evidence.keys import Signer
from monitor.evidence.links import digest

CASE = "case_0123456789abcdef"
START = 1_780_000_000.0


def new_signer(begin: float = 0.0) -> Signer:
    """A signer with a new key."""
    return Signer(Ed25519PrivateKey.generate(), begin)


def chain_of(
    signers: Iterable[Signer], case: str = CASE, text: str = "note", start: float = START
) -> list[bytes]:
    """A chain of notes, one signed by each signer."""
    lines: list[bytes] = []
    for number, signer in enumerate(signers, 1):
        previous = digest(lines[-1]) if lines else ""
        entry = Entry(case, number, previous, start + number, "analyst", Noted(f"{text} {number}"))
        lines.append(seal(entry, signer))
    return lines

"""The chain of a case: each entry is signed and holds the digest of the one before it.

The digest covers the envelope's exact bytes with its signature. So a valid signature on an entry
vouches for everything before it: whoever changes, drops, inserts or moves an earlier entry has to
change this one too, and cannot sign it again without the key.

What is verified: the digests of all entries, and the signature of the newest entry of each run of
one key. This suffices. The digests tie each entry of a run to the run's newest entry, which only
this key can have signed; another key of the ring, even a stolen one, cannot rewrite the run.
Signatures of the entries inside a run show nothing more: a signer verifies the newest entry before
it signs on top of it. Ed25519 costs about 100 µs per signature and a digest about 1 µs, so this
makes long chains fast to verify. Short chains are verified in full, and so is every chain in which
anything is wrong, to say which entry it is.

What no chain shows by itself is that its newest entries are missing. Compare its head with one that
is kept elsewhere: in a bundle, in a time stamp, on the topic.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from monitor.errors import EvidenceError
from monitor.evidence import dsse
from monitor.evidence.diagnosis import diagnose
from monitor.evidence.entries import Entry
from monitor.evidence.links import PAYLOAD_TYPE, Report, digest, read_head, untimely
from monitor.evidence.ring import Ring

SHORT = 5_000  # entries up to which each signature is verified, about half a second

_entries = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()


def seal(entry: Entry, signer: dsse.Signs) -> bytes:
    """Sign an entry: the line that is stored.

    `entry.previous` must be the digest of the newest line, after `open_entry` has accepted it.
    """
    return dsse.sign(_encoder.encode(entry), PAYLOAD_TYPE, signer)


def open_entry(line: bytes, ring: Ring) -> Entry:
    """Verify one entry and read it. Its place in the chain is not checked.

    Raises:
        EvidenceError: if it was changed, or signed with another, an unknown or a retired key.
    """
    envelope = dsse.decode(line, PAYLOAD_TYPE)
    dsse.verify(envelope, ring)
    entry = read_payload(envelope)
    if wrong := untimely(envelope.signature.keyid, entry.at, entry.at, ring):
        raise EvidenceError(wrong)
    return entry


def read_entry(line: bytes) -> Entry:
    """Read an entry without verifying its signature, after `check` has accepted the chain.

    Raises:
        EvidenceError: if it is not an entry.
    """
    return read_payload(dsse.decode(line, PAYLOAD_TYPE))


def read_payload(envelope: dsse.Envelope) -> Entry:
    """The entry in an envelope."""
    try:
        return _entries.decode(envelope.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EvidenceError(
            f"The entry cannot be read: {error}. A newer version may have written it."
        ) from None


def check(
    lines: Sequence[bytes],
    ring: Ring,
    *,
    case: str = "",
    through: str = "",
    each: bool | None = None,
) -> Report:
    """Verify a chain.

    Args:
        lines: as stored, oldest first.
        case: id that the entries must have; default: that of the first one.
        through: digest of an entry that the chain must have, for example its head in a bundle.
        each: verify the signature of each entry; default: up to 5,000 entries.
    """
    each = len(lines) <= SHORT if each is None else each
    found = _follow(lines, ring, case, through, each)
    return found if found is not None else diagnose(lines, ring, case, through)


def _follow(
    lines: Sequence[bytes], ring: Ring, case: str, through: str, each: bool
) -> Report | None:
    """The report of a chain in which nothing is wrong; `None` if anything is."""
    previous, latest, signatures = "", 0.0, 0
    newest: dsse.Envelope | None = None  # of the run
    keys: dict[str, None] = {}
    awaited = through
    try:
        for number, line in enumerate(lines, 1):
            envelope = dsse.decode(line, PAYLOAD_TYPE)
            head, kid = read_head(envelope), envelope.signature.keyid
            case = case or head.case
            if head.number != number or head.previous != previous or head.case != case:
                return None
            latest = max(latest, head.at)
            if untimely(kid, head.at, latest, ring):
                return None
            if newest is not None and (each or newest.signature.keyid != kid):
                dsse.verify(newest, ring)
                signatures += 1
            newest = envelope
            keys.setdefault(kid)
            previous = digest(line)
            if previous == awaited:
                awaited = ""
        if newest is not None:
            dsse.verify(newest, ring)
            signatures += 1
    except EvidenceError:
        return None
    if awaited or not lines:
        return None
    return Report(case, len(lines), signatures, previous, list(keys), [])

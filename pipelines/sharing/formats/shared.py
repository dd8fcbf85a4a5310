"""What partners share, whatever the format: campaigns, hashes of identifiers, and sightings.

A hash is of an identifier that members of a campaign share, under the salt of the partners. Nothing
here names a key, an account, a campaign or an address of the deployment that wrote it. Counts are
rounded to one digit and times to the hour, so that a partner cannot recognise its own customer by
them. Times are epoch seconds.
"""

from __future__ import annotations

import hashlib
import math
from uuid import UUID

import msgspec

from pipelines.sharing.formats.tlp import TLP

HOUR = 3600.0


class SharedHash(msgspec.Struct, frozen=True):
    """An indicator: the hash of an identifier that members of a campaign share.

    Attributes:
        id: of the STIX indicator; a MISP object has its UUID.
        kind: of identifier.
        value: the hash under the salt.
        salt: id of the salt.
        confidence: that whoever has it belongs to the campaign, percent.
        keys: of the campaign that have it, rounded.
        revoked: taken back by whoever shared it.
    """

    id: str
    kind: str
    value: str
    salt: str
    confidence: int
    created: float
    modified: float
    valid_from: float
    valid_until: float
    keys: int = 0
    first_seen: float = 0.0
    last_seen: float = 0.0
    revoked: bool = False


class SharedCampaign(msgspec.Struct, frozen=True):
    """A campaign as partners see it.

    Attributes:
        id: of the STIX campaign; a MISP event has its UUID.
        confidence: that it is one, percent.
        keys, requests: rounded.
    """

    id: str
    tlp: TLP
    confidence: int
    created: float
    modified: float
    first_seen: float
    last_seen: float
    keys: int
    requests: int
    hashes: list[SharedHash] = []
    revoked: bool = False

    @property
    def name(self) -> str:
        return f"Model extraction campaign {uuid_of(self.id)[:8]}"

    @property
    def description(self) -> str:
        return (
            f"About {self.keys:,} API keys acted together and sent about {self.requests:,} "
            "requests to copy a language model through its API."
        )


class SharedSighting(msgspec.Struct, frozen=True):
    """An indicator of a partner was seen in a campaign here.

    Attributes:
        id: of the STIX sighting.
        indicator: id of the partner's indicator.
        keys: that have it, rounded.
    """

    id: str
    indicator: str
    tlp: TLP
    keys: int
    first_seen: float
    last_seen: float
    created: float
    modified: float


def stix_id(type: str, key: bytes, *parts: str) -> str:
    """An id that follows from its parts and reveals nothing about them without the key.

    The same parts give the same id, so an object that is shared again is a new version and no
    second object. It has the form of a random UUID, which STIX asks for.

    Args:
        type: of the STIX object.
        key: up to 64 bytes.
    """
    text = "\n".join((type, *parts)).encode("utf-8", "replace")
    digest = hashlib.blake2b(text, digest_size=16, key=key, person=b"stix id").digest()
    return f"{type}--{UUID(bytes=digest, version=4)}"


def identity_id(name: str) -> str:
    """The STIX id of an organisation: everybody can compute it from the name.

    >>> identity_id("Example")
    'identity--08f58ffe-f380-4136-9332-1c00857c2df0'
    """
    return stix_id("identity", b"", name)


def uuid_of(id: str) -> str:
    """The UUID of a STIX id.

    >>> uuid_of("campaign--1f2e")
    '1f2e'
    """
    return id.partition("--")[2]


def rounded(count: float) -> int:
    """A count, rounded to one digit.

    >>> rounded(1437), rounded(7), rounded(0)
    (1000, 7, 0)
    """
    if count < 1:
        return 0
    unit: int = 10 ** int(math.log10(count))
    return round(count / unit) * unit


def hour_of(ts: float) -> float:
    """The full hour before a time."""
    return ts // HOUR * HOUR

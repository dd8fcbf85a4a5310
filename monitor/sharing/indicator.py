"""Indicators: what a partner has seen in a campaign, as hashes under the salt of all partners.

An imported indicator is evidence that helps to link keys. It expires, and alone it accuses nobody:
see `campaigns/imported.py`.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Kind = Literal["network", "tls", "system", "template"]
Tlp = Literal["clear", "green", "amber", "amber+strict", "red"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: The kinds whose own hashes are in fingerprints, and their names there.
IN_FINGERPRINTS: dict[Kind, str] = {
    "network": "network",
    "tls": "tls_fingerprint",
    "system": "system",
}


class Indicator(msgspec.Struct, frozen=True):
    """An indicator as a partner has shared it. Times are epoch seconds.

    Attributes:
        id: of the STIX object; the same id of the same source again replaces it.
        value: the shared hash, 32 hexadecimal digits.
        salt: id of the salt, see `Salt`.
        source: STIX identity of the partner.
        source_name: what the partner calls itself.
        confidence: from 0 to 100, as the partner states it.
        tlp: Traffic Light Protocol 2.0; what may be passed on, and how far.
        campaign: what the partner calls the campaign.
        weight: how far this deployment trusts the source, from 0 to 1.
    """

    id: str
    kind: Kind
    value: str
    salt: str
    source: str
    confidence: int
    tlp: Tlp
    campaign: str
    valid_from: float
    valid_until: float
    source_name: str = ""
    weight: float = 1.0

    def is_valid(self, now: float) -> bool:
        """Whether it holds at a time, epoch seconds."""
        return self.valid_from <= now < self.valid_until


class Found(msgspec.Struct, frozen=True, array_like=True):
    """A shared hash that requests of this deployment have, too.

    Attributes:
        own: hash of the same identifier under this deployment's secret; 0 for a template.
        keys: pseudonyms of the keys that have a template; empty for other kinds.
        many: whether more keys have the template than are listed.
    """

    kind: Kind
    value: str
    own: int = 0
    keys: list[str] = []
    many: bool = False

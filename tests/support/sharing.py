"""A deployment with a campaign whose identifiers can be shared, and what partners send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monitor.config import Settings
from monitor.config.sharing import Sharing
from monitor.sharing.salt import salt_of
from monitor.store.indicators import IndicatorStore
from monitor.store.redis import RedisStore
from pipelines.sharing.formats.shared import SharedCampaign, SharedHash, identity_id, stix_id
from tests.support import campaigns

DAY = 86_400.0
NOW = campaigns.NOW  # wall clock of these tests
SYSTEM_HASH, TEMPLATE_HASH = "5a" * 16, "7e" * 16
SALT = b"agreed between the partners"


def settings(redis_url: str, folder: Path, name: str, **sharing: Any) -> Settings:
    """Settings of a deployment that shares under a name."""
    file = folder / "salt"
    file.write_bytes(SALT)
    return Settings(redis_url=redis_url, sharing=Sharing(salt_file=file, name=name, **sharing))


def save_campaign(settings: Settings) -> None:
    """Write the campaign `c_fleet`, whose members share a system prompt and a template."""
    campaigns.save(RedisStore(settings.redis_url, 100), campaigns.partition(settings))
    store = IndicatorStore(settings.redis_url, salt=salt_id(settings))
    store.remember({("system", campaigns.SYSTEM): SYSTEM_HASH}, NOW)
    store.add_templates({key: {TEMPLATE_HASH: NOW} for key in campaigns.FLEET})


def salt_id(settings: Settings) -> str:
    salt = salt_of(settings)
    assert salt is not None
    return salt.id


def shared_campaign(salt: str, *, name: str = "c_1", **changed: Any) -> SharedCampaign:
    """A campaign with an indicator of each kind.

    Args:
        changed: fields of all indicators.
    """
    hashes = [
        SharedHash(
            **{
                "id": stix_id("indicator", b"", name, kind),
                "kind": kind,
                "value": f"{i:032x}",
                "salt": salt,
                "confidence": 80,
                "created": NOW,
                "modified": NOW,
                "valid_from": NOW - DAY,
                "valid_until": NOW + 30 * DAY,
                "keys": 7,
                "first_seen": NOW - DAY,
                "last_seen": NOW,
                **changed,
            }
        )
        for i, kind in enumerate(("network", "tls", "system", "template"))
    ]
    return SharedCampaign(
        id=stix_id("campaign", b"", name),
        tlp="green",
        confidence=90,
        created=NOW,
        modified=NOW,
        first_seen=NOW - DAY,
        last_seen=NOW,
        keys=40,
        requests=30_000,
        hashes=hashes,
    )


PARTNER = "Partner Ltd"
PARTNER_ID = identity_id(PARTNER)

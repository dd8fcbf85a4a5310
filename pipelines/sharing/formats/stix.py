"""STIX 2.1: campaigns and sightings as objects that other tools can read.

| object | what it says |
|---|---|
| identity | who shares, and this program as the author of the extension |
| marking-definition | TLP 2.0 |
| extension-definition | what an `x-extraction-monitor-hash` and its properties are |
| campaign | that there is one, when, of about how many keys and requests |
| indicator | a hash that its members share; `valid_until`, confidence |
| relationship | that the indicator indicates the campaign |
| sighting | that an indicator was seen: the own ones with the campaign, a partner's alone |

The pattern of an indicator compares an observable of our own, as the hash of an identifier under a
salt is none of STIX's. The same hash is in the indicator's extension with its kind and the id of
the salt, so that a reader need not parse patterns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import stix2.v21 as stix

from pipelines.sharing.formats import tlp
from pipelines.sharing.formats.shared import (
    SharedCampaign,
    SharedHash,
    SharedSighting,
    identity_id,
    stix_id,
)

EXTENSION = "extension-definition--0aa02f86-5ffd-4433-8c79-0367291d356f"
OBSERVABLE = "x-extraction-monitor-hash"
_AUTHOR = "identity--a399a600-d0b2-41a8-96a1-bb4b7a5511eb"
_SINCE = "2026-11-28T00:00:00.000Z"  # of the extension
_PROPERTY = "property-extension"
_KIND = {"type": "string", "description": "kind of identifier, for example network"}
_SALT = {"type": "string", "description": "id of the salt that the partners have agreed on"}
_VALUE = {"type": "string", "description": "hash of the identifier under the salt"}
_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "extension_type": {"enum": [_PROPERTY, "new-sco"]},
        "kind": _KIND,
        "salt": _SALT,
        "value": _VALUE,
    },
    "required": ["kind", "salt", "value"],
}


def campaign_objects(campaign: SharedCampaign, organisation: str) -> list[Any]:
    """A campaign with everything that it refers to, as objects of `stix2`.

    Args:
        organisation: the name of who shares.
    """
    sharer = identity_id(organisation)
    common = {
        "created_by_ref": sharer,
        "created": _time(campaign.created),
        "modified": _time(campaign.modified),
        "revoked": campaign.revoked,
        "object_marking_refs": [tlp.MARKINGS[campaign.tlp]],
    }
    objects = [
        *_frame(organisation, campaign.tlp),
        stix.Campaign(
            id=campaign.id,
            name=campaign.name,
            description=campaign.description,
            objective="To train a model on the answers of another.",
            first_seen=_time(campaign.first_seen),
            last_seen=_time(campaign.last_seen),
            confidence=campaign.confidence,
            **common,
        ),
    ]
    for each in campaign.hashes:
        times = {
            "created": _time(each.created),
            "modified": _time(each.modified),
            "revoked": each.revoked,
        }
        objects += _hash_objects(each, campaign, sharer, common | times)
    return objects


def sighting_objects(sightings: Iterable[SharedSighting], organisation: str) -> list[Any]:
    """Sightings of partners' indicators, with everything that they refer to except these."""
    sharer = identity_id(organisation)
    sightings = list(sightings)
    frame: dict[str, Any] = {}
    for level in sorted({each.tlp for each in sightings}, key=tlp.LEVELS.index):
        frame |= {each["id"]: each for each in _frame(organisation, level)}
    return [
        *frame.values(),
        *(
            stix.Sighting(
                id=each.id,
                sighting_of_ref=each.indicator,
                where_sighted_refs=[sharer],
                first_seen=_time(each.first_seen),
                last_seen=_time(each.last_seen),
                count=each.keys,
                created_by_ref=sharer,
                created=_time(each.created),
                modified=_time(each.modified),
                object_marking_refs=[tlp.MARKINGS[each.tlp]],
            )
            for each in sightings
        ),
    ]


def to_json(objects: Sequence[Any]) -> list[dict[str, Any]]:
    """Objects of `stix2` as plain ones, for a TAXII collection.

    The definition of our extension stays out. Its property `version` is no time, but medallion 3
    reads every `version` as one and then answers 500 to all readers of the collection.
    """
    return [
        json.loads(each.serialize()) for each in objects if each["type"] != "extension-definition"
    ]


def bundle(objects: Sequence[Any]) -> bytes:
    """Objects as a file; the same objects give the same bytes.

    stix2's own pretty printing takes a minute for 1,500 objects.
    """
    found = [json.loads(each.serialize()) for each in objects]
    id = stix_id("bundle", b"", json.dumps(found))
    return json.dumps({"type": "bundle", "id": id, "objects": found}, indent=2).encode()


def pattern_of(value: str) -> str:
    """The pattern of an indicator."""
    return f"[{OBSERVABLE}:value = '{value}']"


def _hash_objects(
    each: SharedHash, campaign: SharedCampaign, sharer: str, common: dict[str, Any]
) -> list[Any]:
    """The indicator of a hash, what it indicates, and that it was seen."""
    kind = each.kind.replace("_", " ")
    related = stix_id("relationship", b"", each.id, campaign.id)
    seen = stix_id("sighting", b"", each.id, sharer)
    return [
        stix.Indicator(
            id=each.id,
            name=f"{kind} of a model extraction campaign",
            description=f"The salted hash of a {kind} that members of the campaign share.",
            indicator_types=["malicious-activity"],
            pattern=pattern_of(each.value),
            pattern_type="stix",
            pattern_version="2.1",
            valid_from=_time(each.valid_from),
            valid_until=_time(each.valid_until),
            confidence=each.confidence,
            extensions={
                EXTENSION: {
                    "extension_type": _PROPERTY,
                    "kind": each.kind,
                    "salt": each.salt,
                    "value": each.value,
                }
            },
            **common,
        ),
        stix.Relationship(
            id=related,
            relationship_type="indicates",
            source_ref=each.id,
            target_ref=campaign.id,
            **common,
        ),
        stix.Sighting(
            id=seen,
            sighting_of_ref=each.id,
            where_sighted_refs=[sharer],
            first_seen=_time(each.first_seen),
            last_seen=_time(each.last_seen),
            count=each.keys,
            **common,
        ),
    ]


def _frame(organisation: str, level: tlp.TLP) -> list[Any]:
    """The objects that all others refer to. They are the same in every export."""
    fixed = {"created": _SINCE, "modified": _SINCE}
    return [
        stix.Identity(
            id=identity_id(organisation),
            name=organisation,
            identity_class="organization",
            **fixed,
        ),
        stix.Identity(id=_AUTHOR, name="extraction-monitor", identity_class="system", **fixed),
        stix.MarkingDefinition(
            id=tlp.MARKINGS[level],
            created="2022-10-01T00:00:00.000Z",
            name=f"TLP:{level.upper()}",
            extensions={tlp.EXTENSION: {"extension_type": _PROPERTY, "tlp_2_0": level}},
        ),
        stix.ExtensionDefinition(
            id=EXTENSION,
            created_by_ref=_AUTHOR,
            name="Salted hash of an identifier",
            description=(
                f"Defines the observable {OBSERVABLE} with the property value, and the properties "
                "kind, salt and value of an indicator. The value is a hash of an identifier under "
                "a salt that the partners have agreed on; the salt's id tells other salts apart."
            ),
            schema=json.dumps(_SCHEMA),
            version="1.0.0",
            extension_types=[_PROPERTY, "new-sco"],
            **fixed,
        ),
    ]


def _time(ts: float) -> datetime:
    """A time in whole milliseconds, which is what STIX compares versions by."""
    return datetime.fromtimestamp(round(ts, 3), UTC)

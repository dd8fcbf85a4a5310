"""Reads STIX 2.1: bundles, and envelopes of TAXII."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import stix2
from msgspec.structs import replace
from stix2.exceptions import STIXError

from pipelines.sharing.formats import tlp
from pipelines.sharing.formats.received import (
    DEFAULT_CONFIDENCE,
    Reading,
    Received,
    Sighted,
    checked_confidence,
    checked_hash,
    checked_id,
    name_of,
)
from pipelines.sharing.formats.stix import EXTENSION, OBSERVABLE, pattern_of

_INVALID = (STIXError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def read_objects(objects: Sequence[Any], campaigns: dict[str, str] | None = None) -> Reading:
    """Read STIX objects. Other vendors' indicators and all other objects are only counted.

    Args:
        campaigns: the campaign that each indicator indicates, from earlier pages; is added to.
    """
    reading = Reading()
    campaigns = {} if campaigns is None else campaigns
    for each in objects:
        if not isinstance(each, dict) or not isinstance(each.get("type"), str):
            reading.reject(each, "it is no STIX object")
            continue
        type = each["type"]
        try:
            if type == "indicator" and _is_ours(each):
                reading.indicators.append(_indicator(each))
            elif type == "sighting":
                reading.sightings.append(_sighting(each))
            elif type == "identity":
                reading.names[checked_id(each.get("id"), type)] = name_of(str(each.get("name", "")))
            elif type == "relationship" and each.get("relationship_type") == "indicates":
                source = checked_id(each.get("source_ref"), "indicator")
                campaigns[source] = checked_id(each.get("target_ref"), "campaign")
            else:
                reading.others[name_of(type)] += 1
        except (
            STIXError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            if type in ("relationship", "identity", "sighting"):
                reading.others[type] += 1  # about something else
            else:
                reading.reject(each, name_of(" ".join(str(error).split())))
    reading.indicators = [
        replace(each, campaign=campaigns.get(each.id, "")) for each in reading.indicators
    ]
    return reading


def _is_ours(indicator: dict[str, Any]) -> bool:
    extensions = indicator.get("extensions")
    pattern = indicator.get("pattern")
    named = isinstance(extensions, dict) and EXTENSION in extensions
    return named or (isinstance(pattern, str) and OBSERVABLE in pattern)


def _indicator(object: dict[str, Any]) -> Received:
    """An indicator with our extension.

    Raises:
        STIXError: if it violates STIX.
        ValueError: if it violates our extension.
    """
    id = checked_id(object.get("id"), "indicator")
    by = checked_id(object.get("created_by_ref"), "identity")
    extension = object.get("extensions", {}).get(EXTENSION)
    if not isinstance(extension, dict):
        raise ValueError("its hash is not in an extension")
    kind, value, salt = checked_hash(*(extension.get(each) for each in ("kind", "value", "salt")))
    if object.get("pattern") != pattern_of(value):  # before the parser: it may be very long
        raise ValueError("its pattern is not that of its hash")
    found = stix2.parse(object, allow_custom=True, version="2.1")
    if "valid_until" not in found:
        raise ValueError("it has no end (valid_until)")
    granular = (each.get("marking_ref", "") for each in found.get("granular_markings", ()))
    return Received(
        id=id,
        by=by,
        modified=found["modified"].timestamp(),
        kind=kind,
        value=value,
        salt=salt,
        confidence=checked_confidence(found.get("confidence", DEFAULT_CONFIDENCE)),
        tlp=tlp.of_markings([*found.get("object_marking_refs", ()), *granular]),
        valid_from=found["valid_from"].timestamp(),
        valid_until=found["valid_until"].timestamp(),
        revoked=bool(found.get("revoked", False)),
    )


def _sighting(object: dict[str, Any]) -> Sighted:
    id = checked_id(object.get("id"), "sighting")
    indicator = checked_id(object.get("sighting_of_ref"), "indicator")
    by = checked_id(object.get("created_by_ref"), "identity")
    found = stix2.parse(object, allow_custom=True, version="2.1")
    last = found.get("last_seen", found["modified"])
    return Sighted(id, by, indicator, int(found.get("count", 1)), last.timestamp())

"""Decides what leaves: the shared form of a campaign, and sightings for partners.

What was received under TLP stays under it. A hash that a partner has shared as well leaves only if
its level allows that; `amber` and above stay in the organisation that received them. A sighting
leaves under the level of its indicator: from `amber` on only the way that it came, of `red` never.
Nothing leaves as `red`: it is for single persons.

The ids of all objects follow from the campaign and the salt, so a second export updates what the
first one sent. Hashes that the campaign no longer has are taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from monitor.errors import InputError
from monitor.sharing.indicator import Indicator
from pipelines.sharing.collect import Extent, Leaving
from pipelines.sharing.formats import tlp
from pipelines.sharing.formats.shared import (
    SharedCampaign,
    SharedHash,
    SharedSighting,
    hour_of,
    rounded,
    stix_id,
)

DAY = 86_400.0
_MOST_CONFIDENCE = 95  # percent: no detector is surer
_MOST_HASHES = 500  # of a campaign


class Seen(NamedTuple):
    """An indicator of a partner that members of a campaign here have. Times are event time."""

    indicator: Indicator
    keys: int
    first_seen: float
    last_seen: float


class Export(NamedTuple):
    """The shared form of a campaign.

    Attributes:
        held_back: hashes that do not leave because a partner's TLP forbids it.
    """

    campaign: SharedCampaign
    held_back: int


def exporting(
    id: str,
    extent: Extent,
    leaving: Sequence[Leaving],
    level: tlp.TLP,
    *,
    salt: str,
    key: bytes,
    received: Iterable[Indicator],
    before: SharedCampaign | None,
    valid_days: float,
    now: float,
) -> Export:
    """The shared form of a campaign.

    Args:
        id: the campaign's own id; it does not leave.
        level: that it leaves under.
        salt: id of the salt.
        key: that the ids of objects are made with.
        received: from partners.
        before: what was exported earlier.
        valid_days: how long an indicator holds after it was last seen.
        now: wall-clock time, epoch seconds.

    Raises:
        InputError: if nothing can leave.
    """
    check_level(level)
    levels: dict[tuple[str, str], list[tlp.TLP]] = {}
    for each in received:
        levels.setdefault((each.kind, each.value), []).append(each.tlp)
    allowed = [
        each
        for each in leaving
        if all(tlp.may_pass_on(of, level) for of in levels.get((each.kind, each.value), ()))
    ]
    held_back = len(leaving) - len(allowed)
    confidence = min(round(100 * extent.confidence), _MOST_CONFIDENCE)
    # STIX: a revoked object stays revoked, so what comes back gets another id.
    if before is not None and before.revoked:
        id, before = f"{id} {before.modified}", None
    ended = {each.id: each.modified for each in before.hashes if each.revoked} if before else {}
    hashes = [
        SharedHash(
            id=_indicator_id(key, id, each, ended),
            kind=each.kind,
            value=each.value,
            salt=salt,
            confidence=round(confidence * each.keys / (each.keys + each.others)),
            created=now,
            modified=now,
            valid_from=hour_of(each.first_seen),
            valid_until=hour_of(each.last_seen) + valid_days * DAY,
            keys=rounded(each.keys),
            first_seen=hour_of(each.first_seen),
            last_seen=hour_of(each.last_seen),
        )
        for each in allowed[:_MOST_HASHES]
    ]
    hashes = [each for each in hashes if each.valid_until > now]
    if not hashes:
        raise InputError(
            f"{id} has no identifier that may leave: at least 3 members must have it and few other "
            f"keys, and it must be seen within {valid_days:g} days{_of_partners(held_back)}."
        )
    found = SharedCampaign(
        id=stix_id("campaign", key, id),
        tlp=level,
        confidence=confidence,
        created=now,
        modified=now,
        first_seen=hour_of(extent.first_seen),
        last_seen=hour_of(extent.last_seen),
        keys=rounded(extent.keys),
        requests=rounded(extent.requests),
        hashes=hashes,
    )
    return Export(_next_version(found, before, now), held_back)


def revoked(before: SharedCampaign, now: float) -> SharedCampaign:
    """A campaign that is taken back with all its indicators."""
    hashes = [_taken_back(each, now) for each in before.hashes]
    return replace(before, hashes=hashes, revoked=True, modified=now)


def sightings(
    seen: Sequence[Seen], sent: Mapping[str, SharedSighting], sharer: str, now: float
) -> list[SharedSighting]:
    """Sightings of partners' indicators that are new or have changed since they were sent.

    Args:
        sent: by indicator.
        sharer: STIX identity of this organisation.
        now: wall-clock time, epoch seconds.
    """
    found: list[SharedSighting] = []
    for each in seen:
        indicator = each.indicator
        before = sent.get(indicator.id)
        sighting = SharedSighting(
            id=stix_id("sighting", b"", indicator.id, sharer),
            indicator=indicator.id,
            tlp=indicator.tlp,
            keys=rounded(each.keys),
            first_seen=hour_of(each.first_seen),
            last_seen=hour_of(each.last_seen),
            created=before.created if before else now,
            modified=before.modified if before else now,
        )
        if sighting != before:
            found.append(replace(sighting, modified=now))
    return found


def check_level(level: tlp.TLP) -> None:
    """Check that something may leave under a level.

    Raises:
        InputError: if not.
    """
    if level == "red":
        raise InputError(
            "TLP:RED is never exported: it is for single persons. Choose amber+strict, amber, "
            "green or clear."
        )


def _indicator_id(key: bytes, id: str, each: Leaving, ended: Mapping[str, float]) -> str:
    """The id of an indicator, which is none of those that were taken back."""
    parts = [id, each.kind, each.value]
    while (found := stix_id("indicator", key, *parts)) in ended:
        parts.append(str(ended[found]))
    return found


def _next_version(
    found: SharedCampaign, before: SharedCampaign | None, now: float
) -> SharedCampaign:
    """What is exported after what was: unchanged objects keep their version."""
    if before is None:
        return found
    same_level = before.tlp == found.tlp  # the marking is part of every object
    known = {each.id: each for each in before.hashes}
    hashes: list[SharedHash] = []
    for each in found.hashes:
        old = known.pop(each.id, None)
        kept = replace(each, created=old.created, modified=old.modified) if old else each
        hashes.append(kept if kept == old and same_level else replace(kept, modified=now))
    hashes += [
        each if each.revoked and same_level else _taken_back(each, now)
        for each in known.values()
        if each.valid_until > now
    ]
    merged = replace(found, hashes=hashes, created=before.created, modified=before.modified)
    return merged if merged == before else replace(merged, modified=now)


def _taken_back(each: SharedHash, now: float) -> SharedHash:
    return replace(each, revoked=True, modified=now)


def _of_partners(held_back: int) -> str:
    if not held_back:
        return ""
    return f"; {held_back} are held back because partners shared them under a stricter TLP"

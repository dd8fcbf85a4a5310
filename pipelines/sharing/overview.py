"""What was shared with partners and what came from them, in numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from monitor.sharing.indicator import Found, Indicator
from pipelines.sharing.formats import tlp
from pipelines.sharing.formats.shared import SharedCampaign, identity_id


class ExportedLine(msgspec.Struct, frozen=True):
    """A campaign that was exported. Times are epoch seconds.

    Attributes:
        shared: the id that partners see.
        hashes: in force.
        targets: where it is, and whether it was taken back there.
        withdrawn: its alert was withdrawn here since, but partners still have it.
    """

    campaign: str
    shared: str
    tlp: tlp.TLP
    hashes: int
    modified: float
    valid_until: float
    targets: dict[str, bool]
    revoked: bool
    withdrawn: bool


class SourceLine(msgspec.Struct, frozen=True):
    """What came from one source. Times are epoch seconds.

    Attributes:
        kinds: number of indicators, by kind.
        tlp: the strictest.
        seen: indicators that requests here have as well.
    """

    source: str
    name: str
    kinds: dict[str, int]
    tlp: tlp.TLP
    valid_until: float
    seen: int


class Overview(msgspec.Struct, frozen=True):
    """What was exchanged.

    Attributes:
        identity: STIX identity of this side; empty without a name.
        salt: id of the salt, to compare with partners.
    """

    organisation: str
    identity: str
    salt: str
    exported: list[ExportedLine]
    sources: list[SourceLine]


def overview_of(
    organisation: str,
    salt: str,
    exported: Mapping[str, SharedCampaign],
    targets: Mapping[str, Mapping[str, bool]],
    withdrawn: Collection[str],
    imported: Iterable[Indicator],
    found: Sequence[Found],
) -> Overview:
    """Sum up what was exchanged.

    Args:
        exported, targets: by the campaign's own id.
        withdrawn: campaigns whose alert is withdrawn.
        found: what requests here have of the imported indicators.
    """
    seen: set[tuple[str, str]] = {(each.kind, each.value) for each in found}
    by_source: dict[str, list[Indicator]] = {}
    for each in imported:
        by_source.setdefault(each.source, []).append(each)
    return Overview(
        organisation,
        identity_id(organisation) if organisation else "",
        salt,
        [
            _exported(id, exported[id], dict(targets.get(id, {})), id in withdrawn)
            for id in sorted(exported)
        ],
        [_source(source, by_source[source], seen) for source in sorted(by_source)],
    )


def _exported(
    id: str, shared: SharedCampaign, targets: dict[str, bool], withdrawn: bool
) -> ExportedLine:
    valid = [each for each in shared.hashes if not each.revoked]
    return ExportedLine(
        id,
        shared.id,
        shared.tlp,
        len(valid),
        shared.modified,
        max((each.valid_until for each in valid), default=0.0),
        targets,
        shared.revoked,
        withdrawn and not all(targets.values()),
    )


def _source(
    source: str, indicators: list[Indicator], seen: Collection[tuple[str, str]]
) -> SourceLine:
    kinds: dict[str, int] = {}
    for each in indicators:
        kinds[each.kind] = kinds.get(each.kind, 0) + 1
    return SourceLine(
        source,
        next((each.source_name for each in indicators if each.source_name), ""),
        dict(sorted(kinds.items())),
        tlp.strictest(each.tlp for each in indicators),
        max(each.valid_until for each in indicators),
        len({(each.kind, each.value) for each in indicators}.intersection(seen)),
    )

"""What has been exchanged with partners, in Redis.

| key | value | expires |
|---|---|---|
| `xm:sharing:exported` | hash: the shared form of each exported campaign, by its own id | never |
| `xm:sharing:targets` | hash: where each exported campaign is, by its own id | never |
| `xm:sharing:sightings` | hash: sightings that were sent, by the partner's indicator | with it |
| `xm:sharing:versions` | hash: the last known version of each indicator that was received, by \
creator and id | with the indicator |
| `xm:sharing:position` | hash: up to where a TAXII collection is read, by URL and salt | never |

Versions outlive a revocation: whoever sends an old version of a revoked indicator again changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from monitor.alerting.changes import Change
from monitor.errors import InputError, StoreRefusedError
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute
from monitor.store.feed import audit_entry
from pipelines.sharing.formats.shared import SharedCampaign, SharedSighting

_EXPORTED, _TARGETS = "xm:sharing:exported", "xm:sharing:targets"
_SIGHTINGS = "xm:sharing:sightings"
_VERSIONS, _POSITION = "xm:sharing:versions", "xm:sharing:position"
_MOST_VERSIONS = 200_000
_PAGE = 1000  # fields per command


class Version(msgspec.Struct, frozen=True, array_like=True):
    """The last known version of an indicator that was received.

    Attributes:
        until: when the version may be forgotten, wall-clock time, epoch seconds.
        revoked: by its creator.
        dropped: by a person here: later versions are not imported either.
        way: how it came: `file`, or the URL of a collection.
    """

    modified: float
    until: float
    revoked: bool = False
    dropped: bool = False
    way: str = ""


class SharingState:
    """Reads and writes what has been exchanged. Every method may raise `StoreError`.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)

    def __repr__(self) -> str:
        return f"SharingState({self.server})"

    # What left

    def exported(self) -> dict[str, SharedCampaign]:
        """The exported campaigns, by their own ids."""
        return self._read(_EXPORTED, SharedCampaign)

    def targets(self) -> dict[str, dict[str, bool]]:
        """By own id of an exported campaign and target, whether it was taken back there."""
        return self._read(_TARGETS, dict[str, bool])

    def save_exported(self, campaign: str, shared: SharedCampaign, target: str) -> None:
        """Remember what was exported of a campaign, and where to."""
        self._run(("HSET", _EXPORTED, campaign, msgspec.json.encode(shared)))
        targets = self.targets().get(campaign, {}) | {target: shared.revoked}
        self._run(("HSET", _TARGETS, campaign, msgspec.json.encode(targets)))

    def sent_sightings(self) -> dict[str, SharedSighting]:
        """The sightings that were sent, by the partner's indicator."""
        return self._read(_SIGHTINGS, SharedSighting)

    def save_sightings(
        self, sightings: Iterable[SharedSighting], ended: Iterable[str] = ()
    ) -> None:
        """Remember sightings that were sent, and forget those of indicators that have ended."""
        sent = {each.indicator: msgspec.json.encode(each) for each in sightings}
        self._write(_SIGHTINGS, sent, ended)

    # What came

    def versions(self) -> dict[str, Version]:
        """The last known versions, by creator and id, see `version_name`."""
        return self._read(_VERSIONS, Version)

    def save_versions(self, versions: Mapping[str, Version], now: float) -> None:
        """Remember versions, and forget those that have ended.

        Args:
            now: wall-clock time, epoch seconds.

        Raises:
            InputError: if there is no room for them. Nothing is written.
        """
        known = self.versions()
        ended = [each for each, old in known.items() if old.until <= now and each not in versions]
        if len(known.keys() | versions.keys()) - len(ended) > _MOST_VERSIONS:
            raise InputError(
                f"There is room for {_MOST_VERSIONS:,} received indicators, ended ones included. "
                "Nothing was imported: ask the source for fewer, or for a shorter validity."
            )
        encoded = {name: msgspec.json.encode(each) for name, each in versions.items()}
        self._write(_VERSIONS, encoded, ended)

    def position(self, url: str, salt: str) -> str:
        """Up to where a collection has been read: a time of its server; empty at first."""
        found = self._run(("HGET", _POSITION, f"{salt} {url}"))
        return found.decode() if found else ""

    def save_position(self, url: str, salt: str, position: str) -> None:
        """Remember up to where a collection has been read."""
        self._run(("HSET", _POSITION, f"{salt} {url}", position))

    # The audit

    def record(self, change: Change) -> None:
        """Add an entry to the audit."""
        self._run(audit_entry(change))

    def _read(self, key: str, type: Any) -> dict[str, Any]:
        found = self._run(("HGETALL", key))
        try:
            return {
                name.decode(): msgspec.json.decode(value, type=type)
                for name, value in zip(found[::2], found[1::2], strict=True)
            }
        except msgspec.MsgspecError as error:
            raise StoreRefusedError(
                f"Redis at {self.server} has an entry in {key} that this version cannot read "
                f"({error}): upgrade everything to one version."
            ) from error

    def _write(self, key: str, values: Mapping[str, bytes], ended: Iterable[str]) -> None:
        pairs, gone = list(values.items()), list(ended)
        for start in range(0, len(pairs), _PAGE):
            page = pairs[start : start + _PAGE]
            self._run(("HSET", key, *(part for pair in page for part in pair)))
        for start in range(0, len(gone), _PAGE):
            self._run(("HDEL", key, *gone[start : start + _PAGE]))

    def _run(self, command: Command) -> Any:
        return self.server.run(partial(self._execute, command))

    def _execute(self, command: Command) -> Any:
        with self.server.connection(command[1]) as connection:
            return execute(connection, [command])[0]


def version_name(by: str, id: str) -> str:
    """The name of an indicator among the versions: its creator and its id."""
    return f"{by} {id}"


def creator_in(name: str) -> str:
    """The creator in the name of a version."""
    return name.partition(" ")[0]


def id_in(name: str) -> str:
    """The id in the name of a version."""
    return name.partition(" ")[2]

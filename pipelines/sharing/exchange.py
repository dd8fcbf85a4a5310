"""Exchanges campaigns with partners: what the commands of `xm share` do.

An export or a revocation counts as made once its target has it: the state is written after that, so
a command that failed is repeated with the same result.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from monitor.alerting.changes import Change, change_by
from monitor.config import Settings
from monitor.errors import ConfigError, InputError
from monitor.identity import derive
from monitor.sharing.salt import salt_of
from monitor.store.control import ControlStore
from monitor.store.indicators import IndicatorStore
from pipelines.inspect.campaigns import find_campaign, load_partitions
from pipelines.sharing.collect import extent, leaving
from pipelines.sharing.export import Export, Seen, check_level, exporting, revoked, sightings
from pipelines.sharing.formats import misp, stix
from pipelines.sharing.formats.received import Reading, decode, objects_in
from pipelines.sharing.formats.shared import identity_id
from pipelines.sharing.formats.stix_reader import read_objects
from pipelines.sharing.formats.tlp import TLP, may_report, strictest
from pipelines.sharing.misp_server import send_event
from pipelines.sharing.overview import Overview, overview_of
from pipelines.sharing.receive import Import, Receiver
from pipelines.sharing.state import SharingState, Version, creator_in, id_in, version_name
from pipelines.sharing.taxii import Taxii

TAXII, MISP, FILE = "taxii", "misp", "file"
_DAY = 86_400.0


class Sent(msgspec.Struct, frozen=True):
    """What left.

    Attributes:
        campaign: its own id, which does not leave; empty for sightings.
        id: the id that partners see.
        target: a file, or the server.
        objects: that the target did not have.
        hashes: in force, by kind.
        held_back: hashes that do not leave because of a partner's TLP.
        digest: SHA-256 of what was sent.
    """

    campaign: str
    id: str
    target: str
    tlp: TLP
    objects: int
    hashes: dict[str, int]
    held_back: int
    digest: str


class Exchange:
    """Exchanges campaigns of one deployment.

    Raises:
        ConfigError: if the settings have no salt.
    """

    def __init__(self, settings: Settings) -> None:
        salt = salt_of(settings)
        if salt is None or settings.sharing.salt_file is None:
            raise ConfigError(
                "Nothing is shared without a salt: agree with your partners on the output of "
                "`openssl rand -hex 32` and name the file in XM_SHARING__SALT_FILE."
            )
        secret = hashlib.blake2b(settings.sharing.salt_file.read_bytes().strip()).digest()
        self.salt = salt.id
        self._key = derive(secret, "stix ids", 32)
        self._settings = settings
        self.state = SharingState(settings.redis_url)
        self.indicators = IndicatorStore(settings.redis_url, salt=salt.id)

    @property
    def organisation(self) -> str:
        """The name under which this deployment shares.

        Raises:
            ConfigError: if there is none.
        """
        if not self._settings.sharing.name:
            raise ConfigError(
                "Exports name who shares: set XM_SHARING__NAME to the name of your organisation."
            )
        return self._settings.sharing.name

    # Out

    def export(self, campaign: str, level: TLP, target: str, format: str, now: float) -> Sent:
        """Send a campaign to a file, `taxii` or `misp`.

        Args:
            campaign: the beginning of its id.
            format: of a file: `stix` or `misp`.
            now: wall-clock time, epoch seconds.
        """
        check_level(level)
        partition, found = find_campaign(load_partitions(self._settings), campaign)
        self._check_not_withdrawn(found.id)
        made = exporting(
            found.id,
            extent(partition, found),
            leaving(partition, found, self.indicators, now),
            level,
            salt=self.salt,
            key=self._key,
            received=self.indicators.all(now),
            before=self.state.exported().get(found.id),
            valid_days=self._settings.sharing.valid_days,
            now=now,
        )
        return self._send(found.id, made, target, format)

    def revoke(self, campaign: str, target: str, format: str, now: float) -> Sent:
        """Take a campaign back that was exported: partners drop its indicators.

        Args:
            campaign: the beginning of its id, or of the id that partners see.
        """
        exported = self.state.exported()
        ids = [
            id
            for id, shared in exported.items()
            if id.startswith(campaign) or shared.id.removeprefix("campaign--").startswith(campaign)
        ]
        if len(ids) != 1:
            raise InputError(
                f"{len(ids)} exported campaigns have an id that begins with {campaign}: "
                "`xm share list` has all."
            )
        shared = revoked(exported[ids[0]], now)
        return self._send(ids[0], Export(shared, 0), target, format)

    def send_sightings(self, target: str, now: float) -> Sent:
        """Send which indicators of partners were seen in campaigns here, if that is news.

        Args:
            target: a file, or `taxii`.
            now: wall-clock time, epoch seconds.
        """
        if target == MISP:
            raise InputError("MISP takes campaigns only: send sightings to taxii or a file.")
        url = f"{self._settings.sharing.taxii_url}".rstrip("/") + "/"
        way = url if target == TAXII else FILE
        versions = self.state.versions()
        ways = {
            id: versions[f"{by} {id}"].way for by, _, id in (v.partition(" ") for v in versions)
        }
        imported = self.indicators.all(now)
        known = {
            (each.source, each.id): each
            for each in imported
            if may_report(each.tlp, ways.get(each.id, "") == way)
        }
        seen: dict[str, Seen] = {}
        for partition in load_partitions(self._settings):
            for campaign in partition.rounds.campaigns:
                for each in campaign.imported if campaign.opened else ():
                    indicator = known.get((each.source, each.id))
                    before = seen.get(each.id)
                    if indicator and (before is None or each.members > before.keys):
                        times = each.first_seen, each.last_seen
                        seen[each.id] = Seen(indicator, each.members, *times)
        sent = self.state.sent_sightings()
        found = sightings(list(seen.values()), sent, identity_id(self.organisation), now)
        objects = stix.sighting_objects(found, self.organisation)
        count, name, digest = self._deliver(target, objects) if found else (0, target, "")
        self.state.save_sightings(found, sent.keys() - {each.id for each in imported})
        kinds = [seen[each.indicator].indicator.kind for each in found]
        level = strictest(each.tlp for each in found)
        return Sent("", "", name, level, count, _counts(kinds), 0, digest)

    # In

    def read_file(self, data: bytes, name: str, now: float) -> Import:
        """Import a file: a STIX bundle, or events of MISP.

        Args:
            name: of the file, for errors.
        """
        document = decode(data, name)
        if misp.is_misp(document):
            reading = misp.read_events(document, name)
        else:
            reading = read_objects(objects_in(document.get("objects"), name))
        return self._receiver(FILE, FILE)(reading, now)

    def poll(self, now: float, *, everything: bool = False) -> Import:
        """Import what has been added to the TAXII collection since the last poll.

        Args:
            everything: read the collection from its beginning.
        """
        total = Import()
        with Taxii(self._settings.sharing) as taxii:
            receive = self._receiver(f"taxii:{taxii.host}", taxii.url)
            position = "" if everything else self.state.position(taxii.url, self.salt)
            campaigns: dict[str, str] = {}
            for page in taxii.poll(position):
                reading: Reading = read_objects(page.objects, campaigns)
                total.add(receive(reading, now))
                if page.position:
                    self.state.save_position(taxii.url, self.salt, page.position)
        return total

    def drop(self, names: list[str], now: float) -> int:
        """Drop received indicators and never import them again.

        Args:
            names: the beginnings of their ids, or whole sources.

        Returns:
            how many there were.
        """
        versions = self.state.versions()
        creators = {id_in(name): creator_in(name) for name in versions}
        dropped: dict[str, Version] = {}
        by_source: dict[str, list[str]] = {}
        for each in self.indicators.all(now):
            uuid = each.id.removeprefix("indicator--")
            if any(each.source == name or uuid.startswith(name) for name in names):
                name = version_name(creators.get(each.id, each.source), each.id)
                until = now + 366 * _DAY
                modified = versions[name].modified if name in versions else now
                dropped[name] = Version(modified, until, dropped=True)
                by_source.setdefault(each.source, []).append(each.id)
        self.state.save_versions(dropped, now)
        for source, ids in by_source.items():
            self.indicators.revoke(source, ids)
        return len(dropped)

    def overview(self, now: float) -> Overview:
        """What was shared and what was imported."""
        control = ControlStore(self._settings.redis_url).read()
        withdrawn = {each.subject for each in control.withdrawn.values()}
        imported = self.indicators.all(now)
        return overview_of(
            self._settings.sharing.name or "",
            self.salt,
            self.state.exported(),
            self.state.targets(),
            withdrawn,
            imported,
            self.indicators.found(imported, now),
        )

    # The audit

    def record(self, what: Any, subject: str, who: str, why: str, after: Any) -> Change:
        """Add to the audit what a person has exchanged."""
        change = msgspec.structs.replace(change_by(who, what, subject, why), after=after)
        self.state.record(change)
        return change

    def _receiver(self, feed: str, way: str) -> Receiver:
        sharing = self._settings.sharing
        return Receiver(sharing, self.salt, feed, way, self.indicators, self.state)

    def _check_not_withdrawn(self, campaign: str) -> None:
        control = ControlStore(self._settings.redis_url).read()
        if any(each.subject == campaign for each in control.withdrawn.values()):
            raise InputError(
                f"The alert on {campaign} is withdrawn, so it is not shared. If partners have it: "
                f"`xm share revoke {campaign}`."
            )

    def _send(self, id: str, made: Export, target: str, format: str) -> Sent:
        shared, organisation = made.campaign, self.organisation
        if target == MISP:
            event = misp.event(shared, organisation)
            name = send_event(event, self._settings.sharing)
            count, digest = 1 + len(shared.hashes), _digest(misp.event_json(shared, organisation))
        elif format == MISP:
            data = misp.event_json(shared, organisation)
            count, name, digest = 1 + len(shared.hashes), _write(Path(target), data), _digest(data)
        else:
            objects = stix.campaign_objects(shared, organisation)
            count, name, digest = self._deliver(target, objects)
        self.state.save_exported(id, shared, name)
        kinds = [each.kind for each in shared.hashes if not each.revoked]
        return Sent(id, shared.id, name, shared.tlp, count, _counts(kinds), made.held_back, digest)

    def _deliver(self, target: str, objects: list[Any]) -> tuple[int, str, str]:
        """Send objects of STIX; return how many were new, where they are, and their digest."""
        data = stix.bundle(objects)
        if target == TAXII:
            with Taxii(self._settings.sharing) as taxii:
                return taxii.push(stix.to_json(objects)), f"taxii:{taxii.host}", _digest(data)
        return len(objects), _write(Path(target), data), _digest(data)


def _write(path: Path, data: bytes) -> str:
    """Write a file, all of it or nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"Cannot write {path} ({error.strerror}): name another file.") from error
    return str(path)


def _counts(kinds: Sequence[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

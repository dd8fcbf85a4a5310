"""Decides what of a partner's objects is imported, and imports it.

An indicator is imported if it is under the same salt, holds now, and comes from a partner: from one
of `XM_SHARING__PARTNERS` if there are any. Its source is the partner. Without that table it is the
feed that it came by, because who created an object is only a claim: somebody who invents identities
would count as many sources. Only its creator can renew or revoke an indicator.

Nothing of what was there before is lost: an object that cannot be used changes nothing, and the
versions are written after the indicators, so an import that was interrupted can be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from monitor.config.sharing import Sharing
from monitor.sharing.indicator import Indicator
from monitor.store.indicators import IndicatorStore
from pipelines.sharing.formats.received import Reading, Received, newest
from pipelines.sharing.formats.shared import identity_id
from pipelines.sharing.state import SharingState, Version, creator_in, id_in, version_name

DAY = 86_400.0
_EARLY = 3600.0  # seconds that a partner's clock may be ahead


class Import(msgspec.Struct):
    """What became of a partner's objects.

    Attributes:
        skipped: indicators that were not imported, by reason.
        others: objects of no interest here, by type.
        problems: the first objects that could not be used, and why.
        sighted: indicators of this deployment that partners have seen, and how many partners.
    """

    added: int = 0
    renewed: int = 0
    unchanged: int = 0
    revoked: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    others: Counter[str] = msgspec.field(default_factory=Counter)
    invalid: int = 0
    problems: list[str] = []
    sighted: dict[str, int] = {}

    @property
    def has_news(self) -> bool:
        """Whether anything has changed, or could not be used."""
        return bool(self.added or self.renewed or self.revoked or self.invalid or self.sighted)

    def counts(self) -> dict[str, int]:
        """What changed, for the audit."""
        return {"added": self.added, "renewed": self.renewed, "revoked": self.revoked}

    def add(self, other: Import) -> None:
        """Add the result of another page."""
        self.added += other.added
        self.renewed += other.renewed
        self.unchanged += other.unchanged
        self.revoked += other.revoked
        self.invalid += other.invalid
        self.skipped.update(other.skipped)
        self.others.update(other.others)
        self.problems = [*self.problems, *other.problems][:20]
        for id, partners in other.sighted.items():
            self.sighted[id] = max(partners, self.sighted.get(id, 0))


class Receiver:
    """Imports what partners send.

    Args:
        salt: id of the deployment's salt.
        feed: what the objects come by: `file`, or `taxii:HOST`.
        way: the same in full: `file`, or the URL of the collection.
    """

    def __init__(
        self,
        settings: Sharing,
        salt: str,
        feed: str,
        way: str,
        indicators: IndicatorStore,
        state: SharingState,
    ) -> None:
        self._settings = settings
        self._salt = salt
        self._feed = feed
        self._way = way
        self._indicators = indicators
        self._state = state
        self._own = identity_id(settings.name) if settings.name else ""

    def __call__(self, reading: Reading, now: float) -> Import:
        """Import what was read.

        Args:
            now: wall-clock time, epoch seconds.

        Raises:
            InputError: if there is no room for it. Nothing is imported.
        """
        result = Import(others=reading.others, invalid=reading.invalid, problems=reading.problems)
        known = self._state.versions()
        creators = {id_in(name): creator_in(name) for name in known}
        present = {each.id: each.weight for each in self._indicators.all(now)}
        added: list[Indicator] = []
        revoked: dict[str, list[str]] = {}
        versions: dict[str, Version] = {}
        for each in newest(reading.indicators):
            name = version_name(each.by, each.id)
            last = known.get(name)
            other = creators.get(each.id, each.by) != each.by
            why = "with the id of another creator" if other else self._reason(each, last, now)
            if why:
                result.skipped[why] += 1
                continue
            if self._is_same(each, last, present):
                result.unchanged += 1
                continue
            until = min(each.valid_until, now + self._settings.valid_days * DAY)
            if each.revoked:
                revoked.setdefault(self._source(each.by), []).append(each.id)
                result.revoked += 1
                # A revocation is remembered for as long as any version of it could hold.
                until = now + self._settings.valid_days * DAY
            else:
                added.append(self._indicator(each, until, reading.names))
                result.renewed += last is not None
                result.added += last is None
            versions[name] = Version(each.modified, until, each.revoked, way=self._way)
        if added:
            self._indicators.put(added, now)
        for source, ids in revoked.items():
            self._indicators.revoke(source, ids)
        if versions:
            self._state.save_versions(versions, now)
        result.sighted = self._sighted(reading)
        return result

    def _reason(self, each: Received, last: Version | None, now: float) -> str:
        """Why an indicator is not imported; empty if it is."""
        if each.by == self._own:
            return "own, came back"
        if self._settings.partners and each.by not in self._settings.partners:
            return "of an identity that is no partner"
        if last is not None and last.dropped:
            return "dropped here"
        if last is not None and each.modified < last.modified:
            return "older than the known version"
        if each.modified > now + _EARLY:
            return "from the future"
        if each.revoked:  # whatever its salt or end
            return "" if last is not None else "revoked, was not known"
        if each.salt != self._salt:
            return "under another salt"
        if each.valid_until <= now:
            return "expired"
        return ""

    def _indicator(self, each: Received, until: float, names: Mapping[str, str]) -> Indicator:
        return Indicator(
            id=each.id,
            kind=each.kind,
            value=each.value,
            salt=each.salt,
            source=self._source(each.by),
            confidence=each.confidence,
            tlp=each.tlp,
            campaign=each.campaign,
            valid_from=each.valid_from,
            valid_until=until,
            source_name=self._settings.partners.get(each.by) or names.get(each.by, ""),
            weight=self._weight(self._source(each.by)),
        )

    def _source(self, by: str) -> str:
        return by if self._settings.partners else self._feed

    def _sighted(self, reading: Reading) -> dict[str, int]:
        """Indicators of this deployment that partners have seen."""
        own = {each.id for shared in self._state.exported().values() for each in shared.hashes}
        seen: dict[str, set[str]] = {}
        for each in reading.sightings:
            if each.indicator in own and each.by != self._own:
                seen.setdefault(each.indicator, set()).add(each.by)
        return {id: len(partners) for id, partners in sorted(seen.items())}

    def _is_same(self, each: Received, last: Version | None, present: Mapping[str, float]) -> bool:
        """Whether a version is known, and Redis has its indicator with the weight that it has now.

        Args:
            present: weights by id.
        """
        if last is None or last.modified != each.modified or last.revoked != each.revoked:
            return False
        return each.revoked or present.get(each.id) == self._weight(self._source(each.by))

    def _weight(self, source: str) -> float:
        return self._settings.weights.get(source, 1.0)

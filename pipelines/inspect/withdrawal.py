"""What a withdrawal remembers of the behaviour that a person found to be no attack."""

from __future__ import annotations

from typing import NamedTuple

from monitor.alerting.alerts import Alert
from monitor.alerting.policy import requests_a_day
from monitor.config import Settings
from monitor.records.profile import DAY, HOUR
from monitor.store.redis import RedisStore
from pipelines.inspect.campaigns import link_partitions
from pipelines.inspect.subjects.stored import find_record, read_partitions

_MOST_MEMBERS = 20_000  # that are remembered, as many as an alert lists


class Behaviour(NamedTuple):
    """How much traffic there was, and whose; see `Withdrawal`."""

    requests: float = 0.0
    members: tuple[str, ...] = ()


class Behaviours:
    """Reads the behaviour behind alerts from Redis, without a claim.

    Args:
        settings: of the workers.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = RedisStore(settings.redis_url, settings.record_seconds)

    def of(self, alert: Alert) -> Behaviour:
        """The behaviour behind an alert: now, or on average if that was more."""
        if alert.subject.type == "campaign":
            return self._of_campaign(alert)
        partitions = read_partitions(self._store, self._settings)
        found = find_record(self._store, alert.subject.id, partitions)
        if found is None:
            return Behaviour()
        record, _ = found
        days = (float(record["last_seen"]) - float(record["first_seen"])) / DAY
        return Behaviour(max(requests_a_day(record), float(record["requests"]) / max(days, 1.0)))

    def _of_campaign(self, alert: Alert) -> Behaviour:
        members = dict.fromkeys(alert.subject.members)
        rate = alert.evidence.get("requests_an_hour", 0.0)
        for partition in link_partitions(self._store, self._settings):
            for campaign in partition.rounds.campaigns:
                if campaign.id == alert.subject.id:
                    members |= dict.fromkeys(campaign.named)
                    rate = max(rate, campaign.evidence.get("requests_an_hour", 0.0))
        return Behaviour(rate * DAY / HOUR, tuple(members)[:_MOST_MEMBERS])

"""Reads campaigns from the linker's state, with the rows of their members.

The linker compares up to a million keys. Here the members are compared with a sample of the other
keys, so memory stays bounded: numbers about others are estimates beyond the size of the sample.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from monitor.alerting.alerts import SEVERITIES
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.config import Settings
from monitor.linker import LinkPartition
from monitor.store.redis import RedisStore
from pipelines.console.reader.cost import Prices
from pipelines.console.reader.rows import pages
from pipelines.console.view.keys import signed
from pipelines.inspect.campaign import CampaignDetail, campaign_detail, pseudonym
from pipelines.inspect.campaigns import link_partitions

SAMPLE = 10_000  # other keys
_MOST_MEMBERS = 50_000  # of all campaigns of a partition, whose rows are read
_PAGE = 1_000  # rows per command
_MODEL = IDENTIFIERS.index("model")

Signature = tuple[float, str, int, int, float]


class Found(msgspec.Struct):
    """A campaign as of the linker's last checkpoint.

    Attributes:
        models: by key, the keyed hash of its latest model.
        traits: name, kind and keyed hash of the identifiers that members share.
        others: other keys that it was compared with.
        keys: that the linker knows.
    """

    detail: CampaignDetail
    models: dict[str, int]
    traits: list[tuple[str, str, int]]
    others: int
    keys: int


class Linked:
    """Finds the campaigns that have changed.

    Args:
        store: has the linker's state.
    """

    def __init__(self, store: RedisStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._states: dict[str, bytes] = {}
        self._seen: dict[str, Signature] = {}

    def reset(self) -> None:
        """Count every campaign as changed."""
        self._states, self._seen = {}, {}

    def read(self) -> Iterator[Found]:
        """The campaigns that have changed since they were read.

        Raises:
            StoreError: if Redis does not answer.
        """
        for partition in link_partitions(self._store, self._settings):
            state = partition.snapshot()
            if self._states.get(partition.name) == state:
                continue
            changed = [
                campaign
                for campaign in partition.rounds.campaigns
                if campaign.named and self._seen.get(campaign.id) != _signature(campaign)
            ]
            if changed:
                keys = self._load(partition)
                for campaign in changed:
                    yield _found(partition, campaign, keys)
                    self._seen[campaign.id] = _signature(campaign)
            self._states[partition.name] = state

    def _load(self, partition: LinkPartition) -> int:
        """Load the rows of members and bystanders, and of a sample; how many rows there are."""
        wanted: dict[str, None] = {}
        for campaign in partition.rounds.campaigns:
            if campaign.named:
                wanted |= dict.fromkeys([*campaign.named, *campaign.bystanders])
        rows = self._rows(partition.name, list(wanted)[:_MOST_MEMBERS])
        keys = self._store.count_rows(partition.name)
        if keys <= SAMPLE + len(rows):
            rows = self._store.rows(partition.name)
        else:
            rows |= self._sample(partition.name)
        partition.population.load(rows)
        return keys

    def _rows(self, partition: str, keys: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _PAGE):
            found |= self._store.read_together(partition, rows=keys[start : start + _PAGE])[2]
        return found

    def _sample(self, partition: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for page in pages(self._store, partition):
            found |= page
            if len(found) >= SAMPLE:
                break
        return found


def write(connection: sqlite3.Connection, found: Found, prices: Prices) -> None:
    """Replace a campaign."""
    detail, summary = found.detail, found.detail.summary
    rows = [
        (
            summary.id,
            each.key,
            "member",
            each.confidence,
            each.requests,
            each.tokens,
            prices.cost(each.tokens, found.models.get(each.key, 0)),
            each.first_seen,
            each.last_seen,
            each.named,
            SEVERITIES.index(each.own_alert) + 1 if each.own_alert else 0,
            msgspec.json.encode(each.nats).decode(),
            msgspec.json.encode(each.shares).decode(),
        )
        for each in detail.members
    ]
    cost = sum(row[6] for row in rows)
    members = {row[1] for row in rows}
    rows += [
        (summary.id, each.key, "bystander", 0.0, each.requests, 0, 0.0, 0.0, 0.0, 0.0, 0, "{}",
         msgspec.json.encode(each.shares).decode())
        for each in detail.bystanders
        if each.key not in members
    ]  # fmt: skip
    connection.execute("DELETE FROM members WHERE campaign = ?", (summary.id,))
    connection.executemany(f"INSERT INTO members VALUES ({', '.join('?' * 13)})", rows)
    kept = msgspec.structs.replace(detail, members=[], bystanders=[])
    connection.execute(
        f"INSERT OR REPLACE INTO campaigns VALUES ({', '.join('?' * 16)})",
        (
            summary.id,
            summary.state,
            SEVERITIES.index(summary.severity) + 1 if summary.severity else 0,
            summary.since,
            summary.members,
            summary.requests,
            summary.tokens,
            cost,
            summary.last_hour,
            summary.decision,
            summary.reason,
            summary.ended,
            detail.until,
            found.others,
            found.keys,
            msgspec.msgpack.encode(kept),
        ),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO traits VALUES (?, ?, ?)",
        [(name, kind, signed(hashed)) for name, kind, hashed in found.traits],
    )


def set_tenants(connection: sqlite3.Connection, id: str = "") -> None:
    """Set which tenants have a member in a campaign, or in each."""
    which = "({}campaign = ?1 OR ?1 = '')"
    connection.execute(f"DELETE FROM campaign_tenants WHERE {which.format('')}", (id,))
    connection.execute(
        "INSERT INTO campaign_tenants SELECT DISTINCT m.campaign, k.tenant FROM members AS m "
        "JOIN keys AS k ON k.key = m.key "
        f"WHERE m.role = 'member' AND k.tenant != '' AND {which.format('m.')}",
        (id,),
    )


def _found(partition: LinkPartition, campaign: Campaign, keys: int) -> Found:
    population = partition.population
    detail = campaign_detail(partition, campaign)
    members = population.rows_of(each.key for each in detail.members)
    fingerprints = population.rows["fingerprint"][members]
    shared = {each.id: each.kind for each in detail.shared}
    traits: dict[tuple[str, int], str] = {}
    for column, kind in enumerate(IDENTIFIERS):
        values = population.rows["identifiers"][members, column].ravel().tolist()
        for value in {*values} - {0}:
            if (name := pseudonym(kind, value)) in shared:
                traits[name, value] = kind
    return Found(
        detail,
        dict(
            zip(
                (population.keys[i] for i in members.tolist()),
                fingerprints["ids"][:, _MODEL].tolist(),
                strict=True,
            )
        ),
        [(name, kind, value) for (name, value), kind in traits.items()],
        len(population) - len(members),
        keys,
    )


def _signature(campaign: Campaign) -> Signature:
    """Changes with each round that changes what is shown."""
    return (
        campaign.confirmed,
        f"{campaign.opened} {campaign.ended} {campaign.severity} {campaign.reason}",
        len(campaign.named),
        len(campaign.timeline),
        campaign.evidence.get("requests", 0.0),
    )

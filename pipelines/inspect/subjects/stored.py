"""Explain a key whose record is in Redis, without a claim and without a write.

What a key is compared with is the same for all keys and slow to read: the partitions with their
baselines, and records of ordinary keys. Who explains many keys reads it once in a while and keeps
it. The rest is read by the name of the key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.identity import ACCOUNT_PREFIX
from monitor.partition import Partition
from monitor.records.baseline import load_reference
from monitor.records.migrations import read
from monitor.records.profile import Records
from monitor.store import inventory
from monitor.store.alert_book import AlertBook
from monitor.store.base import name_in
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.inspect.campaigns import link_partitions
from pipelines.inspect.decisions import enforced, enforcement
from pipelines.inspect.key import Explanation, Membership, explain_record, ordinary_records

_MOST_ALERTS = 50_000  # of the alert book, that are looked through
_PAGES = 10  # of records: enough to find other keys for comparison


def explain_stored(store: RedisStore, key: str, settings: Settings) -> Explanation | None:
    """Explain a key whose record is in Redis; `None` without a record."""
    found = find_record(store, key, read_partitions(store, settings))
    if found is None:
        return None
    return explain_found(
        store,
        key,
        settings,
        *found,
        others=read_others(store, key),
        campaigns=_campaigns(store, key, settings),
        alerts=_alerts(settings, key),
    )


def explain_found(
    store: RedisStore,
    key: str,
    settings: Settings,
    record: np.void,
    partition: Partition,
    *,
    others: Records,
    campaigns: Sequence[Membership] = (),
    alerts: Sequence[Alert] = (),
) -> Explanation:
    """Explain a key by its record. Reads its decisions, and what people have set.

    Args:
        record, partition: as of `find_record`.
        others: as of `read_others`.
        campaigns: the open ones with this member.
        alerts: on the key, in the order of time.
    """
    control, setting, now = ControlStore(settings.redis_url).read(), store.shadow(), time.time()
    applies, why = enforced(store.in_force([key])[0], control, setting, now)
    return explain_record(
        key,
        record,
        partition.baseline,
        settings,
        partition=partition.name,
        others=others,
        decision=applies.decision,
        now=now,
        shadow=enforcement(control, setting, now).shadow,
        applies=applies.action,
        why=why,
        campaigns=campaigns,
        alerts=alerts,
    )


def read_partitions(store: RedisStore, settings: Settings) -> dict[str, Partition]:
    """The partitions of requests as of their last checkpoints, by name."""
    found = {}
    reference = load_reference(settings.reference)
    for name in sorted(store.baselines()):
        state = store.state(name)
        if state is not None:
            found[name] = Partition(name, 0, reference)
            found[name].restore(state)
    return found


def read_others(store: RedisStore, key: str = "") -> Records:
    """Records of ordinary keys, `(n,) RECORD`, without one key."""
    pages = islice(inventory.pages(store.server), _PAGES)
    return ordinary_records(read(data) for page in pages for name, data in page if name != key)


def find_record(
    store: RedisStore, key: str, partitions: Mapping[str, Partition]
) -> tuple[np.void, Partition] | None:
    """A key's record and its partition: the one with its open alerts, or else any candidate.

    The partition follows from the API key, not from its pseudonym. Any partition's baseline will
    do: each has its own, learned from a fair sample of the same traffic.
    """
    found = None
    read_before: dict[str, bytes | None] = {}
    own = key.startswith(ACCOUNT_PREFIX)  # each partition has its own record of an account
    for name, partition in partitions.items():
        (record,) = [name_in(name, key)] if own else store.names(name, [key])
        if record not in read_before:
            (read_before[record],) = store.load([record])
        data = read_before[record]
        if data is not None and (found is None or key in partition.alerted):
            found = read(data), partition
    return found


def _campaigns(store: RedisStore, key: str, settings: Settings) -> list[Membership]:
    """The open campaigns with this member. Reads the linker's state, not its rows."""
    return [
        Membership(campaign.id, campaign.severity, campaign.opened, len(campaign.named))
        for partition in link_partitions(store, settings)
        for campaign in partition.rounds.campaigns
        if campaign.opened and key in campaign.named
    ]


def _alerts(settings: Settings, key: str) -> list[Alert]:
    """The alerts on a key that are open or ended in the last days, in the order of time."""
    entries = islice(AlertBook(settings.redis_url).entries(), _MOST_ALERTS)
    found = [entry.alert for entry in entries if entry.alert.subject.id == key]
    return sorted(found, key=lambda alert: alert.detected_at)

"""Replays from which the facts of a case follow: requests, fingerprints, or files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitor.alerting.alerts import Alert
from monitor.batch import Batch, Outcome
from monitor.campaigns.fingerprint import from_messages, split
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.evidence.facts import Facts
from monitor.identity import ACCOUNT_PREFIX, Identity
from monitor.linker import Linker
from monitor.records.migrations import read
from monitor.store.base import name_in
from monitor.store.memory import MemoryStore
from pipelines.cases.facts import campaign as campaigns
from pipelines.cases.facts import key as keys
from pipelines.cases.facts.versions import versions
from pipelines.inspect.key import ordinary_records
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import PARTITION, end, link


class Replayed(NamedTuple):
    """A replay of a case.

    Attributes:
        population: keys among which a campaign was found; 0 for a key.
        fingerprints: the members' last ones in the stream.
    """

    facts: Facts
    messages: int
    population: int = 0
    fingerprints: Mapping[str, bytes] = {}


def replay_key(
    case: Facts, settings: Settings, identity: Identity, batches: Iterable[Batch]
) -> Replayed:
    """Replay the requests of partitions through a new engine.

    Raises:
        InputError: if none is of the case's subject.
    """
    store = MemoryStore()
    engine = Engine(settings, identity, store)
    alerts: list[Alert] = []
    messages = 0
    for batch in batches:
        outcome = _observe(engine, store, batch)
        messages += len(batch.offsets)
        alerts += [each for each in outcome.alerts if each.subject.id == case.subject]
    return Replayed(_key_facts(case, settings, engine, store, alerts), messages)


def replay_campaign(case: Facts, settings: Settings, batches: Iterable[Batch]) -> Replayed:
    """Replay the fingerprints of a partition through a new linker.

    Raises:
        InputError: if it does not find the case's campaign.
    """
    linker = Linker(settings, MemoryStore())
    alerts: list[Alert] = []
    members = {each.key for each in case.members if each.role == "member"}
    latest: dict[str, bytes] = {}
    messages = 0
    for batch in batches:
        if batch.partition not in linker.partitions:
            linker.assign(batch.partition)
        outcome = linker.observe(batch)
        linker.published(linker.outputs())
        messages += len(batch.offsets)
        alerts += [each for each in outcome.alerts if each.subject.id == case.subject]
        latest.update(_of_members(batch.values, members))
    facts, population = _campaign_facts(case, settings, linker, alerts)
    return Replayed(facts, messages, population, latest)


def replay_files(
    case: Facts, settings: Settings, identity: Identity, recording: Recording
) -> Replayed:
    """Replay a recording as one partition through a new engine and linker.

    Raises:
        InputError: if a file cannot be read, or the case's subject is not in them.
        OutOfOrderError: see `Recording.run`.
    """
    store = MemoryStore()
    engine, linker = Engine(settings, identity, store), Linker(settings, store)
    alerts: list[Alert] = []
    messages = 0
    for values in recording.batches():
        offsets = np.arange(messages, messages + len(values))
        outcome = _observe(engine, store, Batch(PARTITION, offsets, values))
        recording.check(outcome.times)
        messages += len(values)
        linked = link(linker, outcome.fingerprints) if outcome.fingerprints else Outcome()
        linker.published(linker.outputs())
        both = (*outcome.alerts, *linked.alerts)
        alerts += [each for each in both if each.subject.id == case.subject]
    last = end(linker, engine.partitions[PARTITION].watermark) if messages else Outcome()
    alerts += [each for each in last.alerts if each.subject.id == case.subject]
    if case.type != "campaign":
        return Replayed(_key_facts(case, settings, engine, store, alerts), messages)
    facts, population = _campaign_facts(case, settings, linker, alerts)
    return Replayed(facts, messages, population)


def fingerprints_from_requests(
    settings: Settings, identity: Identity, batches: Iterable[Batch], latest: Mapping[str, bytes]
) -> tuple[set[str], int]:
    """Replay requests, to see whether fingerprints follow from them.

    Args:
        latest: fingerprints by key.

    Returns:
        the keys whose fingerprints do, and the number of messages.
    """
    store = MemoryStore()
    engine = Engine(settings, identity, store)
    found: set[str] = set()
    messages = 0
    for batch in batches:
        outcome = _observe(engine, store, batch)
        messages += len(batch.offsets)
        found |= {each.key for each in outcome.fingerprints if latest.get(each.key) == each.value}
    return found, messages


def _observe(engine: Engine, store: MemoryStore, batch: Batch) -> Outcome:
    """Observe a batch; drop what a replay does not need, and write records if memory is short."""
    if batch.partition not in engine.partitions:
        engine.assign(batch.partition)
    if engine.needs_checkpoint:
        checkpoint = engine.snapshot()
        store.commit(checkpoint)
        engine.commit(checkpoint)
    outcome = engine.observe(batch)
    engine.published(engine.outputs())
    return outcome


def _key_facts(
    case: Facts, settings: Settings, engine: Engine, store: MemoryStore, alerts: Sequence[Alert]
) -> Facts:
    """The facts about a key after a replay."""
    store.commit(engine.snapshot())
    found = []
    for name in sorted(engine.partitions):
        own = case.subject.startswith(ACCOUNT_PREFIX)
        data = store.records.get(name_in(name, case.subject) if own else case.subject)
        if data is not None:
            record = read(data)
            rank = case.subject in engine.partitions[name].alerted, int(record["requests"])
            found.append((rank, record, engine.partitions[name]))
    if not found:
        raise InputError(
            f"The replay has no request of {case.subject}: set XM_IDENTITY_SECRET to the secret of "
            "the deployment that the case is from, or Kafka has deleted all of its requests."
        )
    _, record, partition = max(found, key=lambda each: each[0])
    names = sorted(store.records.keys() - {case.subject})
    known = keys.Known(
        case.subject,
        record,
        partition,
        alerts,
        ordinary_records(read(store.records[name]) for name in names),
        case.stream,
        case.complete,
    )
    return keys.key_facts(known, settings, versions(settings))


def _campaign_facts(
    case: Facts, settings: Settings, linker: Linker, alerts: Sequence[Alert]
) -> tuple[Facts, int]:
    """The facts about a campaign after a replay, and the size of its population."""
    for partition in linker.partitions.values():
        for campaign in partition.rounds.campaigns:
            if campaign.id == case.subject:
                whole = any(each.nats for each in case.members)
                known = campaigns.Known(
                    partition, campaign, whole, alerts, case.stream, case.complete
                )
                facts = campaigns.campaign_facts(known, settings, versions(settings))
                return facts, len(partition.population)
    raise InputError(
        f"The replay does not find {case.subject}: fingerprints that it was found by are missing, "
        "a version differs, or the case is from another deployment."
    )


def _of_members(values: Sequence[bytes | None], members: set[str]) -> Iterator[tuple[str, bytes]]:
    """The fingerprints of members in messages."""
    parts = [part for value in values for part in split(value or b"")]
    _, names, which = from_messages(parts)
    for name, at in zip(names, which, strict=True):
        if name in members:
            yield name, parts[at]

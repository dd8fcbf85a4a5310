"""The linker: fingerprints of keys in, campaigns out.

    messages -> fingerprints -> population -> rounds: groups -> verdicts -> campaigns -> alerts

It is carried as the engine is, by the same hands: batches of a partition in, an outcome out, a
checkpoint now and then. Fingerprints are taken in as they come; every ten minutes of event time
there is a round. In it each known group learns from its members and asks again who they are,
seeds become new groups, and the verdict on each is renewed. What comes out depends on the stream of
fingerprints alone.

A partition has a population of its own, and campaigns are found within it: whoever wants all keys
held against each other has one partition, which is enough for millions of keys, for they say
little (`fingerprint.py`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import numpy as np

from monitor import metrics
from monitor.alerting.alerts import Alert, Severity
from monitor.alerting.decisions import Decision
from monitor.batch import Batch, Outcome, Rejected
from monitor.campaigns.campaign import Campaign
from monitor.campaigns.fingerprint import from_messages
from monitor.campaigns.population import Population
from monitor.campaigns.rounds import ROUND, Rounds
from monitor.config import Settings
from monitor.requests.decoder import Rejection
from monitor.store.base import Checkpoint, Store


class _State(msgspec.Struct, array_like=True):
    version: int
    offset: int
    watermark: float
    campaigns: list[Campaign]
    outbox: list[Alert]


class LinkPartition:
    """One partition of fingerprints.

    Attributes:
        claim, offset, watermark, outbox, changed: as of a partition of requests.
        people: the population.
        rounds: the groups among it.
    """

    def __init__(self, name: str, claim: int, settings: Settings) -> None:
        self.name = name
        self.claim = claim
        self.offset = 0
        self.watermark = 0.0
        self.outbox: list[Alert] = []
        self.changed = False
        self.population = Population(settings.campaigns.keys)
        self.rounds = Rounds(settings)

    def __repr__(self) -> str:
        return f"Shard({self.name} at {self.offset}, {len(self.population)} keys)"

    def dump(self) -> bytes:
        """The state as bytes, without the rows."""
        state = _State(1, self.offset, self.watermark, self.rounds.campaigns, self.outbox)
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        """Take up what `dump` gave."""
        state = msgspec.msgpack.decode(data, type=_State)
        self.offset, self.watermark = state.offset, state.watermark
        self.rounds.campaigns, self.outbox = state.campaigns, state.outbox
        self.changed = bool(self.outbox)


@dataclass(slots=True)
class Linker:
    """Observes fingerprints; the same in a worker, in replay and in a test.

    Args:
        settings: thresholds and sizes.
        store: keeps rows and states.
    """

    settings: Settings
    store: Store
    partitions: dict[str, LinkPartition] = field(default_factory=dict)
    _decisions: list[Decision] = field(default_factory=list)

    crowded = False  # rows wait for a checkpoint wherever they are

    def assign(self, name: str) -> LinkPartition:
        """Take a partition up where its last checkpoint left it; nobody else may write it then."""
        claim, state = self.store.claim(name)
        shard = LinkPartition(name, claim, self.settings)
        if state is not None:
            shard.restore(state)
            shard.population.load(self.store.rows(name))
        self.partitions[name] = shard
        return shard

    def revoke(self) -> None:
        """Forget all partitions: what is not in a checkpoint, others observe."""
        self.partitions.clear()
        self._decisions.clear()

    def observe(self, batch: Batch) -> Outcome:
        """Take a batch of an assigned partition in; messages its offset covers are skipped."""
        shard = self.partitions[batch.partition]
        offsets = np.asarray(batch.offsets, np.int64)
        skip = int(np.searchsorted(offsets, shard.offset))
        out = Outcome()
        if skip == len(offsets):
            return out
        values = [value or b"" for value in batch.values[skip:]]
        fingerprints, keys, which = from_messages(values)
        for i in sorted(set(range(len(values))) - set(which)):
            rejection = Rejection("not_a_fingerprint", "of this version", i, values[i])
            out.rejected.append(Rejected(int(offsets[skip + i]), rejection))
        epochs = np.maximum.accumulate(np.append(shard.watermark, fingerprints["ts"])) // ROUND
        starts = [0, *(np.flatnonzero(np.diff(epochs[1:])) + 1).tolist(), len(keys)]
        for start, end in pairwise(starts):
            if start == end:
                continue
            if shard.watermark and epochs[start + 1] > shard.watermark // ROUND:
                now = float(epochs[start + 1]) * ROUND
                with metrics.link_seconds.time():
                    alerts, decisions = shard.rounds.run(shard.population, now)
                out.alerts += alerts
                out.decisions += decisions
            shard.population.update(fingerprints[start:end], keys[start:end])
            shard.watermark = max(shard.watermark, float(fingerprints["ts"][start:end].max()))
        out.events = len(keys)
        shard.offset = int(offsets[-1]) + 1
        shard.outbox += out.alerts
        shard.changed = True
        self._decisions += out.decisions
        _count(out, shard)
        return out

    def open_alerts(self) -> Counter[tuple[str, Severity]]:
        """How many alerts of each severity are open."""
        return Counter(
            ("campaign", campaign.severity)
            for shard in self.partitions.values()
            for campaign in shard.rounds.campaigns
            if campaign.opened and not campaign.ended
        )

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return any(shard.changed for shard in self.partitions.values())

    def checkpoint(self) -> Checkpoint:
        """Everything that has changed since the last one. Say `saved` or `failed`, then `sent`."""
        checkpoint = Checkpoint(decisions=self._decisions)
        self._decisions = []
        for shard in self.partitions.values():
            checkpoint.claims[shard.name] = shard.claim
            if shard.changed:
                checkpoint.partitions[shard.name] = shard.dump()
                checkpoint.rows[shard.name] = shard.population.snapshot()
                checkpoint.alerts += shard.outbox
                shard.changed = False
        return checkpoint

    def saved(self) -> None:
        """The checkpoint is in the store."""

    def failed(self, checkpoint: Checkpoint) -> None:
        """The checkpoint is not in the store; the next one will hold what it held."""
        self._decisions = checkpoint.decisions + self._decisions
        for name in checkpoint.partitions.keys() & self.partitions.keys():
            shard = self.partitions[name]
            shard.changed = True
            shard.population.rollback(checkpoint.rows[name])

    def sent(self, checkpoint: Checkpoint) -> None:
        """The checkpoint's alerts have gone out and need not be kept."""
        gone = {(alert.id, alert.state, alert.detected_at) for alert in checkpoint.alerts}
        for shard in self.partitions.values():
            kept = [a for a in shard.outbox if (a.id, a.state, a.detected_at) not in gone]
            shard.changed |= len(kept) < len(shard.outbox)
            shard.outbox = kept


def _count(out: Outcome, shard: LinkPartition) -> None:
    metrics.fingerprints.inc(out.events)
    metrics.linked_keys.set(len(shard.population))
    for alert in out.alerts:
        metrics.alerts.labels(alert.kind, alert.severity, alert.state).inc()
    for decision in out.decisions:
        metrics.decisions.labels(decision.action).inc()

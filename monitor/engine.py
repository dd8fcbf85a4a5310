"""The engine: a batch of messages in, alerts and decisions out.

    values -> columns -> rows of the table -> records -> looks -> findings -> alerts, decisions
                                                              -> fingerprints

Everything is in event time and in stream order. What comes out depends on the stream alone, not
on where batches begin, how fast they come, or how often the worker was killed in between.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor import metrics
from monitor.alerting.alerts import INFO, Lifecycle, Severity
from monitor.alerting.decisions import Decision, action_for, duration, strongest
from monitor.batch import Batch, KeyFingerprint, Outcome, Rejected
from monitor.campaigns import fingerprint
from monitor.config import Settings
from monitor.detectors import DETECTORS, Combined, Detector
from monitor.detectors.base import Evaluation
from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.partition import EPOCH, LATENESS, Partition
from monitor.prompts.content_model import load_content
from monitor.prompts.extractor import Extractor, Features
from monitor.prompts.lexicon import Lexicon
from monitor.prompts.normalise import join, lay
from monitor.records.admission import READ, REPEATED, admit
from monitor.records.baseline import Reference, load_reference
from monitor.records.profile import COMBINED, DAY, RECORD, Profile, Records
from monitor.records.update import Requests, Today, update, warm
from monitor.requests.columns import Columns, Reader
from monitor.requests.decoder import Decoder, Rejection
from monitor.requests.marks import INTENT
from monitor.store.base import Checkpoint, Store
from monitor.store.table import Rows, Table

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]


class Engine:
    """Observes requests; the same in a worker, in replay and in a test.

    Args:
        settings: thresholds, sizes, mapping.
        identity: makes pseudonyms.
        store: keeps the records that the table has no room for, and the checkpoints.
        detectors: what looks at the records.
        reference: where the public starts from; default: what the settings name.
        clock: the wall clock, which only tells events from the future.
        witness: is told of every look, and copies what it keeps: arrays are used again.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        store: Store,
        *,
        detectors: Sequence[Detector] = DETECTORS,
        reference: Reference | None = None,
        clock: Callable[[], float] = time.time,
        on_evaluation: Callable[[Evaluation], None] | None = None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._store = store
        self._combined = Combined(detectors)
        self._judges = (*detectors, self._combined)
        self._reference = load_reference(settings.reference) if reference is None else reference
        self._clock = clock
        self._on_evaluation = on_evaluation
        self._read = Reader(Decoder(settings.mapping), identity)
        self._lexicon = Lexicon()
        self._extractor = Extractor(identity.seed, load_content(settings.content))
        self._lifecycle = Lifecycle(settings.detection, action_for)
        self._decisions: list[Decision] = []
        self._looks: Records = np.empty(0, RECORD)
        self.table = Table(store, settings.rows)
        self.partitions: dict[str, Partition] = {}
        self._read(Messages.of([]), 0.0)
        warm(self._extractor(join([])))

    def assign(self, name: str) -> Partition:
        """Take a partition up where its last checkpoint left it; nobody else may write it then."""
        claim, state = self._store.claim(name)
        partition = Partition(name, claim, self._reference)
        if state is not None:
            partition.restore(state)
        self.partitions[name] = partition
        return partition

    def revoke(self) -> None:
        """Forget all partitions and records: what is not in a checkpoint, others observe."""
        self.partitions.clear()
        self._decisions.clear()
        self.table.clear()

    def observe(self, batch: Batch) -> Outcome:
        """Carry a batch of an assigned partition into the records.

        Messages that the partition's offset covers are skipped.

        Raises:
            StoreError: if records cannot be loaded. Nothing has happened then; try again.
        """
        partition = self.partitions[batch.partition]
        offsets, messages = _from(partition.offset, batch)
        out = Outcome()
        if not len(messages):
            return out
        columns, rejections = self._read(messages, self._clock())
        in_time = columns.ts >= _watermarks(partition.watermark, columns.ts)[:-1] - LATENESS
        if not in_time.all():
            rejections += _late(columns, in_time, messages)
            columns = columns.take(np.flatnonzero(in_time))
        out.rejected = [Rejected(int(offsets[each.source]), each) for each in rejections]
        if columns.keys:
            self._carry(partition, columns, out)
        partition.offset = int(offsets[-1]) + 1
        partition.outbox += out.alerts
        partition.changed = True
        self._decisions += out.decisions
        _count(out, len(messages))
        metrics.live_keys.set(len(self.table))
        return out

    def _carry(self, partition: Partition, columns: Columns, out: Outcome) -> None:
        """Update records epoch by epoch; let detectors look in between."""
        keys, ts = columns.keys, columns.ts
        watermarks = _watermarks(partition.watermark, ts)
        epochs = (watermarks // EPOCH).astype(np.int64)
        # Whatever may be needed is loaded first: a store that is away must not stop us half-way.
        alerted = list(partition.alerted) if epochs[-1] > epochs[0] else []
        turns = watermarks[-1] // DAY > partition.baseline.day
        said = self._store.baselines() if turns else {}
        rows = self._rows(partition, keys + alerted)[: len(keys)]
        self.table.mark_changed(rows)
        ids = columns.short("id")
        found = np.empty(len(keys), np.uint8)
        admit(self.table.records, rows, ts, ids, found)
        texts = lay(columns.prompts.only(found == READ))
        requests = Requests(
            ts,
            columns.tokens,
            ids,
            columns.marks | self._lexicon.match(texts) * np.uint8(INTENT),
            columns.short("model"),
            columns.sent,
        )
        features = self._extractor(texts)
        out.events += len(keys)
        out.repeated += int(np.count_nonzero(found == REPEATED))
        starts = [0, *(np.flatnonzero(np.diff(epochs[1:])) + 1).tolist(), len(keys)]
        for start, end in itertools.pairwise(starts):
            if epochs[start + 1] > epochs[start]:
                self._end_epoch(partition, int(epochs[start + 1]), said, out)
            looks, at = self._update(partition, rows, found, requests, features, start, end)
            self._look(partition, columns, rows, looks, at, out)
            partition.watermark = float(watermarks[end])

    def _rows(self, partition: Partition, keys: list[str]) -> Rows:
        return self.table.rows(self._store.names(partition.name, keys))

    def _update(
        self,
        partition: Partition,
        rows: Rows,
        found: Marks,
        requests: Requests,
        features: Features,
        start: int,
        end: int,
    ) -> tuple[Records, Rows]:
        """Carry requests of one epoch into their records; the looks due, and after which."""
        if end - start > len(self._looks):
            self._looks = np.empty(end - start, RECORD)
        at = np.empty(end - start, np.int64)
        baseline = partition.baseline
        today = Today(
            baseline.day,
            baseline.today,
            baseline.ceiling,
            self._extractor.model,
            *baseline.mean.today,
        )
        count = update(
            self.table.records,
            rows,
            found,
            requests,
            features,
            today,
            start,
            end,
            self._looks,
            at,
        )
        return self._looks[:count], at[:count]

    def _end_epoch(
        self, partition: Partition, epoch: int, said: dict[str, bytes], out: Outcome
    ) -> None:
        """Let the public begin a new day, and resolve what has been calm."""
        now = epoch * EPOCH
        if partition.baseline.start_day(int(now // DAY)):
            ours = {name: each.baseline.mean.publish() for name, each in self.partitions.items()}
            mean = partition.baseline.mean
            mean.apply(partition.baseline.day, {**said, **ours})
            metrics.public_key_days.set(mean.key_days)
            metrics.public_error.set(mean.meaning.uncertainty)
        alerted = list(partition.alerted)
        rows = self._rows(partition, alerted)
        records = self.table.records
        for i in np.flatnonzero(self._lifecycle.calm(records[rows], now)).tolist():
            key, record = alerted[i], records[rows[i]]
            out.alerts += self._lifecycle.resolve(record, key, now)
            partition.note(key, self._lifecycle.open_on(record, key))
        records["flagged"][rows] = (records["severity"][rows] > INFO).any(axis=1)
        self.table.mark_changed(rows)

    def _look(
        self,
        partition: Partition,
        columns: Columns,
        rows: Rows,
        looks: Records,
        at: Rows,
        out: Outcome,
    ) -> None:
        """Let the detectors judge records as they were at requests `at`, in stream order."""
        keys, ts = columns.keys, columns.ts
        if not (len(looks) and self._combined.parts):
            return
        profile = Profile(looks)
        findings = self._combined.examine(profile, partition.baseline)
        together = findings[-1].evidence["level"]
        partition.baseline.set_level(self.table.records, COMBINED, rows[at], together)
        if self._on_evaluation is not None:
            seen = [keys[event] for event in at.tolist()]
            self._on_evaluation(Evaluation(seen, ts[at], profile, partition.baseline, findings))
        p = np.stack([finding.p for finding in findings])
        for detector, finding in zip(self._judges, findings, strict=True):
            metrics.findings.labels(detector.name).inc(
                int(np.count_nonzero(finding.p <= self._settings.detection.info))
            )
        severity = self.table.records["severity"][rows[at]].max(axis=1)
        for i, d in np.argwhere(self._lifecycle.upholding >= p.T).tolist():
            event = int(at[i])
            key, now, record = keys[event], float(ts[event]), self.table.records[rows[event]]
            detector, finding = self._judges[d], findings[d]
            alert = self._lifecycle.judge(record, key, now, detector, finding, i)
            if alert is not None:
                out.alerts.append(alert)
                severity[i:][rows[at[i:]] == rows[event]] = record["severity"].max()
                partition.note(key, self._lifecycle.open_on(record, key))
                if alert.severity != "info":
                    partition.baseline.exclude(record)
            decision = self._decide(record, key, now, anew=alert is not None)
            if decision is not None:
                out.decisions.append(decision)
        out.fingerprints += self._said(columns, looks, at, p.min(axis=0), severity)

    @staticmethod
    def _said(
        columns: Columns, looks: Records, at: Rows, p: Floats, severity: Any
    ) -> Iterator[KeyFingerprint]:
        """The fingerprints of the keys that have changed enough."""
        which = fingerprint.due(looks)
        if not len(which):
            return
        events = at[which]
        fingerprints = fingerprint.from_records(
            looks[which],
            columns.ts[events],
            -np.log(p[which]),
            columns.hashes[events],
            severity[which],
        )
        keys = [columns.keys[event] for event in events.tolist()]
        yield from map(KeyFingerprint, keys, fingerprint.to_messages(fingerprints, keys))

    def _decide(self, record: Any, key: str, now: float, *, anew: bool) -> Decision | None:
        """The decision on a key with open alerts, if it is new or half over."""
        open_alerts = self._lifecycle.open_on(record, key)
        actions = [action_for(kind, severity) for kind, severity, _ in open_alerts]
        action = strongest(actions)
        seconds = duration(action, self._settings.decisions)
        if not seconds or not (anew or now - float(record["decided"]) >= seconds / 2):
            return None
        record["decided"] = now
        return Decision(key, action, open_alerts[actions.index(action)][2], now, seconds)

    def open_alerts(self) -> Counter[tuple[str, Severity]]:
        """How many alerts of each kind and severity are open on keys of these partitions."""
        return Counter(
            each
            for partition in self.partitions.values()
            for open_alerts in partition.alerted.values()
            for each in open_alerts
        )

    @property
    def crowded(self) -> bool:
        """Whether a checkpoint should be written before more is observed."""
        return self.table.crowded

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return any(partition.changed for partition in self.partitions.values())

    def checkpoint(self) -> Checkpoint:
        """Everything that has changed since the last one. Say `saved` or `failed`, then `sent`."""
        checkpoint = Checkpoint(self.table.snapshot(), decisions=self._decisions)
        self._decisions = []
        for partition in self.partitions.values():
            checkpoint.claims[partition.name] = partition.claim
            if partition.changed:
                checkpoint.partitions[partition.name] = partition.dump()
                checkpoint.baselines[partition.name] = partition.baseline.mean.publish()
                checkpoint.alerts += partition.outbox
                partition.changed = False
        return checkpoint

    def saved(self) -> None:
        """The checkpoint is in the store."""
        self.table.commit()

    def failed(self, checkpoint: Checkpoint) -> None:
        """The checkpoint is not in the store; the next one will hold what it held."""
        self.table.rollback()
        self._decisions = checkpoint.decisions + self._decisions
        for name in checkpoint.partitions.keys() & self.partitions.keys():
            self.partitions[name].changed = True

    def sent(self, checkpoint: Checkpoint) -> None:
        """The checkpoint's alerts have gone out and need not be kept."""
        gone = {(alert.id, alert.state, alert.detected_at) for alert in checkpoint.alerts}
        for partition in self.partitions.values():
            kept = [a for a in partition.outbox if (a.id, a.state, a.detected_at) not in gone]
            partition.changed |= len(kept) < len(partition.outbox)
            partition.outbox = kept


def _from(offset: int, batch: Batch) -> tuple[Integers, Messages]:
    """The messages of a batch that have not been observed, and their offsets."""
    offsets = np.asarray(batch.offsets, np.int64)
    skip = int(np.searchsorted(offsets, offset))
    return offsets[skip:], Messages.of(batch.values)[skip:]


def _watermarks(before: float, ts: Floats) -> Floats:
    """The watermark before each event and after the last, `(n + 1,) float64`."""
    return np.maximum.accumulate(np.concatenate([[before], ts]))


def _late(
    columns: Columns, in_time: npt.NDArray[np.bool_], messages: Messages
) -> Iterator[Rejection]:
    detail = f"ts is more than {LATENESS / 60:.0f} minutes behind its partition"
    for source in columns.sources[~in_time].tolist():
        yield Rejection("late", detail, source, messages[source] or b"")


def _count(out: Outcome, messages: int) -> None:
    metrics.batch_size.observe(messages)
    metrics.events.inc(out.events)
    metrics.repeated.inc(out.repeated)
    for rejected in out.rejected:
        metrics.rejections.labels(rejected.rejection.reason).inc()
    for alert in out.alerts:
        metrics.alerts.labels(alert.kind, alert.severity, alert.state).inc()
    for decision in out.decisions:
        metrics.decisions.labels(decision.action).inc()

"""The engine: requests in, alerts, decisions and key fingerprints out.

    observe: messages -> columns -> records -> evaluations -> findings -> alerts, decisions
                                                           -> fingerprints

Time is event time, and order is stream order. The output depends on the stream alone: not on
where batches begin, how fast they arrive, or how often the worker was killed in between.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from monitor import gauges
from monitor.alerting.alerts import Severity
from monitor.batch import Batch, KeyFingerprint, Observed, Outcome, Rejected
from monitor.campaigns import fingerprint
from monitor.config import Settings
from monitor.detectors import DETECTORS, PROMPT_DETECTORS, Combined, Detector
from monitor.detectors.base import Evaluation
from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.metrics import Metrics
from monitor.operator import PartitionedOperator, Withdrawn
from monitor.partition import EPOCH, Partition
from monitor.prompts.content_model import load_content
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Normaliser, Texts
from monitor.records.admission import JOINED, UNREAD, admit_columns
from monitor.records.baseline import Reference, load_reference
from monitor.records.baseline_mean import Learned, decode
from monitor.records.harvest.judge import TaskJudge
from monitor.records.inputs import END_USER, KEY, Entries, Requests, Today
from monitor.records.profile import COMBINED, DAY, RECORD, Profile, Records, copies
from monitor.records.reading.reader import PromptReader, Reading
from monitor.records.stream_clock import FUTURE, LATE
from monitor.records.update import update, warm
from monitor.requests import status
from monitor.requests.columns import Columns, Reader
from monitor.requests.decoder import MAX_AHEAD, Decoder
from monitor.requests.marks import HAS_PROMPT
from monitor.requests.reasons import Rejection
from monitor.response import Response
from monitor.store.base import Checkpoint, Store
from monitor.store.table import Rows, Table
from monitor.subjects import BatchSubjects, Evaluated, Subjects

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]


class Engine(PartitionedOperator[Partition]):
    """A stream operator (`operator.py`) on requests; the same in a worker, replay and tests.

    Args:
        settings: thresholds, sizes, mapping.
        identity: makes pseudonyms.
        store: keeps the checkpoints, and the records that the table has no room for.
        detectors: evaluate the records.
        reference: the baseline of a deployment without history; default: as the settings name.
        clock: epoch seconds; stands in for the arrival of messages that have none.
        on_evaluation: called with every evaluation. It must copy what it keeps: arrays are reused.
        on_requests: called with the requests of each batch after they were observed.
        metrics: default: metrics in a private registry.

    Attributes:
        table: the records in memory.
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
        on_requests: Callable[[Observed], None] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(store, metrics)
        self._settings = settings
        self._combined = Combined(detectors)
        self._detectors = (*detectors, self._combined)
        self._of_prompts = [each.name in PROMPT_DETECTORS for each in self._detectors]
        self._reference = load_reference(settings.reference) if reference is None else reference
        self._clock = clock
        self._on_evaluation = on_evaluation
        self._on_requests = on_requests
        self._read = Reader(Decoder.of(settings), identity)
        secret = identity.derive("prompts", 32)
        prompts = Normaliser(secret), Extractor(secret, load_content(settings.content))
        self._extractor = prompts[1]
        self._read_prompts = PromptReader(identity, *prompts, settings.read_share)
        self._tasks = TaskJudge(identity, *prompts, settings.tasks)
        self._copies: Records = np.empty(0, RECORD)
        self.table = Table(store, settings.rows)
        self._subjects = Subjects(identity, store, self.table)
        self._tenants = identity.tenants
        self._response = Response(settings, self.table, self._detectors)
        self._gauges = gauges.EngineGauges(
            *(settings, self._reference, self._combined, self._subjects, self.table, self.metrics)
        )
        self._read(Messages.of([]), 0.0)  # compiles the kernels before the first batch
        warm(self._extractor(Texts.of([])))

    def _new_partition(self, name: str, claim: int) -> Partition:
        return Partition(name, claim, self._reference)

    # A batch

    def _observe(self, partition: Partition, batch: Batch, out: Outcome) -> None:
        messages = Messages.of(batch.values)
        columns, rejections, decoded = self._read(messages, math.inf)
        out.unreadable, out.ignored = decoded.unreadable, decoded.ignored
        out.times = columns.ts
        if (refused := status.refused(columns.status)).any():
            out.refused = status.by_label(columns.status)
            columns = columns.take(np.flatnonzero(~refused))
        latest = batch.arrived(self._clock())[columns.sources] + MAX_AHEAD
        clock, places, watermarks = partition.clock.after(columns.ts, columns.keys, latest)
        if (places == FUTURE).any():
            rejections += self._reject(columns.take(np.flatnonzero(places == FUTURE)), messages)
            kept = np.flatnonzero(places != FUTURE)
            columns, places = columns.take(kept), places[kept]
            watermarks = watermarks[np.append(0, kept + 1)]
        if columns.keys:
            times = np.where(places == LATE, watermarks[:-1], columns.ts)
            out.late = int(np.count_nonzero(places == LATE))
            self._observe_requests(partition, columns, times, watermarks, out)
            if self._on_requests is not None:
                self._on_requests(Observed(columns, messages, out))
        partition.clock = clock
        rejections.sort(key=lambda each: (each.source, each.element))
        out.rejected = [Rejected(int(batch.offsets[each.source]), each) for each in rejections]
        self.metrics.batch_size.observe(len(messages))
        self.metrics.events.inc(out.events)
        self.metrics.repeated.inc(out.repeated)
        self.metrics.late.inc(out.late)
        self.metrics.live_keys.set(len(self.table))

    def _reject(self, columns: Columns, messages: Messages) -> Iterator[Rejection]:
        """Reject each element from the future alone, without its neighbours in the message."""
        detail = f"ts is more than {MAX_AHEAD:.0f} s ahead of its arrival"
        values = self._read.element_bytes(columns, messages)
        where = np.stack([columns.sources, columns.elements], axis=1).tolist()
        for (source, element), value in zip(where, values, strict=True):
            yield Rejection("future", detail, source, value, element)

    def _observe_requests(
        self,
        partition: Partition,
        columns: Columns,
        times: Floats,
        watermarks: Floats,
        out: Outcome,
    ) -> None:
        """Update the records, one epoch at a time, and evaluate them in between.

        Args:
            partition: of the requests.
            columns: n requests.
            times: `(n,) float64`, when each counts: its `ts`, or the watermark if it is late.
            watermarks: `(n + 1,) float64`, before each of them and after the last.
            out: receives alerts, decisions, fingerprints and counts.
        """
        epochs = (watermarks // EPOCH).astype(np.int64)
        # Load all that may be needed first: a store that fails must not leave half a batch.
        alerted = list(partition.alerted) if epochs[-1] > epochs[0] else []
        new_day = watermarks[-1] // DAY > partition.baseline.day
        baselines = decode(self._store.baselines()) if new_day else {}
        rows, accounts = self._subjects.load(partition, columns, alerted)
        with self.table.restored_on_error(rows):
            requests, reading, admitted = self._features(columns, times, rows)
            subjects = self._subjects.select(
                partition, columns, rows, accounts, requests, reading.features, admitted
            )
        entries = subjects.entries
        self.table.mark_changed(np.concatenate([rows, entries.rows]))
        out.events += len(rows)
        out.repeated += int(np.count_nonzero(admitted < UNREAD))
        has_prompt = columns.marks & HAS_PROMPT != 0
        silent = np.count_nonzero(~has_prompt & (admitted >= UNREAD))
        joined = np.count_nonzero(has_prompt & (admitted == JOINED))
        out.without_prompt += max(int(silent - joined), 0)
        starts = [0, *(np.flatnonzero(np.diff(epochs[1:])) + 1).tolist(), len(rows)]
        for start, end in itertools.pairwise(starts):
            if epochs[start + 1] > epochs[start]:
                self._end_epoch(partition, int(epochs[start + 1]), baselines, out)
            partition.add_traffic(int(epochs[start + 1]), end - start)
            first, last = np.searchsorted(entries.events, (start, end)).tolist()
            records, due = self._update(partition, entries, requests, reading, first, last)
            if len(due) and self._combined.parts:
                events = entries.events[due]
                evaluated = Evaluated(
                    records,
                    due,
                    events,
                    entries.rows[due],
                    entries.roles[due],
                    [subjects.ids[i] for i in due.tolist()],
                    times[events],
                )
                self._evaluate(partition, evaluated, subjects, out)
            self._response.decide_on_keys(partition, subjects, end, out)
        self.metrics.unread.inc(int(np.count_nonzero((admitted == UNREAD) & has_prompt)))

    def _features(
        self, columns: Columns, times: Floats, rows: Rows
    ) -> tuple[Requests, Reading, Marks]:
        """Columns and prompts of n requests, and which of the requests to count."""
        read = admit_columns(self.table.records, rows, columns)
        self.metrics.reused_ids.inc(read.reused)
        reading = self._read_prompts(self.table.records, rows, columns, read)
        requests = Requests(
            *(times, columns.ts, read.tokens, columns.short_hashes("id"), reading.marks),
            *(columns.short_hashes("model"), columns.origins, columns.counted),
            *self._tasks(self.table.records, rows, columns, read, reading),
            *(reading.chosen, reading.extracted),
        )
        return requests, reading, read.admitted

    def _end_epoch(
        self, partition: Partition, epoch: int, baselines: dict[str, Learned], out: Outcome
    ) -> None:
        """Begin a new day of the baseline if it is one, and resolve calm alerts."""
        now = epoch * EPOCH
        if partition.baseline.start_day(int(now // DAY)):
            own = {name: each.baseline.mean.learned for name, each in self.partitions.items()}
            mean = partition.baseline.mean
            mean.apply(partition.baseline.day, {**baselines, **own})
            self.metrics.baseline_keys.set(mean.key_days)
            self.metrics.baseline_error.set(mean.meaning.uncertainty)
        alerted = list(partition.alerted)
        rows = self._subjects.rows(partition, alerted)
        self._response.resolve_calm(partition, alerted, rows, now, out)
        self.table.mark_changed(rows)

    def _update(
        self,
        partition: Partition,
        entries: Entries,
        requests: Requests,
        reading: Reading,
        start: int,
        end: int,
    ) -> tuple[Records, Rows]:
        """Process the entries `start` to `end` of one epoch.

        Returns:
            copies of the records to evaluate, and the index of the entry that made each due.
        """
        if end - start > len(self._copies):
            self._copies = np.empty(end - start, RECORD)
        due = np.empty(end - start, np.int64)
        baseline = partition.baseline
        today = Today(
            *(baseline.day, baseline.today, baseline.ceiling, self._extractor.model),
            *(self._tasks.traits, *baseline.mean.today, baseline.trusted),
        )
        count = 0
        while True:
            more, start = update(
                *(self.table.records, entries, requests, reading.features, today, start, end),
                *(self._copies[count:], due[count:]),
            )
            count += more
            if start == end:
                break
            event = entries.events[start]
            left = ~reading.extracted[event:] & (entries.keys[event:] == entries.keys[event])
            self._read_prompts.complete(reading, event + np.flatnonzero(left))
        return self._copies[:count], due[:count]

    # Evaluations

    def _evaluate(
        self,
        partition: Partition,
        evaluated: Evaluated,
        subjects: BatchSubjects,
        out: Outcome,
    ) -> None:
        """Run the detectors; open and update alerts, make decisions, emit fingerprints."""
        records, rows = self.table.records, evaluated.rows
        profile = Profile(evaluated.records)
        findings, level = self._combined.evaluate(profile, partition.baseline)
        partition.baseline.set_level(records, COMBINED, rows, level)
        if self._on_evaluation is not None:
            self._on_evaluation(
                Evaluation(
                    *(evaluated.ids, evaluated.ts, profile, partition.baseline, findings),
                    evaluated.roles == KEY,
                )
            )
        p = np.stack([finding.p for finding in findings])  # (detectors, n)
        self._response.set_withdrawn_aside(evaluated, p)
        self._count_findings(p)
        severity = records["severity"][rows].max(axis=1)
        for i, d in self._response.confirm(evaluated, p):
            self._response.decide_on_keys(partition, subjects, int(evaluated.events[i]), out)
            if self._response.apply(partition, subjects, evaluated, i, d, findings[d], out):
                severity[i:][rows[i:] == rows[i]] = records[rows[i]]["severity"].max()
        surprisal = -np.log([p.min(axis=0), p[self._of_prompts].min(axis=0, initial=1.0)])
        _add_fingerprints(evaluated, subjects, surprisal, severity, out)

    def _count_findings(self, p: Floats) -> None:
        flagged = (p <= self._settings.detection.info).sum(axis=1)
        for d in np.flatnonzero(flagged).tolist():
            self.metrics.findings.labels(self._detectors[d].name).inc(int(flagged[d]))

    # Withdrawn alerts

    def withdraw(self, withdrawn: Withdrawn) -> None:
        self._response.withdrawn = withdrawn
        for partition in self.partitions.values():
            self._add(partition, self._response.withdraw(partition, self._subjects))

    def forget(self, subjects: Sequence[str]) -> None:
        self._tenants.forget(subjects)
        for partition in self.partitions.values():
            self._add(partition, self._response.forget(partition, self._subjects, subjects))

    # Checkpoints

    @property
    def needs_checkpoint(self) -> bool:
        return self.table.crowded

    @property
    def unsaved_share(self) -> float:
        return self.table.unsaved_share

    def open_alerts(self) -> Counter[tuple[str, Severity]]:
        return gauges.open_alerts(self.partitions.values())

    def update_metrics(self) -> None:
        self.drift = self._gauges.update(self.partitions)

    def snapshot(self) -> Checkpoint:
        checkpoint = super().snapshot()
        checkpoint.records, checkpoint.tenants = self.table.snapshot(), self._tenants.take()
        return checkpoint

    def _add_rows(self, partition: Partition, checkpoint: Checkpoint) -> None:
        checkpoint.baselines[partition.name] = partition.baseline.mean.publish()
        checkpoint.traffic[partition.name] = partition.hourly_requests

    def commit(self, checkpoint: Checkpoint) -> None:
        self.table.commit()

    def rollback(self, checkpoint: Checkpoint) -> None:
        super().rollback(checkpoint)
        self.table.rollback()
        self._tenants.put_back(checkpoint.tenants)

    def revoke(self) -> None:
        super().revoke()
        self.table.clear()


def _add_fingerprints(
    evaluated: Evaluated,
    subjects: BatchSubjects,
    surprisal: Floats,
    severity: Marks,
    out: Outcome,
) -> None:
    """Add the fingerprints of the keys and accounts that changed enough.

    Args:
        evaluated: n evaluations.
        subjects: of the batch.
        surprisal: `(2, n) float64`, see `from_records`.
        severity: `(n,) uint8`, of the severest open alert on the key; 0 for none.
    """
    due = fingerprint.due(evaluated.records)
    due = due[evaluated.roles[due] != END_USER]
    if len(due):
        keys, events = [evaluated.ids[i] for i in due.tolist()], evaluated.events[due]
        fingerprints = fingerprint.from_records(
            copies(evaluated.records, due),
            evaluated.ts[due],
            surprisal[:, due],
            subjects.columns.hashes[events],
            severity[due],
            evaluated.roles[due],
            subjects.accounts_of(events),
        )
        out.fingerprints += map(KeyFingerprint, keys, fingerprint.to_messages(fingerprints, keys))
        out.fingerprinted += events.tolist()

"""Shared hashes of what is in requests, for the role `watch`.

Records and fingerprints hold hashes under the deployment's own secret only. So with sharing on, the
identifiers behind each new own hash in a fingerprint are read from the request once more and hashed
under the sharing salt. Redis keeps the pair for days. If the shared hash is that of an imported
indicator, Redis notes that, too, and the linker uses it.

Fingerprints do not hold templates. They are computed of the requests of suspicious keys only, and
of all requests that lead to a fingerprint while an imported indicator is a template.

The engine's thread only compares hashes and puts requests into a bounded queue. A thread of its own
does the rest. What finds no room is not remembered as seen, so it has its turn later. A client
can fill the queue with identifiers that nobody else has; it delays only new ones of others then,
and Redis takes a bounded number of them a day.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, Full, Queue
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.batch import Observed
from monitor.config import Settings
from monitor.metrics import Metrics
from monitor.requests.decoder import Decoder, RequestEvent
from monitor.requests.hashing import HASH_KINDS
from monitor.sharing.indicator import IN_FINGERPRINTS, Kind
from monitor.sharing.salt import Salt
from monitor.store.indicators import IndicatorStore
from monitor.store.redis import RedisStore
from pipelines.inspect.campaigns import link_partitions
from pipelines.sharing.live.imports import KnownIndicators

log = logging.getLogger(__name__)

_SLOTS = 1 << 17  # hashes of a kind that are known as seen; a colliding one takes the slot
_PER_BATCH, _WAITING, _BYTES = 256, 2_048, 32 << 20  # requests, and bytes of the waiting ones
_MOST_A_DAY = 1_000_000  # pairs of a worker, 30 to 100 MB of Redis
_TOGETHER = 256  # requests that are hashed together
_REFRESH_SECONDS = 15.0
_DAY = 86_400.0
_SEVERITY = 2  # offset in a fingerprint
_KINDS: tuple[Kind, ...] = tuple(IN_FINGERPRINTS)
_COLUMNS = [HASH_KINDS.index(name) for name in IN_FINGERPRINTS.values()]

Hashes = npt.NDArray[np.uint64]


class _Request(NamedTuple):
    """A request to hash.

    Attributes:
        message, element: where it is.
        owns: its own hashes, in the order of the kinds, 0 if unknown.
        suspicious: whether its key has an alert or is a member of a campaign.
    """

    message: bytes
    element: int
    key: str
    ts: float
    owns: list[int]
    suspicious: bool


class SharedHashes:
    """Makes shared hashes from the requests that the engine has observed.

    Args:
        settings: of the deployment.
        salt: agreed between the partners.
        metrics: counts hashes, and requests without room.
    """

    def __init__(self, settings: Settings, salt: Salt, metrics: Metrics | None = None) -> None:
        self._settings, self._salt = settings, salt
        self._store = IndicatorStore(settings.redis_url, salt=salt.id)
        self._indicators = KnownIndicators(self._store)
        self._states = RedisStore(settings.redis_url, settings.record_seconds)
        self._decode = Decoder.of(settings).decode
        self._metrics = metrics or Metrics()
        self._seen = np.zeros((len(_KINDS), _SLOTS), np.uint64)
        self._forget = threading.Event()  # what was seen has to be hashed again
        self._queue: Queue[_Request | None] = Queue(_WAITING)
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # for the line above
        self._imported: frozenset[tuple[Kind, str]] = frozenset()
        self._members: frozenset[str] = frozenset()
        self._templates = False  # whether an imported indicator is one
        self._refreshed_at, self._day = -math.inf, 0
        self._today = 0  # pairs that were new to Redis on this day
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="shared hashes", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Hash what is waiting, and end; returns after some seconds at the latest."""
        try:
            self._queue.put(None, timeout=seconds)
        except Full:
            return
        self._thread.join(seconds)

    # In the engine's thread

    def __call__(self, observed: Observed) -> None:
        """Queue the requests of a batch that are new or suspicious."""
        events = observed.out.fingerprinted
        if not events:
            return
        if self._forget.is_set():
            self._forget.clear()
            self._seen[:] = 0
        columns = observed.columns
        which = np.array(events, np.int64)
        owns = columns.hashes[which][:, _COLUMNS]
        slots = (owns % np.uint64(_SLOTS)).astype(np.int64)
        kinds = np.arange(len(_KINDS))
        new = ((owns != 0) & (self._seen[kinds, slots] != owns)).any(axis=1)
        suspicious = [
            each.value[_SEVERITY] > 0 or each.key in self._members
            for each in observed.out.fingerprints
        ]
        wanted = np.flatnonzero(new | np.array(suspicious) | self._templates)
        if len(wanted) > _PER_BATCH:
            self._metrics.unshared.inc(len(wanted) - _PER_BATCH)
            wanted = np.random.default_rng().choice(wanted, _PER_BATCH, replace=False)
        messages: dict[int, bytes] = {}
        for i in wanted.tolist():
            event = events[i]
            source = int(columns.sources[event])
            if source not in messages:
                messages[source] = observed.messages[source] or b""
            request = _Request(
                messages[source],
                int(columns.elements[event]),
                observed.out.fingerprints[i].key,
                float(columns.ts[event]),
                owns[i].tolist(),
                suspicious[i],
            )
            if self._put(request):
                self._seen[kinds, slots[i]] = owns[i]
            else:
                self._metrics.unshared.inc()

    def _put(self, request: _Request) -> bool:
        size = len(request.message)
        with self._lock:
            if self._waiting_bytes + size > _BYTES:
                return False
            self._waiting_bytes += size
        try:
            self._queue.put_nowait(request)
        except Full:
            self._release([request])
            return False
        return True

    def _release(self, requests: Iterable[_Request]) -> None:
        with self._lock:
            self._waiting_bytes -= sum(len(each.message) for each in requests)

    # In a thread of its own

    def _run(self) -> None:
        self._try([])
        more = True
        while more:
            requests, more = self._take()
            self._try(requests)
            self._release(requests)

    def _try(self, requests: Sequence[_Request]) -> None:
        """Hash requests. After a failure all hashes are made again; the thread goes on."""
        try:
            self._refresh()
            self._hash(requests)
        except Exception as error:  # whatever a request holds
            self._forget.set()
            if not self._failing:
                log.warning("sharing_failed reason=%r", f"{type(error).__name__}: {error}")
            self._failing = True
        else:
            if self._failing:
                log.info("sharing_back")
            self._failing = False

    def _take(self) -> tuple[list[_Request], bool]:
        """The next requests, after a second at the latest, and whether there may be more."""
        requests: list[_Request] = []
        try:
            while len(requests) < _TOGETHER:
                request = self._queue.get(timeout=0.0 if requests else 1.0)
                if request is None:
                    return requests, False
                requests.append(request)
        except Empty:
            pass
        return requests, True

    def _refresh(self) -> None:
        """Read the indicators and the members of campaigns, if it is time."""
        if time.monotonic() - self._refreshed_at < _REFRESH_SECONDS:
            return
        now = time.time()
        indicators = self._indicators.read(now)
        imported = frozenset((e.kind, e.value) for e in indicators if e.salt == self._salt.id)
        if imported - self._imported or int(now // _DAY) != self._day:
            self._forget.set()
            self._today *= int(now // _DAY) == self._day
        self._imported, self._day = imported, int(now // _DAY)
        self._templates = any(kind == "template" for kind, _ in imported)
        self._members = frozenset(
            key
            for partition in link_partitions(self._states, self._settings)
            for campaign in partition.rounds.campaigns
            if campaign.opened
            for key in campaign.named
        )
        self._refreshed_at = time.monotonic()

    def _hash(self, requests: Sequence[_Request]) -> None:
        """Hash requests, and write the hashes to Redis."""
        pairs = [(each, event) for each in requests if (event := self._event(each)) is not None]
        if not pairs:
            return
        if self._today >= _MOST_A_DAY:
            self._metrics.unshared.inc(len(pairs))
            return
        now, salt = time.time(), self._salt
        made: dict[Kind, Callable[[RequestEvent], str]] = {
            "network": lambda event: salt.network(event.ip),
            "tls": lambda event: salt.tls(event.tls_fingerprint),
            "system": lambda event: salt.system(event.system),
        }
        shared: dict[tuple[Kind, int], str] = {}
        for request, event in pairs:
            for kind, own in zip(_KINDS, request.owns, strict=True):
                if own and (value := made[kind](event)):
                    shared[kind, own] = value
        self._today += self._store.remember(shared, now)
        found = {
            (kind, value): own
            for (kind, own), value in shared.items()
            if (kind, value) in self._imported
        }
        self._store.add_found(found, now)
        self._hash_templates([each for each in pairs if self._templates or each[0].suspicious])
        self._metrics.shared_hashes.inc(len(shared))

    def _hash_templates(self, pairs: Sequence[tuple[_Request, RequestEvent]]) -> None:
        values = self._salt.templates([event.prompt for _, event in pairs]) if pairs else []
        by_key = defaultdict[str, dict[str, float]](dict)
        by_value = defaultdict[str, dict[str, float]](dict)
        for (request, _), value in zip(pairs, values, strict=True):
            if value and request.suspicious:
                by_key[request.key][value] = request.ts
            if ("template", value) in self._imported:
                by_value[value][request.key] = request.ts
        self._store.add_templates(by_key)
        self._store.add_keys(by_value, time.time())

    def _event(self, request: _Request) -> RequestEvent | None:
        decoded = self._decode([request.message], math.inf)
        places = zip(decoded.elements, decoded.events, strict=True)
        return next((event for at, event in places if at == request.element), None)

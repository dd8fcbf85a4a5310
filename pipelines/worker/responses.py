"""Sketches the responses to flagged keys, from the stream of requests.

Flagged are the members of open campaigns, keys with an open alert, and keys that a person has
decided on. While a batch names none of them, this costs one look at its keys. Otherwise the
operator's thread sets a few of their messages aside, and as many of other keys to compare with. A
thread of its own reads them: at most 128 per second, a sample if there are more. No text is kept.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from monitor.batch import Observed
from monitor.config import Settings
from monitor.errors import MonitorError, StoreError
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.requests.decoder import Decoder
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from monitor.tracing.responses.sketch import Sketch, Sketcher
from monitor.tracing.responses.store import OTHERS, ResponseStore

_MOST = 128  # responses set aside at a time, half of them to compare with
_MOST_BYTES = 8 << 20  # of the messages that hold them
_SECONDS = 1.0  # between two writes
_FLAGGED_SECONDS = 30.0  # between two looks at what is flagged
_MOST_FLAGGED = 50_000  # keys
_DECIDED_DAYS = 30.0  # how far back decisions of people are looked for


class _Aside(NamedTuple):
    """A message that was set aside, and whose responses its elements hold, by their index."""

    value: bytes
    subjects: dict[int, str]


class ResponsesSeen:
    """Sketches responses. `__call__` is for the operator's thread, `write` for another one.

    Args:
        settings: the format, and where Redis is.
        identity: has the secret of the sketches.
        metrics: count the sketches; default: metrics in a private registry.
    """

    def __init__(
        self, settings: Settings, identity: Identity, metrics: Metrics | None = None
    ) -> None:
        self._metrics = metrics or Metrics()
        self._decoder = Decoder.of(settings)
        self._sketcher = Sketcher(identity.derive("responses"))
        self._store = ResponseStore(settings.redis_url)
        self._alerts = AlertBook(settings.redis_url)
        self._people = ControlStore(settings.redis_url)
        self._flagged: dict[str, str] = {}
        self._aside: list[_Aside] = []
        self._count = self._bytes = 0
        self._decided: dict[str, float] = {}
        self._audited = time.time() - _DECIDED_DAYS * 86_400.0
        self._random = random.Random(0)

    def __call__(self, seen: Observed) -> None:
        """Set aside some messages of a batch that flagged keys sent, and some of others."""
        flagged, keys = self._flagged, seen.columns.keys
        room = (_MOST - self._count) // 2
        if not flagged or room <= 0 or flagged.keys().isdisjoint(keys):
            return
        theirs = [i for i, key in enumerate(keys) if key in flagged]
        others = [
            i
            for i in self._random.sample(range(len(keys)), min(len(keys), 4 * room))
            if keys[i] not in flagged
        ]
        chosen = self._random.sample(theirs, min(len(theirs), room))
        chosen += others[: len(chosen)]
        by_message: dict[int, dict[int, str]] = defaultdict(dict)
        for i in chosen:
            element = int(seen.columns.elements[i])
            by_message[int(seen.columns.sources[i])][element] = flagged.get(keys[i], OTHERS)
        for source, subjects in by_message.items():
            value = seen.messages[source] or b""
            if self._bytes + len(value) <= _MOST_BYTES:
                self._aside.append(_Aside(value, subjects))
                self._bytes += len(value)
                self._count += len(subjects)

    def write(self, now: float) -> None:
        """Sketch what was set aside, and write it to Redis.

        Raises:
            StoreError: the sketches are lost. They are a sample: nothing depends on all of them.
        """
        aside, self._aside = self._aside, []
        self._count = self._bytes = 0
        sketches: dict[str, list[Sketch]] = defaultdict(list)
        for each in aside:
            for subject, text in self._texts(each):
                if (sketch := self._sketcher.sketch(text)) is not None:
                    sketches[subject].append(sketch)
        if sketches:
            self._store.add(sketches, now)
            self._metrics.responses.inc(sum(map(len, sketches.values())))

    def look(self, now: float) -> None:
        """Read from Redis which keys are flagged.

        Raises:
            StoreError: what was read before stays.
        """
        found: dict[str, str] = {}
        for change in self._people.audit(self._audited):
            if change.what in ("decide", "delete") and change.subject.startswith("k_"):
                after = change.after if isinstance(change.after, dict) else {}
                self._decided[change.subject] = float(after.get("expires_at", 0.0))
            self._audited = max(self._audited, change.at)
        self._decided = {key: until for key, until in self._decided.items() if until > now}
        found.update((key, key) for key in self._decided)
        for entry in self._alerts.entries():
            subject = entry.alert.subject
            if not entry.is_open or len(found) >= _MOST_FLAGGED:
                continue
            if subject.type == "campaign":
                found.update(dict.fromkeys(subject.members, subject.id))
            else:
                for key in subject.members or [subject.id]:
                    found.setdefault(key, key)
        self._flagged = found

    async def run(self, app: Any) -> None:
        """Look and write until the app stops."""
        due = 0.0
        while not app.should_stop:
            try:
                if time.monotonic() >= due:
                    due = time.monotonic() + _FLAGGED_SECONDS
                    await asyncio.to_thread(self.look, time.time())
                await asyncio.to_thread(self.write, time.time())
            except StoreError:  # checkpoints report it
                pass
            await app.sleep(_SECONDS)

    def _texts(self, aside: _Aside) -> Iterator[tuple[str, str]]:
        try:
            texts = self._decoder.responses(aside.value)
        except MonitorError:  # its schema cannot be fetched now
            return
        for element, subject in aside.subjects.items():
            if element < len(texts) and texts[element]:
                yield subject, texts[element]

"""A deployment without Kafka: engine, linker and sharing, with their state in Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monitor.batch import Batch
from monitor.campaigns.campaign import Campaign
from monitor.config import Settings
from monitor.config.sharing import Sharing
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.linker import Linker
from monitor.operator import StreamOperator
from monitor.sharing.salt import salt_of
from monitor.store.redis import RedisStore
from pipelines.sharing.live.hashes import SharedHashes
from pipelines.sharing.live.imports import ImportReader

_BATCH = 2_000  # requests between checkpoints
_REQUESTS = "llm.requests:0"


class Deployment:
    """Observes requests as the roles `watch` and `link` do.

    Args:
        url: of its own Redis database.
        salt: file of the sharing salt.
        name: of the organisation; its secret follows from it.
    """

    def __init__(self, url: str, salt: Path, name: str) -> None:
        self.settings = Settings(
            redis_url=url,
            identity_secret=f"known to {name} only",  # type: ignore[arg-type]
            sharing=Sharing(salt_file=salt, name=name),
        )
        found = salt_of(self.settings)
        assert found is not None
        self._store = RedisStore(url, 86_400.0)
        self._hashes = SharedHashes(self.settings, found)
        self._engine = Engine(
            self.settings, from_settings(self.settings), self._store, on_requests=self._hashes
        )
        self.linker = Linker(self.settings, self._store)
        self._fingerprints = f"{self.settings.topics.fingerprints}:0"

    def observe(self, events: Iterable[dict[str, Any]]) -> None:
        """Observe requests, and write checkpoints."""
        values = [json.dumps(event).encode() for event in events]
        self._engine.assign(_REQUESTS)
        partition = self.linker.assign(self._fingerprints)
        self._hashes.start()
        for at in range(0, len(values), _BATCH):
            part = values[at : at + _BATCH]
            out = self._engine.observe(Batch(_REQUESTS, range(at, at + len(part)), part))
            self._wait()
            self.linker.use_imports(ImportReader(self.settings).read())
            prints = [each.value for each in out.fingerprints]
            offsets = range(partition.offset, partition.offset + len(prints))
            self.linker.observe(Batch(self._fingerprints, offsets, prints))
            for operator in (self._engine, self.linker):
                self._checkpoint(operator)
        self._hashes.close(60.0)

    def campaigns(self) -> list[Campaign]:
        """Those that are open."""
        known = self.linker.partitions[self._fingerprints].rounds.campaigns
        return [each for each in known if each.opened]

    def _wait(self) -> None:
        """Wait until all hashes are in Redis."""
        deadline = time.monotonic() + 60.0
        while self._hashes._waiting_bytes and time.monotonic() < deadline:
            time.sleep(0.005)

    def _checkpoint(self, operator: StreamOperator) -> None:
        checkpoint = operator.snapshot()
        self._store.commit(checkpoint)
        operator.commit(checkpoint)
        operator.published(checkpoint)

"""Decisions that a test puts into force."""

from __future__ import annotations

import time
from typing import Any

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Decision
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore

SECRET = "known to this test only"


class Decide:
    """Puts a detector's decision on a key into force, for ten minutes."""

    def __init__(self, redis_url: str) -> None:
        self._store, self._identity = RedisStore(redis_url, 100), Identity(SECRET.encode())

    def __call__(self, key: str, action: Action, **more: Any) -> None:
        decision = Decision(self._identity.key(key), action, "a_1", time.time(), 600.0, **more)
        self._store.commit(Checkpoint(decisions=[decision]))

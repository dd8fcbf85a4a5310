"""A worker with a sharing salt hashes identifiers, and its linker reads imports."""

from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path

from monitor.identity import from_settings
from monitor.requests.columns import hash_keys, hash_texts
from monitor.sharing.indicator import Indicator
from monitor.sharing.salt import Salt
from monitor.store.indicators import IndicatorStore
from monitor.store.redis import RedisStore
from pipelines.inspect.campaigns import link_partitions
from tests.support import traffic
from tests.support.programs import Worker
from tests.support.workers import until

SALT = Salt(b"agreed between partners")
HOUR, DAY = 3_600.0, 86_400.0


def requests(begin: float) -> list[bytes]:
    """Five minutes of keys on one network; each has enough requests for a fingerprint."""
    events = [
        {
            "ts": begin + 20.0 * i + n,
            "api_key": f"sk-{n}",
            "prompt": f"What about topic {n} {begin + i}?",
            "ip": f"198.51.100.{n + 1}",
        }
        for i in range(15)
        for n in range(5)
    ]
    return [json.dumps(event).encode() for event in events]


def test_worker_finds_imports_in_requests_and_the_linker_uses_them(
    kafka: str, redis_url: str, tmp_path: Path
) -> None:
    salt = tmp_path / "salt"
    salt.write_text("agreed between partners")
    store, now = IndicatorStore(redis_url, salt=SALT.id), time.time()
    imported = Indicator(
        *("indicator--1", "network", SALT.network("198.51.100.1"), SALT.id, "identity--p"),
        *(80, "green", "C7", now - DAY, now + DAY),
    )
    store.put([imported], now)
    chosen = {"XM_SHARING__SALT_FILE": str(salt)}
    with Worker(tmp_path / "worker", kafka, redis_url, **chosen) as worker:
        keys = hash_keys(from_settings(worker.settings))
        own = int(hash_texts(["198.51.100"], "network", keys)[0])
        ahead = count(now - 12 * HOUR, 300.0)  # of the link role, which reads imports at times

        def sent() -> bool:
            traffic.send(worker.settings.kafka, worker.requests, requests(next(ahead)))
            time.sleep(0.5)
            return True

        until(lambda: sent() and store.found([imported], time.time()) != [])
        assert [each.own for each in store.found([imported], time.time())] == [own]
        assert store.shared_of("network", [own], time.time()) == {own: imported.value}
        states = RedisStore(redis_url, 100)

        def used() -> set[int]:
            partitions = link_partitions(states, worker.settings)
            return {each.own for partition in partitions for each in partition.rounds.imports}

        until(lambda: sent() and used() == {own})

"""Cost of sharing: CPU of the engine without and with a salt, and memory of Redis.

    python -m tests.benchmarks.speed.sharing --redis URL [--traffic FILE]

The engine's thread only chooses requests; their hashes are made in a thread of its own, so both are
given. The requests are those of `engine.py`, but every key has a network, a TLS fingerprint and a
system prompt that no other key has. With templates of partners, all requests that lead to a
fingerprint are read for theirs.
"""

from __future__ import annotations

import time
import zlib
from statistics import median
from typing import NamedTuple

import msgspec
import redis

from monitor.batch import Batch, Observed
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.sharing.indicator import Indicator
from monitor.sharing.salt import Salt
from monitor.store.indicators import IndicatorStore
from monitor.store.memory import MemoryStore
from pipelines.sharing.live.hashes import SharedHashes
from tests.benchmarks.speed.measure import emptied, parser, print_machine, print_table
from tests.benchmarks.speed.stream import requests_of

_BATCH, _PAIRS = 4_000, 500_000
_SALT = Salt(b"agreed for this benchmark")


class _Cost(NamedTuple):
    """Microseconds of CPU per event: of the engine's thread, of all threads."""

    engine: float
    all: float


def _with_own_identifiers(value: bytes) -> bytes:
    request = msgspec.json.decode(value)
    key = request["api_key"]
    number = zlib.crc32(key.encode())
    request["ip"] = f"{20 + (number >> 16) % 60}.{number >> 8 & 255}.{number & 255}.7"
    request["tls_fingerprint"] = f"t13d1516h2_{number:012x}"
    request["system"] = f"Answer for customer {number} in the language of the question."
    return msgspec.json.encode(request)


def _observe(values: list[bytes], url: str, *, share: bool) -> _Cost:
    settings = Settings(identity_secret="known to this benchmark only", redis_url=url)
    shared = SharedHashes(settings, _SALT)

    def queue(observed: Observed) -> None:
        shared(observed)

    engine = Engine(
        settings, from_settings(settings), MemoryStore(), on_requests=queue if share else None
    )
    engine.assign("t:0")
    shared.start()
    thread, process = time.thread_time(), time.process_time()
    for at in range(0, len(values), _BATCH):
        part = values[at : at + _BATCH]
        engine.observe(Batch("t:0", range(at, at + len(part)), part))
    thread = time.thread_time() - thread
    shared.close(60.0)
    process = time.process_time() - process
    return _Cost(1e6 * thread / len(values), 1e6 * process / len(values))


def _bytes_per_pair(url: str) -> float:
    """Bytes that Redis takes for an own hash and its shared hash, of half a million."""
    store = IndicatorStore(url, 60.0)
    with redis.from_url(url) as client:
        before = client.info("memory")["used_memory"]
        step = (1 << 64) // _PAIRS
        for begin in range(0, _PAIRS, 10_000):
            pairs = {
                ("network", step * (begin + i) + 1): f"{begin + i:032x}" for i in range(10_000)
            }
            store.remember(pairs, time.time())  # type: ignore[arg-type]
        return float((client.info("memory")["used_memory"] - before) / _PAIRS)


def _import_templates(url: str) -> None:
    now = time.time()
    IndicatorStore(url).put(
        [
            Indicator(
                *(f"indicator--{i}", "template", f"{i:032x}", _SALT.id, "identity--p", 80),
                *("green", "C7", now - 1.0, now + 86_400.0),
            )
            for i in range(1000)
        ],
        now,
    )


def main() -> None:
    options = parser(__doc__ or "", "redis")
    options.add_argument("--traffic", help="requests, one per line; simulated by default")
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--keys", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    stream = requests_of(chosen.traffic, chosen.keys, False, chosen.events)
    values = [_with_own_identifiers(each.value) for batch in stream for each in batch]
    rows, costs = [], dict[str, list[_Cost]]()
    for _ in range(chosen.rounds):
        for name in ("off", "on", "on, with templates of partners"):
            emptied(chosen.redis).close()
            if "templates" in name:
                _import_templates(chosen.redis)
            costs.setdefault(name, []).append(_observe(values, chosen.redis, share=name != "off"))
    for name, found in costs.items():
        engine = median(each.engine for each in found)
        all_ = median(each.all for each in found)
        rows.append([name, f"{engine:.2f}", f"{all_:.2f}"])
    print_machine(chosen.redis)
    print_table(["sharing", "engine, µs of CPU per event", "all threads"], rows)
    emptied(chosen.redis).close()
    print(f"{_bytes_per_pair(chosen.redis):.0f} bytes of Redis per identifier")


if __name__ == "__main__":
    main()

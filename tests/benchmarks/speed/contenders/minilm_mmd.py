"""The published method (arXiv 2606.05725): exact MMD of MiniLM's embeddings, per key.

The encoder is `quality/minilm.py` on the CPU, the kernel Gaussian with the median bandwidth. The
public is 1,500 random vectors: its size determines the speed, not its content. The last 100 prompts
of a key are its window, evaluated after every 25. Windows are in memory, and msgspec decodes the
JSON.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer

from tests.benchmarks.quality.minilm import Array, Encoder
from tests.benchmarks.speed.contenders.meter import Meter

_REFERENCE, _WINDOW, _EVERY = 1_500, 100, 25  # prompts
_FETCHED = 512  # messages


class _Request(msgspec.Struct):
    api_key: str
    prompt: str | None = None


def run(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    asyncio.run(_read(kafka, topic, meter))


async def _read(kafka: str, topic: str, meter: Meter) -> None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    decoder, encode = msgspec.json.Decoder(_Request), Encoder()
    reference = np.random.default_rng(1).normal(size=(_REFERENCE, 384)).astype(np.float32)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    scale = _scale(reference)
    windows: dict[str, deque[Array]] = defaultdict(lambda: deque(maxlen=_WINDOW))
    counts: dict[str, int] = defaultdict(int)
    while True:
        fetched = await consumer.getmany(timeout_ms=1_000, max_records=_FETCHED)
        values = [record.value for records in fetched.values() for record in records]
        for part in _parts([decoder.decode(value) for value in values]):
            vectors = encode([request.prompt or "" for request in part])
            for request, vector in zip(part, vectors, strict=True):
                key = request.api_key
                windows[key].append(vector)
                counts[key] += 1
                if counts[key] % _EVERY == 0:
                    _discrepancy(np.stack(windows[key]), reference, scale)
            meter.add(len(part))


def _parts(requests: list[_Request]) -> Iterator[list[_Request]]:
    """In batches as the encoder computes them."""
    for begin in range(0, len(requests), 32):
        yield requests[begin : begin + 32]


def _scale(reference: Array) -> np.float32:
    """2 / bandwidth, the median squared distance between prompts of the reference."""
    distances = 2 - 2 * (reference @ reference.T)
    return np.float32(2 / np.median(distances[np.triu_indices(len(reference), 1)]))


def _discrepancy(window: Array, reference: Array, scale: np.float32) -> float:
    """The unbiased MMD², without the constant term of the reference."""
    n = len(window)
    within = float(np.exp((window @ window.T - 1) * scale).sum()) - n
    return within / (n * (n - 1)) - 2 * float(np.exp((window @ reference.T - 1) * scale).mean())

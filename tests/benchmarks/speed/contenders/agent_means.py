"""What a gateway team writes by hand: a Faust agent with embeddings and a mean per key in Redis.

Faust's codec decodes the JSON. Up to 256 events are taken at a time. wordllama embeds their prompts
(256 dimensions); the count and the sum of the vectors of each key are read from Redis, updated and
written, one pipeline each. A key is flagged if the mean of its prompts is far from all prompts'.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

import faust
import numpy as np
import numpy.typing as npt
import redis.asyncio
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from monitor.prompts import word_vectors
from tests.benchmarks.speed.contenders.meter import Meter

_BATCH_SIZE, _WAIT = 256, 0.1  # events, seconds
_FAR = 0.5  # cosine distance

Vectors = npt.NDArray[np.float32]


def run(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    asyncio.run(_read(kafka, topic, redis_url, meter))


async def _read(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    app = faust.App(
        f"means-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{kafka}",
        web_enabled=False,
        value_serializer="json",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        topic_disable_leader=True,
        stream_wait_empty=False,
    )
    client, model = redis.asyncio.from_url(redis_url), _model()
    everyone = np.zeros(256, np.float32)

    @app.agent(app.topic(topic))  # type: ignore[untyped-decorator]
    async def keep_means(stream: Any) -> None:
        async for events in stream.take(_BATCH_SIZE, within=_WAIT):
            vectors = model.embed([event.get("prompt") or "" for event in events], norm=True)
            everyone[:] += vectors.sum(axis=0)
            sums: dict[str, Vectors] = {}  # 256 of them and the count, by key
            for event, vector in zip(events, vectors, strict=True):
                row = np.append(vector, np.float32(1))
                sums[event["api_key"]] = sums.get(event["api_key"], 0) + row
            names = [f"mean:{key}" for key in sums]
            before = await client.mget(names)
            async with client.pipeline(transaction=False) as pipe:
                for name, row, old in zip(names, sums.values(), before, strict=True):
                    total = row if old is None else row + np.frombuffer(old, np.float32)
                    pipe.set(name, total.tobytes(), ex=86_400)
                    if total[-1] >= 16 and _distance(total[:-1], everyone) > _FAR:
                        pipe.sadd("flagged", name)
                await pipe.execute()
            meter.add(len(events))

    app.finalize()
    await app.start()
    await asyncio.Event().wait()


def _model() -> Any:
    """wordllama's own inference, from the weights in its package."""
    logging.disable()  # importing the library configures logging
    from wordllama.inference import WordLlamaInference

    home = word_vectors.folder()
    (matrix,) = load_file(home / word_vectors.WEIGHTS).values()
    return WordLlamaInference(matrix, Tokenizer.from_file(str(home / word_vectors.TOKENIZER)))


def _distance(one: Vectors, other: Vectors) -> float:
    return 1 - float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9))

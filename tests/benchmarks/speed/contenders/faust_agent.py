"""A stock Faust agent that keeps counts in Redis, the usual way to write it.

Faust's codec decodes the JSON. Each event is one pipelined update with redis.asyncio: requests by
key and minute, their expiry, and distinct prompts by key. Several events are processed at a time;
one at a time would mostly wait for Redis.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import faust
import redis.asyncio

from tests.benchmarks.speed.contenders.meter import Meter

_CONCURRENCY = 4  # more gains nothing


def run(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    asyncio.run(_read(kafka, topic, redis_url, meter))


async def _read(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    app = faust.App(
        f"stock-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{kafka}",
        web_enabled=False,
        value_serializer="json",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        topic_disable_leader=True,
        stream_wait_empty=False,
    )
    client = redis.asyncio.from_url(redis_url)

    @app.agent(app.topic(topic), concurrency=_CONCURRENCY)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        async for event in stream:
            key = event["api_key"]
            requests = f"requests:{key}:{event['ts'] // 60:.0f}"
            async with client.pipeline(transaction=False) as pipe:
                pipe.incr(requests)
                pipe.expire(requests, 3600)
                pipe.pfadd(f"prompts:{key}", event.get("prompt") or "")
                await pipe.execute()
            meter.add()

    app.finalize()
    await app.start()
    await asyncio.Event().wait()

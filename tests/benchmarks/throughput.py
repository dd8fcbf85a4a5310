"""Events a second from Kafka: this worker beside a stock Faust agent and the bare client.

    python -m tests.benchmarks.throughput --kafka HOST:PORT --redis URL [--traffic FILE]

One topic is filled once; each contender then reads it from the beginning in a process of its own,
one after the other, in rounds:

    stock      a Faust agent on the stock transport that only counts
    aiokafka   aiokafka's getmany, doing nothing with what it gets
    worker     `xm worker` end to end: decoded, judged, in Redis, the offset written

A contender is timed from its first event on, for a bounded time or to the end of the topic; the
worker's end is the moment at which Redis has all of it. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import redis
from aiokafka import AIOKafkaConsumer

from monitor.config import Settings
from pipelines import topics
from pipelines.embedded import die_with_parent, free_port
from pipelines.files import LineFile
from pipelines.producer import Heads, Message, send
from pipelines.simulate import Scenario, Simulation, messages

_LOOK = 0.25  # seconds between looks at the worker's metrics, which cost it 5 ms each
_SECONDS = 12.0  # that a contender is measured for at the most


def main() -> None:
    arguments = _arguments()
    if arguments.contender:
        asyncio.run(_contend(arguments.contender, arguments.kafka, arguments.topic))
        return
    settings = Settings(
        kafka=arguments.kafka,
        redis_url=arguments.redis,
        topics={
            "requests": f"bench-{uuid.uuid4().hex[:8]}",
            "rejected": f"rejected-{uuid.uuid4().hex[:8]}",
            "alerts": f"alerts-{uuid.uuid4().hex[:8]}",
            "partitions": arguments.partitions,
        },
    )
    topics.create(settings)
    batches = _traffic(arguments.traffic, arguments.events)
    sent = asyncio.run(send(batches, arguments.kafka, settings.topics.requests))
    rounds = []
    for _ in range(arguments.rounds):
        rates = {
            "stock": _child("stock", settings),
            "aiokafka": _child("aiokafka", settings),
            "worker": _worker(settings, sent.acknowledged),
        }
        print("  ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items()), flush=True)
        rounds.append(rates)
    _show(rounds, sent.acknowledged, arguments.partitions)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--kafka", default=os.environ.get("XM_TEST_KAFKA"), help="host:port")
    parser.add_argument("--redis", default=os.environ.get("XM_TEST_REDIS"), help="its url")
    parser.add_argument("--traffic", help="requests, one a line; default: simulated ones")
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.kafka or not (arguments.redis or arguments.contender):
        parser.error("name both servers: --kafka HOST:PORT --redis redis://HOST:PORT/0")
    return arguments


class _Plain(argparse.RawDescriptionHelpFormatter):
    pass


def _traffic(path: str | None, events: int) -> Iterator[list[Message]]:
    """Messages to fill the topic with, in batches: a file's, or simulated ones."""
    found: Iterator[Message]
    if path is None:
        found = chain.from_iterable(messages(Simulation(Scenario(keys=2_000)).events()))
    else:
        found = chain.from_iterable(Heads().messages(x) for x in LineFile(path).batches())
    limited = islice(found, events)
    while batch := list(islice(limited, 2_000)):
        yield batch


def _child(contender: str, settings: Settings) -> float:
    """Events a second of a contender in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.throughput", "--contender", contender]
    command += ["--kafka", settings.kafka, "--topic", settings.topics.requests]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, timeout=120, preexec_fn=die_with_parent()
    )
    count, seconds = json.loads(done.stdout.splitlines()[-1])
    return float(count / seconds)


async def _contend(contender: str, kafka: str, topic: str) -> None:
    count, seconds = await {"stock": _stock, "aiokafka": _aiokafka}[contender](kafka, topic)
    print(json.dumps([count, seconds]), flush=True)
    os._exit(0)  # nothing of a contender's way out is measured or wanted


async def _aiokafka(kafka: str, topic: str) -> tuple[int, float]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    count, begun, last = 0, 0.0, 0.0
    while not begun or time.perf_counter() - begun < _SECONDS:
        got = await consumer.getmany(timeout_ms=1_000)
        if begun and not got:
            break
        begun = begun or time.perf_counter()
        count += sum(map(len, got.values()))
        last = time.perf_counter()
    return count, last - begun


async def _stock(kafka: str, topic: str) -> tuple[int, float]:
    import faust

    app = faust.App(
        f"stock-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{kafka}",
        web_enabled=False,
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        topic_disable_leader=True,
        stream_wait_empty=False,
    )
    count, begun = 0, 0.0
    done = asyncio.Event()

    @app.agent(app.topic(topic))
    async def watch(stream: Any) -> None:
        nonlocal count, begun
        async for _ in stream:
            begun = begun or time.perf_counter()
            count += 1
            if count % 100 == 0 and time.perf_counter() - begun > _SECONDS:
                done.set()

    app.finalize()
    await app.start()
    await asyncio.wait_for(done.wait(), 90)
    return count, time.perf_counter() - begun


def _worker(settings: Settings, messages_sent: int) -> float:
    """Events a second of this worker, from the first observed to the last one in Redis."""
    group, port = f"bench-{uuid.uuid4().hex[:8]}", free_port()
    chosen = settings.topics
    environment = os.environ | {
        "XM_KAFKA": settings.kafka,
        "XM_REDIS_URL": settings.redis_url,
        "XM_GROUP": group,
        "XM_IDENTITY_SECRET": "known to this benchmark only",
        "XM_WEB_PORT": str(port),
        "XM_TOPICS__REQUESTS": chosen.requests,
        "XM_TOPICS__REJECTED": chosen.rejected,
        "XM_TOPICS__ALERTS": chosen.alerts,
    }
    with redis.from_url(settings.redis_url) as client, tempfile.TemporaryFile() as log:
        client.flushdb()
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", "worker"],
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),
        )
        try:
            return _watch(port, messages_sent)
        finally:
            process.terminate()
            process.wait(20)


def _watch(port: int, messages_sent: int) -> float:
    deadline, begun, before = time.perf_counter() + 90, 0.0, 0.0
    while time.perf_counter() < deadline:
        time.sleep(_LOOK)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                numbers = _numbers(page.read().decode())
        except OSError:
            continue
        now, count = time.perf_counter(), numbers.get("xm_events_total", 0.0)
        if not begun and count:
            begun, before = now, count
        stored = count + numbers["xm_rejections_total"] >= messages_sent and not numbers["xm_lag"]
        if begun and (stored or now - begun > _SECONDS):
            return (count - before) / (now - begun)
    raise SystemExit("The worker did not read the topic: see its log.")


def _numbers(page: str) -> dict[str, float]:
    """The worker's metrics, summed over their labels."""
    numbers: dict[str, float] = {"xm_rejections_total": 0.0, "xm_lag": 0.0}
    for line in page.splitlines():
        if line.startswith("xm_"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            numbers[name] = numbers.get(name, 0.0) + float(value)
    return numbers


def _show(rounds: list[dict[str, float]], events: int, partitions: int) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{time.strftime('%Y-%m-%d')}, {machine}; {events:,} events, {partitions} partitions")
    print("\n| contender | events/s, median | of stock | of aiokafka |\n|---|---|---|---|")
    for name in rounds[0]:
        rate = statistics.median(each[name] for each in rounds)
        of = [
            statistics.median(r[name] / r[other] for r in rounds) for other in ("stock", "aiokafka")
        ]
        print(f"| {name} | {rate:,.0f} | {of[0]:.1f} | {of[1]:.2f} |")


if __name__ == "__main__":
    main()

"""Latency that gateways in Python add with ours: FastAPI with the middleware, LiteLLM's callback.

    python -m tests.benchmarks.speed.gateway_latency [--litellm PROGRAM] [--requests 2000]

Each gateway runs twice before the same model server, once with ours and once without. Requests
alternate between the two, so that the load of the machine is the same for both. They come one after
the other, from 50 keys that the gateway knows already. With ours, each request is sent to Kafka as
an event, and a worker and a decision service run beside it.

What a request waits for is the check of its key, and nothing else; its time is printed, too. Events
are sent after the response, so they cost only CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from monitor.config import Gateway
from pipelines.demo import embedded
from pipelines.gateways.client.client import DecisionClient
from pipelines.gateways.client.metrics import ClientMetrics
from tests.benchmarks.speed.measure import cpu_seconds, default_worker, print_machine, print_table
from tests.support.apps import until
from tests.support.gateways import ModelServer, chat, serving
from tests.support.programs import DecisionService, Worker
from tests.support.python_gateways import Asgi, LiteLLM, PythonGateway
from tests.support.sweep import bearer

_KEYS = 50
_CHECKS = 20_000
_WARM_UP = 200  # requests to each


class Latencies:
    """Milliseconds of a gateway's requests, one after the other.

    Attributes:
        cpu: of the gateway's process, per request. Other load of the machine hardly changes it.
    """

    def __init__(self, gateway: PythonGateway) -> None:
        self._gateway = gateway
        self._all: list[float] = []
        self._used = 0.0
        self.cpu = 0.0

    def begin(self) -> None:
        """Measure from now on."""
        self._all.clear()
        self._used = self._cpu_seconds()

    def end(self) -> None:
        """Measure no longer."""
        self.cpu = 1000 * (self._cpu_seconds() - self._used) / len(self._all)

    def add(self, milliseconds: float) -> None:
        self._all.append(milliseconds)

    def quantile(self, share: float) -> float:
        return _quantile(self._all, share)

    def __str__(self) -> str:
        return " / ".join(f"{self.quantile(share):.2f}" for share in (0.5, 0.99))

    def _cpu_seconds(self) -> float:
        assert self._gateway.process is not None
        return cpu_seconds(self._gateway.process.pid)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    litellm = os.environ.get("XM_TEST_LITELLM") or shutil.which("litellm")
    options.add_argument("--litellm", default=litellm, help="program of an environment of its own")
    options.add_argument("--requests", type=int, default=2_000)
    chosen = options.parse_args()
    kinds: dict[str, type[PythonGateway]] = {"FastAPI": Asgi}
    if chosen.litellm:
        os.environ["XM_TEST_LITELLM"] = chosen.litellm
        kinds["LiteLLM"] = LiteLLM
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="xm-gateways-") as folder,
        embedded.broker() as kafka,
        embedded.store() as redis_url,
        default_worker(Path(folder, "worker"), kafka, redis_url) as worker,
        DecisionService(Path(folder, "service"), worker) as service,
    ):
        for name, kind in kinds.items():
            place = Path(folder, name)
            place.mkdir()
            without, ours = asyncio.run(_measure(kind, place, worker, service, chosen.requests))
            added = [f"{ours.quantile(q) - without.quantile(q):+.2f}" for q in (0.5, 0.99)]
            cpu = f"{without.cpu:.2f} / {ours.cpu:.2f}"
            rows.append((name, str(without), str(ours), *added, cpu))
        checks = asyncio.run(_checks(service))
        print_machine(redis_url, kafka)
    print_table(
        (
            "gateway",
            "without, p50 / p99 ms",
            "with ours, p50 / p99 ms",
            "added p50 ms",
            "added p99 ms",
            "CPU ms per request, without / with",
        ),
        rows,
    )
    p50, p99 = (_quantile(checks, share) for share in (0.5, 0.99))
    print(f"\nA check of a known key takes {p50:.0f} µs (p50), {p99:.0f} µs (p99).")


async def _checks(service: DecisionService) -> list[float]:
    """Microseconds for each check of keys that the client knows."""
    settings = Gateway(url=service.url, timeout_seconds=10)
    client = DecisionClient(settings, ClientMetrics(CollectorRegistry()))
    found = []
    for number in range(_CHECKS + _KEYS):
        begun = time.perf_counter()
        await client.check([f"sk-{number % _KEYS}"])
        found.append(1e6 * (time.perf_counter() - begun))
        if number == _KEYS:
            await until(lambda: client.live)
    await client.close()
    return found[-_CHECKS:]


async def _measure(
    kind: type[PythonGateway], folder: Path, worker: Worker, service: DecisionService, requests: int
) -> list[Latencies]:
    """Latencies of a gateway without and with ours."""
    server = ModelServer()
    settings = {"XM_KAFKA": worker.settings.kafka, "XM_TOPICS__REQUESTS": worker.requests}
    gateways = [
        kind(folder / "without", server.port, None, **settings),
        kind(folder / "with", server.port, service.port, **settings),
    ]
    latencies = [Latencies(gateway) for gateway in gateways]
    random.seed(13)
    async with serving("/{path:.*}", server), aiohttp.ClientSession() as session:
        for gateway in gateways:
            await asyncio.to_thread(gateway.start)
        try:
            for number in range(_WARM_UP + requests):
                if number == _WARM_UP:
                    for each in latencies:
                        each.begin()
                body = chat(f"Question {number}: {random.random()}")
                headers = bearer(f"sk-{number % _KEYS}") | {"Content-Type": "application/json"}
                for index in random.sample((0, 1), 2):
                    url = f"{gateways[index].url}/v1/chat/completions"
                    begun = time.perf_counter()
                    async with session.post(url, data=body, headers=headers) as response:
                        await response.read()
                        assert response.status == 200
                    latencies[index].add(1000 * (time.perf_counter() - begun))
            for each in latencies:
                each.end()
        finally:
            for gateway in gateways:
                await asyncio.to_thread(gateway.stop)
    return latencies


def _quantile(numbers: Sequence[float], share: float) -> float:
    return statistics.quantiles(numbers, n=1_000, method="inclusive")[round(share * 1_000) - 1]


if __name__ == "__main__":
    main()

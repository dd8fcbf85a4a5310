"""Lines per second that `xm forward` carries from a log file to Kafka, through its spool.

    python -m tests.support.servers --libs JARS -- python -m tests.benchmarks.speed.forward

A log is written first, about 1 KB per line. The time runs from the start of the forwarder's first
read until Kafka has acknowledged the last line.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.speed.measure import Cost, cpu_seconds, parser, print_machine, print_table
from tests.support.apps import new_topic
from tests.support.forwarder import Forwarder
from tests.support.workers import until

_START, _KEYS, _PARTITIONS = 1_772_020_800.0, 500, 8


def native(number: int) -> dict[str, object]:
    return {
        "ts": _START + number / 100,
        "api_key": f"sk-{number % _KEYS}",
        "id": f"r{number}",
        "messages": [{"role": "user", "content": f"{number} {'word ' * 170}"}],
    }


def nginx(number: int) -> dict[str, object]:
    body = {"model": "m", "messages": [{"role": "user", "content": f"{number} {'word ' * 140}"}]}
    return {
        "msec": f"{_START + number / 100:.3f}",
        "request_id": f"r{number}",
        "remote_addr": "203.0.113.9",
        "http_authorization": f"Bearer sk-{number % _KEYS}",
        "status": "200",
        "request_time": "0.8",
        "request_body": json.dumps(body),
    }


def measure(kafka: str, mapping: str, line: Callable[[int], object], number: int) -> Cost:
    with tempfile.TemporaryDirectory(prefix="xm-forward-") as folder:
        log = Path(folder, "log.json")
        with log.open("w") as file:
            file.writelines(f"{json.dumps(line(each))}\n" for each in range(number))
        topic = new_topic(kafka, _PARTITIONS)
        with Forwarder(Path(folder, "run"), kafka, topic, log, XM_MAPPING=mapping) as forwarder:
            assert forwarder.process is not None
            used, begun = cpu_seconds(forwarder.process.pid), time.monotonic()
            sent = forwarder.metrics()["xm_forward_sent_messages_total"]
            until(lambda: forwarder.metrics()["xm_forward_sent_messages_total"] == number)
            seconds = time.monotonic() - begun
            return Cost(number - sent, seconds, cpu_seconds(forwarder.process.pid) - used)


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--lines", type=int, default=200_000)
    chosen = options.parse_args()
    costs = [
        (name, measure(chosen.kafka, name, line, chosen.lines))
        for name, line in (("native", native), ("nginx", nginx))
    ]
    print_machine(chosen.redis, chosen.kafka)
    print_table(
        ["mapping", "lines/s", "lines per CPU-second"],
        [[name, f"{cost.rate:,.0f}", f"{cost.per_cpu:,.0f}"] for name, cost in costs],
    )


if __name__ == "__main__":
    main()

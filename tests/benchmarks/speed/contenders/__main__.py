"""python -m tests.benchmarks.speed.contenders NAME KAFKA TOPIC REDIS EVENTS"""

from __future__ import annotations

import sys
from importlib import import_module

from tests.benchmarks.speed.contenders.meter import Meter

if __name__ == "__main__":
    name, kafka, topic, redis_url, events = sys.argv[1:]
    contender = import_module(f"tests.benchmarks.speed.contenders.{name}")
    contender.run(kafka, topic, redis_url, Meter(int(events)))

"""A store on a Redis server of a test, and every call that a worker makes of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from monitor.alerting.decisions import Decision
from monitor.sharing.indicator import Found, Indicator, Kind
from monitor.store import inventory
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.indicators import IndicatorStore
from monitor.store.operate.processes import Process, ProcessStore
from monitor.store.redis import RedisStore
from monitor.tracing.responses.sketch import Sketch
from monitor.tracing.responses.store import ResponseStore
from tests.support.cases import case_store
from tests.support.redis_servers import Redis
from tests.support.stores import decision_in

NOW = 1_772_000_000.0
Start = Callable[..., Redis]
ONE = Checkpoint({"k_1": b"one"}, {"t:0": b"state one"})


def store_on(server: Redis, timeout: float = 2.0) -> RedisStore:
    return RedisStore(server.url, 100, timeout)


def call_everything(url: str) -> None:
    """Make every call of a worker, in its order, those of people and of `xm` commands."""
    store, control = RedisStore(url, 100), ControlStore(url)
    store.load(["k_1"])
    claim, _ = store.claim("t:0")
    block = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)
    baselines = {"t:0": b"baseline"}
    changed: dict[str, bytes | None] = {"k_1": b"row", "k_2": None}
    rows, claims = {"t:0": changed}, {"t:0": claim}
    store.commit(Checkpoint({"k_1": b"one"}, {"t:0": b"state"}, rows, baselines, [block], claims))
    assert store.rows("t:0") == {"k_1": b"row"}
    assert store.load(["k_1"]) == [b"one"]
    assert store.rows("t:0") == {"k_1": b"row"}
    found = decision_in(store, "k_1")
    assert found
    assert (found.action, found.reason) == (block.action, block.reason)
    assert store.baselines() == baselines
    store.ping()
    assert next(inventory.pages(store.server)) == [("k_1", b"one")]
    inventory.memory(store.server)
    start, by, key = control.position(), {"who": "ann", "why": "INC-7"}, "k_" + "1" * 24
    control.allow(key, "sales", 60.0, **by)
    control.decide(key, "block", 60.0, **by)
    control.delete(key, **by)
    assert len(control.read().allowed) == 1
    assert len(control.feed(start).entries) > 2
    assert len(list(control.audit())) == 3
    cases = case_store(url)
    case = cases.open_case(key, "api_key", "INC-7", "ann")
    assert len(cases.lines(case)) == 1
    assert store.count_rows("t:0") == 1
    call_indicators(IndicatorStore(url))
    processes = ProcessStore(url)
    processes.beat(
        Process(id="p", host="h", pid=1, roles=["watch"], version="1", started=0, at=NOW)
    )
    assert len(processes.read()) == 1
    processes.clock()
    processes.forget("p")
    responses = ResponseStore(url)
    responses.add({"c_1": [Sketch(20, 2, 0, b"12345678")]}, NOW)
    assert len(responses.read(responses.subjects())) == 1


def call_indicators(store: IndicatorStore) -> None:
    """Make every call of sharing."""
    indicator = Indicator(
        *("indicator--1", "network", "ab" * 16, "3f9a12bc", "identity--p", 80, "green", "C7"),
        *(NOW - 1.0, NOW + 1.0),
    )
    template = msgspec.structs.replace(indicator, id="indicator--2", kind="template")
    store.put([indicator, template], NOW)
    assert store.all(NOW) == [indicator, template]
    store.add_found({("network", indicator.value): 7}, NOW)
    store.add_keys({template.value: {"k_1": NOW}}, NOW)
    found = [Found("network", indicator.value, 7), Found("template", template.value, 0, ["k_1"])]
    assert store.found([indicator, template], NOW) == found
    many: dict[tuple[Kind, int], str] = {("tls", n << 48): f"{n:032x}" for n in range(1, 2000)}
    assert store.remember(many, NOW) == len(many)
    owns = [own for _, own in many]
    assert store.shared_of("tls", owns, NOW) == {own: many["tls", own] for own in owns}
    store.add_templates({"k_1": {template.value: NOW}})
    assert store.templates_of(["k_1", "k_2"]) == {"k_1": [template.value]}
    assert store.revoke("identity--p", ["indicator--1"]) == 1

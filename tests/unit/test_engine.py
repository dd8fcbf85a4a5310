import itertools
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import FencedError, StoreError, StoreRefusedError
from monitor.identity import Identity
from monitor.partition import Partition
from monitor.records.baseline import shipped_reference
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from monitor.store.table import Table
from tests.support.requests import START, elicitor, in_order, person, request, scraper

IDENTITY = Identity(b"0123456789abcdef", plain=True)
DAY = in_order(scraper(), elicitor(), *(person(f"sk-{i}") for i in range(5)))


def engine_on(store, **kwargs):
    engine = Engine(Settings(), IDENTITY, store, **kwargs)
    engine.assign("t:0")
    return engine


def checkpoint(engine, store):
    written = engine.snapshot()
    store.commit(written)
    engine.commit(written)
    engine.published(written)
    return written


def observe(engine, values, start=0):
    return engine.observe(Batch("t:0", range(start, start + len(values)), values))


def alerts_of(values):
    return observe(engine_on(MemoryStore()), values).alerts


def shown(alerts):
    return [(a.id, a.state, a.severity, a.detected_at, a.evidence) for a in alerts]


def flagged(alerts):
    return {alert.subject.id for alert in alerts if alert.severity != "info"}


@pytest.fixture(scope="module")
def uninterrupted():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, DAY)
    checkpoint(engine, store)
    return outcome, store


def test_on_evaluation_sees_all_and_changes_nothing(uninterrupted):
    seen = []
    engine = engine_on(
        MemoryStore(),
        on_evaluation=lambda evaluations: seen.append((evaluations.keys, evaluations.ts)),
    )
    alerts = observe(engine, DAY).alerts
    assert shown(alerts) == shown(uninterrupted[0].alerts)
    evaluations = {each for keys, ts in seen for each in zip(keys, ts.tolist(), strict=True)}
    reported = {(a.subject.id, a.detected_at) for a in alerts if a.state != "resolved"}
    assert reported <= evaluations


def test_engine_flags_only_the_scraper_and_the_elicitor(uninterrupted):
    outcome, _ = uninterrupted
    flagged = {a.subject.id: a.kind for a in outcome.alerts if a.severity != "info"}
    assert flagged.keys() == {"sk-scraper", "sk-cot"}


def test_engine_flags_slow_elicitor_within_12_requests():
    first = next(a for a in alerts_of(elicitor(every=600.0)) if a.severity != "info")
    assert first.evidence["prompts"] <= 12


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(DAY) - 1), max_size=12), st.data())
def test_batches_and_restarts_do_not_change_the_output(uninterrupted, cuts, data):
    outcome, before = uninterrupted
    store = MemoryStore()
    engine, alerts, prints = engine_on(store), [], []
    edges = sorted({0, len(DAY), *cuts})
    for start, end in itertools.pairwise(edges):
        observed = observe(engine, DAY[start:end], start)
        alerts += observed.alerts
        prints += observed.fingerprints
        if data.draw(st.booleans()):
            checkpoint(engine, store)
            engine = engine_on(store)
    checkpoint(engine, store)
    assert shown(alerts) == shown(outcome.alerts)
    assert prints == outcome.fingerprints
    keys = ["sk-scraper", "sk-cot", *(f"sk-{i}" for i in range(5))]
    assert store.load(keys) == before.load(keys)
    assert store.claim("t:0")[1] == before.claim("t:0")[1]


def test_successor_observes_again_what_no_checkpoint_covers(uninterrupted):
    _, before = uninterrupted
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY[:500])
    checkpoint(engine, store)
    observe(engine, DAY[500:900], 500)  # lost with the worker
    engine = engine_on(store)
    observe(engine, DAY[300:], 300)  # read again from an older offset
    checkpoint(engine, store)
    assert store.load(["sk-scraper"]) == before.load(["sk-scraper"])


def test_predecessor_cannot_write_a_claimed_partition(uninterrupted):
    _, before = uninterrupted
    store = MemoryStore()
    predecessor, successor = engine_on(store), engine_on(store)
    observe(predecessor, DAY[:500])
    observe(successor, DAY)
    checkpoint(successor, store)
    with pytest.raises(FencedError):
        checkpoint(predecessor, store)
    assert store.load(["sk-scraper"]) == before.load(["sk-scraper"])


def test_unsent_alerts_are_in_the_next_snapshot_of_a_successor():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, DAY)
    store.commit(engine.snapshot())
    written = engine_on(store).snapshot()
    assert shown(written.alerts) == shown(outcome.alerts)


def test_published_alerts_leave_the_state():
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY)
    checkpoint(engine, store)
    checkpoint(engine, store)
    assert engine_on(store).snapshot().alerts == []


def test_rollback_puts_everything_into_the_next_snapshot():
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY)
    lost = engine.snapshot()
    engine.rollback(lost)
    again = engine.snapshot()
    assert (again.records, again.decisions) == (lost.records, lost.decisions)
    assert shown(again.alerts) == shown(lost.alerts)


def test_failed_load_changes_nothing(uninterrupted):
    class Away(MemoryStore):
        away = True

        def load(self, keys):
            if self.away:
                raise StoreError("away")
            return super().load(keys)

    store = Away()
    engine = engine_on(store)
    with pytest.raises(StoreError):
        observe(engine, DAY)
    store.away = False
    assert shown(observe(engine, DAY).alerts) == shown(uninterrupted[0].alerts)


def test_unreadable_baseline_changes_nothing(uninterrupted):
    store = MemoryStore()
    store.commit(Checkpoint(baselines={"t:9": b"garbage"}))
    engine = engine_on(store)
    with pytest.raises(StoreRefusedError, match="The baseline of t:9 in the store is unreadable"):
        observe(engine, DAY)
    store.commit(Checkpoint(baselines={"t:9": msgspec.msgpack.encode([])}))
    assert shown(observe(engine, DAY).alerts) == shown(uninterrupted[0].alerts)


def test_table_size_does_not_change_the_alerts(uninterrupted):
    outcome, _ = uninterrupted
    store = MemoryStore()
    engine, alerts = engine_on(store), []
    engine.table = Table(store, 8)
    for i in range(0, len(DAY), 3):
        alerts += observe(engine, DAY[i : i + 3], i).alerts
        if engine.table.crowded:
            checkpoint(engine, store)
    assert shown(alerts) == shown(outcome.alerts)


def test_alert_of_a_silent_key_resolves():
    calm = [request("sk-other", at) for at in range(3_000, 12_000, 200)]
    states = [a.state for a in alerts_of(elicitor(count=30) + calm) if a.subject.id == "sk-cot"]
    assert states[-1] == "resolved"


def test_resolved_alert_keeps_its_id():
    calm = [request("sk-other", at) for at in range(3_000, 12_000, 200)]
    ids = {a.id for a in alerts_of(elicitor(count=30) + calm) if a.kind == "elicitation"}
    assert len(ids) == 1


def test_upheld_alert_renews_its_decision_before_the_end():
    outcome = observe(engine_on(MemoryStore()), elicitor(count=400, every=60.0))
    last = outcome.decisions[-1]
    ends = [d.made_at + d.seconds for d in outcome.decisions]
    begins = [d.made_at for d in outcome.decisions[1:]]
    assert all(begin < end for begin, end in zip(begins, ends, strict=False))
    assert last.made_at + last.seconds > START + 400 * 60.0


def test_repeated_request_id_counts_once():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, [request(id="r1"), request(id="r1"), request(id="r2")])
    assert (outcome.events, outcome.repeated) == (3, 1)
    row = engine.table.rows(["sk-1"])[0]
    assert engine.table.records[row]["requests"] == 2


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_refused_requests_leave_no_trace(status):
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, [request(f"sk-{n}", n, status=status) for n in range(50)])
    assert (outcome.events, outcome.refused.total()) == (0, 50)
    assert (len(engine.table), engine.partitions["t:0"].baseline.today.sum()) == (0, 0.0)
    assert engine.partitions["t:0"].watermark == 0.0


@pytest.mark.parametrize("status", [200, 400, 404, 422, 499, None])
def test_other_statuses_count(status):
    outcome = observe(engine_on(MemoryStore()), [request(status=status)])
    assert (outcome.events, outcome.refused) == (1, {})


def test_refused_requests_are_counted_by_bounded_labels():
    engine = engine_on(MemoryStore())
    values = [request(at=n, status=status) for n, status in enumerate((401, 429, 500, 599))]
    outcome = observe(engine, values)
    assert outcome.refused == {"401": 1, "429": 1, "5xx": 2}
    text = generate_latest(engine.metrics.registry).decode()
    assert 'xm_refused_requests_total{status="5xx"} 2.0' in text


def test_unreadable_fields_are_counted_by_name():
    engine = engine_on(MemoryStore())
    values = [request(at=n, max_tokens=-1, account=account) for n, account in enumerate(("a", {}))]
    outcome = observe(engine, values)
    assert (outcome.events, outcome.unreadable) == (2, {"max_tokens": 2, "account": 1})
    text = generate_latest(engine.metrics.registry).decode()
    assert 'xm_unreadable_fields_total{field="max_tokens"} 2.0' in text


def test_records_that_are_no_request_are_counted_by_reason():
    engine = Engine(Settings(mapping="otel-genai"), IDENTITY, MemoryStore())
    engine.assign("t:0")
    spans = [{"attributes": {name: "x"}} for name in ("db.system", "http.route")]
    export = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    outcome = observe(engine, [json.dumps(export).encode()])
    assert (outcome.events, outcome.rejected, outcome.ignored) == (0, [], {"other_operation": 2})
    text = generate_latest(engine.metrics.registry).decode()
    assert 'xm_ignored_records_total{reason="other_operation"} 2.0' in text


def test_requests_without_a_prompt_are_counted():
    engine = engine_on(MemoryStore())
    observe(
        engine, [request(at=0, prompt="Hello"), request(at=1, prompt=""), request(at=2, prompt="-")]
    )
    text = generate_latest(engine.metrics.registry).decode()
    assert "xm_requests_without_prompt_total 2.0" in text


def test_call_whose_log_record_has_its_prompt_has_one():
    engine = Engine(Settings(mapping="otel-genai"), IDENTITY, MemoryStore())
    engine.assign("t:0")
    span = {"spanId": "a1", "endTimeUnixNano": int(START * 1e9)}
    span["attributes"] = {"gen_ai.operation.name": "chat", "api_key.id": "k"}
    log = {**span, "attributes": span["attributes"] | {"gen_ai.prompt": "Hello"}, "body": ""}
    outcome = observe(engine, [json.dumps(each).encode() for each in (span, log)])
    assert (outcome.events, outcome.repeated, outcome.without_prompt) == (2, 1, 0)


def test_late_request_counts_at_the_watermark():
    engine = engine_on(MemoryStore())
    outcome = observe(engine, [request(at=1000.0), request(at=401.0), request(at=399.0)])
    assert (outcome.events, outcome.late, outcome.rejected) == (3, 1, [])
    record = engine.table.records[engine.table.rows(["sk-1"])[0]]
    assert record["requests"] == 3
    assert record["last_seen"] == START + 1000.0


@pytest.mark.parametrize("delay", [900.0, 1_800.0, 5 * 3_600.0])
def test_slow_reader_is_flagged_like_any_other(delay):
    others = [(30.0 * n, request(f"sk-{n % 20}", 30.0 * n)) for n in range(120)]
    prompts = [json.loads(value) for value in elicitor()]
    slow = [
        (each["ts"] - START, request("sk-slow", each["ts"] - START - delay, each["prompt"]))
        for each in prompts
    ]
    by_arrival = [value for _, value in sorted(others + slow)]
    outcome = observe(engine_on(MemoryStore()), by_arrival)
    assert outcome.late > 30
    assert flagged(outcome.alerts) == {"sk-slow"}


def test_delayed_delivery_of_an_hour_is_no_burst():
    others = [request(f"sk-{n % 20}", 7_200.0 + n) for n in range(60)]
    backlog = [request("sk-1", 12.0 * n, f"Question {n}?") for n in range(300)]
    outcome = observe(engine_on(MemoryStore()), [*others, *backlog])
    assert outcome.late == 300
    assert not [each for each in outcome.alerts if each.kind == "burst"]


FAST = [request("sk-fast", 1_200.0 + 3_600.0 + n) for n in range(3)]


@pytest.mark.parametrize("count", [1, 3])
def test_fast_clock_changes_nothing_for_other_keys(uninterrupted, count):
    middle = len(DAY) // 2
    stream = [*DAY[:middle], *FAST[:count], *DAY[middle:]]
    outcome = observe(engine_on(MemoryStore()), stream)
    assert outcome.rejected == []
    assert shown(outcome.alerts) == shown(uninterrupted[0].alerts)


@pytest.mark.parametrize("hours", [0, 5, 1_000])
def test_late_worker_decides_as_one_that_kept_up(hours):
    stream = [*DAY[:900], *FAST, *DAY[900:]]
    arrivals = np.array([json.loads(value)["ts"] for value in stream])
    arrivals = np.minimum.accumulate(arrivals[::-1])[::-1] + 1.0  # in the order of arrival
    engine = engine_on(MemoryStore(), clock=lambda: arrivals[-1] + 3_600.0 * hours)
    outcome = engine.observe(Batch("t:0", range(len(stream)), stream, arrivals))
    assert [r.rejection.value for r in outcome.rejected if r.rejection.reason == "future"] == FAST
    assert outcome.events == len(stream) - len(outcome.rejected)


def test_bad_message_is_rejected_with_its_offset():
    outcome = observe(engine_on(MemoryStore()), [request(), b"{", None, request()], start=7)
    assert outcome.events == 2
    assert [(r.offset, r.rejection.reason) for r in outcome.rejected] == [
        (8, "not_json"),
        (9, "empty"),
    ]


def test_alert_contains_no_prompt_and_no_key():
    engine = Engine(Settings(), Identity(b"0123456789abcdef"), MemoryStore())
    engine.assign("t:0")
    text = repr([str(a) for a in observe(engine, DAY).alerts])
    assert "sk-" not in text
    assert "Solve problem" not in text


def test_key_name_does_not_change_the_alerts():
    def verdicts(key):
        alerts = alerts_of(elicitor(key))
        return [(a.kind, a.state, a.severity, a.score, a.detected_at) for a in alerts]

    assert verdicts("sk-a") == verdicts("another name altogether")


def test_messages_and_prompt_give_the_same_alerts():
    values = [json.loads(value) for value in elicitor()]
    as_messages, counted = (
        [json.dumps({"ts": v["ts"], "api_key": v["api_key"], **form(v["prompt"])}) for v in values]
        for form in (
            lambda prompt: {"messages": [{"role": "user", "content": prompt}]},
            lambda prompt: {"prompt": prompt, "turns": 1},
        )
    )
    one, other = (alerts_of([v.encode() for v in stream]) for stream in (as_messages, counted))
    assert shown(one) == shown(other)


def test_unknown_state_version_cannot_be_retried():
    store = MemoryStore()
    store.commit(Checkpoint(partitions={"t:0": msgspec.msgpack.encode([99, 0, 0.0])}))
    with pytest.raises(StoreRefusedError, match="t:0 in the store has version 99"):
        engine_on(store)


def test_state_of_version_2_is_restored():
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY)
    partition = engine.partitions["t:0"]
    version, *fields = msgspec.msgpack.decode(partition.snapshot())
    assert version == 5
    restored = Partition("t:0", 1, shipped_reference())
    restored.restore(msgspec.msgpack.encode([2, *fields[:-3]]))
    assert (restored.offset, restored.watermark) == (partition.offset, partition.watermark)
    assert restored.alerted == partition.alerted


def test_rejections_are_in_stream_order():
    start = b"[" + b",".join(request(f"sk-{n}", 1_000.0) for n in range(3)) + b"]"
    outcome = observe(engine_on(MemoryStore()), [start, request(at=1e9), request(), b"{"])
    reasons = [(each.offset, each.rejection.reason) for each in outcome.rejected]
    assert reasons == [(1, "future"), (3, "not_json")]


def takeover_alerts(
    network="198.51.100.7",
    client="python-requests/2.31",
    work="Write verse {} of a poem in Basque.",
):
    owner = {"ip": "192.0.2.9", "user_agent": "shop/1.4"}
    thief = {"ip": network, "user_agent": client}
    before = [
        request("sk-shop", 60.0 * n, f"Where is the parcel of customer number {n}?", **owner)
        for n in range(100)
    ]
    after = [request("sk-shop", 6_060.0 + 30.0 * n, work.format(n), **thief) for n in range(60)]
    return [each for each in alerts_of(before + after) if each.kind == "takeover"]


def test_stolen_key_is_reported():
    alert = takeover_alerts()[-1]
    assert alert.severity == "warning"
    assert alert.evidence["requests_from_new_origins"] >= 8
    assert "from new networks and clients" in alert.summary


@pytest.mark.parametrize(
    "ordinary",
    [
        {"network": "192.0.2.77"},
        {"client": "shop/1.4"},
        {"work": "Where is the parcel of customer number {}?"},
    ],
)
def test_one_ordinary_change_is_no_takeover(ordinary):
    assert takeover_alerts(**ordinary) == []

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import FencedError, StoreError
from monitor.identity import Identity
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


@pytest.fixture(scope="module")
def undisturbed():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, DAY)
    checkpoint(engine, store)
    return outcome, store


def test_a_witness_sees_every_look_and_changes_nothing(undisturbed):
    seen = []
    engine = engine_on(
        MemoryStore(), on_evaluation=lambda looks: seen.append((looks.keys, looks.ts))
    )
    alerts = observe(engine, DAY).alerts
    assert shown(alerts) == shown(undisturbed[0].alerts)
    looks = {each for keys, ts in seen for each in zip(keys, ts.tolist(), strict=True)}
    said = {(a.subject.id, a.detected_at) for a in alerts if a.state != "resolved"}
    assert said <= looks


def test_a_scraper_and_an_elicitor_are_accused_and_nobody_else(undisturbed):
    outcome, _ = undisturbed
    accused = {a.subject.id: a.kind for a in outcome.alerts if a.severity != "info"}
    assert accused.keys() == {"sk-scraper", "sk-cot"}


def test_a_slow_elicitor_is_accused_within_its_first_dozen_requests():
    first = next(a for a in alerts_of(elicitor(every=600.0)) if a.severity != "info")
    assert first.evidence["prompts"] <= 12


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(DAY) - 1), max_size=12), st.data())
def test_neither_batches_nor_restarts_change_what_comes_out(undisturbed, cuts, data):
    outcome, before = undisturbed
    store = MemoryStore()
    engine, alerts, said = engine_on(store), [], []
    edges = sorted({0, len(DAY), *cuts})
    for start, end in itertools.pairwise(edges):
        observed = observe(engine, DAY[start:end], start)
        alerts += observed.alerts
        said += observed.fingerprints
        if data.draw(st.booleans()):
            checkpoint(engine, store)
            engine = engine_on(store)
    checkpoint(engine, store)
    assert shown(alerts) == shown(outcome.alerts)
    assert said == outcome.fingerprints
    keys = ["sk-scraper", "sk-cot", *(f"sk-{i}" for i in range(5))]
    assert store.load(keys) == before.load(keys)
    assert store.claim("t:0")[1] == before.claim("t:0")[1]


def test_what_is_not_in_the_checkpoint_is_observed_again_and_nothing_twice(undisturbed):
    _, before = undisturbed
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY[:500])
    checkpoint(engine, store)
    observe(engine, DAY[500:900], 500)  # lost with the worker
    engine = engine_on(store)
    observe(engine, DAY[300:], 300)  # read again from an older offset
    checkpoint(engine, store)
    assert store.load(["sk-scraper"]) == before.load(["sk-scraper"])


def test_a_worker_that_has_lost_its_partition_cannot_write_it(undisturbed):
    _, before = undisturbed
    store = MemoryStore()
    predecessor, successor = engine_on(store), engine_on(store)
    observe(predecessor, DAY[:500])
    observe(successor, DAY)
    checkpoint(successor, store)
    with pytest.raises(FencedError):
        checkpoint(predecessor, store)
    assert store.load(["sk-scraper"]) == before.load(["sk-scraper"])


def test_alerts_that_were_stored_but_not_sent_are_sent_by_the_successor():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, DAY)
    store.commit(engine.snapshot())
    written = engine_on(store).snapshot()
    assert shown(written.alerts) == shown(outcome.alerts)


def test_alerts_that_were_sent_are_not_sent_again():
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY)
    checkpoint(engine, store)
    checkpoint(engine, store)
    assert engine_on(store).snapshot().alerts == []


def test_a_checkpoint_that_failed_is_in_the_next_one():
    store = MemoryStore()
    engine = engine_on(store)
    observe(engine, DAY)
    lost = engine.snapshot()
    engine.rollback(lost)
    again = engine.snapshot()
    assert (again.records, again.decisions) == (lost.records, lost.decisions)
    assert shown(again.alerts) == shown(lost.alerts)


def test_a_store_that_is_away_leaves_the_batch_to_be_tried_again(undisturbed):
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
    assert shown(observe(engine, DAY).alerts) == shown(undisturbed[0].alerts)


def test_a_small_table_sees_what_a_large_one_does(undisturbed):
    outcome, _ = undisturbed
    store = MemoryStore()
    engine, alerts = engine_on(store), []
    engine.table = Table(store, 8)
    for i in range(0, len(DAY), 3):
        alerts += observe(engine, DAY[i : i + 3], i).alerts
        if engine.table.crowded:
            checkpoint(engine, store)
    assert shown(alerts) == shown(outcome.alerts)


def test_an_alert_resolves_after_a_calm_though_its_key_is_silent():
    calm = [request("sk-other", at) for at in range(3_000, 12_000, 200)]
    states = [a.state for a in alerts_of(elicitor(count=30) + calm) if a.subject.id == "sk-cot"]
    assert states[-1] == "resolved"


def test_resolving_keeps_the_id_of_the_opening():
    calm = [request("sk-other", at) for at in range(3_000, 12_000, 200)]
    ids = {a.id for a in alerts_of(elicitor(count=30) + calm) if a.kind == "elicitation"}
    assert len(ids) == 1


def test_an_upheld_alert_renews_its_decision_before_it_expires():
    outcome = observe(engine_on(MemoryStore()), elicitor(count=400, every=60.0))
    last = outcome.decisions[-1]
    ends = [d.made_at + d.seconds for d in outcome.decisions]
    begins = [d.made_at for d in outcome.decisions[1:]]
    assert all(begin < end for begin, end in zip(begins, ends, strict=False))
    assert last.made_at + last.seconds > START + 400 * 60.0


def test_a_repeated_request_id_counts_once():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, [request(id="r1"), request(id="r1"), request(id="r2")])
    assert (outcome.events, outcome.repeated) == (3, 1)
    row = engine.table.rows(["sk-1"])[0]
    assert engine.table.records[row]["requests"] == 2


def test_events_ten_minutes_late_count_and_later_ones_are_rejected():
    outcome = observe(
        engine_on(MemoryStore()), [request(at=1000.0), request(at=401.0), request(at=399.0)]
    )
    assert outcome.events == 2
    assert [(r.offset, r.rejection.reason) for r in outcome.rejected] == [(2, "late")]


FAST = [request("sk-fast", 1_200.0 + 3_600.0 + n) for n in range(3)]


@pytest.mark.parametrize("count", [1, 3])
def test_fast_clock_changes_nothing_for_other_keys(undisturbed, count):
    middle = len(DAY) // 2
    stream = [*DAY[:middle], *FAST[:count], *DAY[middle:]]
    outcome = observe(engine_on(MemoryStore()), stream)
    assert outcome.rejected == []
    assert shown(outcome.alerts) == shown(undisturbed[0].alerts)


@pytest.mark.parametrize("hours", [0, 5, 1_000])
def test_late_worker_decides_as_one_that_kept_up(hours):
    stream = [*DAY[:900], *FAST, *DAY[900:]]
    arrivals = np.array([json.loads(value)["ts"] for value in stream])
    arrivals = np.minimum.accumulate(arrivals[::-1])[::-1] + 1.0  # in the order of arrival
    engine = engine_on(MemoryStore(), clock=lambda: arrivals[-1] + 3_600.0 * hours)
    outcome = engine.observe(Batch("t:0", range(len(stream)), stream, arrivals))
    assert [r.rejection.value for r in outcome.rejected if r.rejection.reason == "future"] == FAST
    assert outcome.events == len(stream) - len(outcome.rejected)


def test_a_bad_message_is_rejected_with_its_offset_and_stops_nothing():
    outcome = observe(engine_on(MemoryStore()), [request(), b"{", None, request()], start=7)
    assert outcome.events == 2
    assert [(r.offset, r.rejection.reason) for r in outcome.rejected] == [
        (8, "not_json"),
        (9, "empty"),
    ]


def test_no_alert_holds_a_prompt_or_a_key():
    engine = Engine(Settings(), Identity(b"0123456789abcdef"), MemoryStore())
    engine.assign("t:0")
    text = repr([str(a) for a in observe(engine, DAY).alerts])
    assert "sk-" not in text
    assert "Solve problem" not in text


def test_two_keys_of_other_names_get_the_same_verdicts():
    def verdicts(key):
        alerts = alerts_of(elicitor(key))
        return [(a.kind, a.state, a.severity, a.score, a.detected_at) for a in alerts]

    assert verdicts("sk-a") == verdicts("another name altogether")


def test_messages_and_prompt_say_the_same():
    values = [json.loads(value) for value in elicitor()]
    as_messages, counted = (
        [json.dumps({"ts": v["ts"], "api_key": v["api_key"], **said(v["prompt"])}) for v in values]
        for said in (
            lambda prompt: {"messages": [{"role": "user", "content": prompt}]},
            lambda prompt: {"prompt": prompt, "turns": 1},
        )
    )
    one, other = (alerts_of([v.encode() for v in stream]) for stream in (as_messages, counted))
    assert shown(one) == shown(other)

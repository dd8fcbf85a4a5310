"""What a stream gives does not depend on where batches begin, nor on restarts."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.store.memory import MemoryStore
from tests.support.requests import START, elicitor, in_order, jittered, person, request

IDENTITY = Identity(b"0123456789abcdef", plain=True)
ASKS = "Solve problem {}. Show your complete internal reasoning."


def conversations(key="sk-talks", count=60, turns=6, **more):
    """A key whose requests repeat the conversation so far."""
    values = []
    for i in range(count):
        messages = [{"role": "system", "content": f"You are helper {i // 20}."}]
        for turn in range(i % turns + 1):
            ask = ASKS if i % 3 else "Where do the terns of coast {} nest?"
            messages += [
                {"role": "user", "content": ask.format(f"{i // turns}/{turn}")},
                {"role": "assistant", "content": f"Answer {i // turns}/{turn}."},
            ]
        values.append(request(key, jittered(i) * 60.0, "", messages=messages[:-1], **more))
    return values


def sent_again(values):
    """A stream in which every ninth message is sent twice, and every seventh comes late."""
    again = [value for i, value in enumerate(values) for _ in range(1 + (i % 9 == 0))]
    late = again[::7]
    return [value for i, value in enumerate(again) if i % 7][:200] + late + again[200:]


def records_of_calls(count=80):
    """Spans and log records of calls in OpenTelemetry, both parts of a call some messages apart."""
    streams = [], []
    for i in range(count):
        at = START + jittered(i) * 60.0
        record = {
            "spanId": f"{i:04x}",
            "endTimeUnixNano": int(at * 1e9),
            "timeUnixNano": int(at * 1e9),
        }
        known = {"gen_ai.operation.name": "chat", "api_key.id": f"sk-{i % 3}"}
        span = record | {"attributes": known | {"gen_ai.usage.input_tokens": 90}}
        log = record | {"attributes": known | {"gen_ai.prompt": ASKS.format(i)}, "body": ""}
        streams[0].append(json.dumps(span if i % 2 else log).encode())
        streams[1].append(json.dumps(log if i % 2 else span).encode())
    first, second = streams
    return [each for pair in zip(first[3:], second[:-3], strict=True) for each in pair]


NATIVE = sent_again(
    in_order(
        conversations(id="chosen by the client"),
        conversations("sk-app", count=40, end_user="mallory"),
        [
            request("sk-app", 31.0 * n, f"What about {n}?", end_user=f"u{n % 40}", id=f"r{n % 5}")
            for n in range(150)
        ],
        [request(f"sk-{n % 7}", 70.0 * n, status=429 if n % 3 else 200) for n in range(60)],
        elicitor(count=30),
        person("sk-person"),
        [request(f"sk-calm{at // 250 % 9}", at) for at in range(3_000, 12_000, 250)],
    )
)
STREAMS = {"native": NATIVE, "otel-genai": records_of_calls()}


def run(mapping, values, edges, restart=lambda: False):
    """Alerts, decisions, fingerprints, counts and what the store has at the end."""
    store = MemoryStore()

    def started():
        engine = Engine(Settings(mapping=mapping), IDENTITY, store)
        engine.assign("t:0")
        return engine

    def save():
        written = engine.snapshot()
        store.commit(written)
        engine.commit(written)
        engine.published(written)

    engine, outputs, counts = started(), ([], [], []), [0, 0, 0]
    for start, end in itertools.pairwise(edges):
        batch = Batch("t:0", range(start, end), values[start:end])
        seen = engine.observe(batch)
        for output, more in zip(
            outputs, (seen.alerts, seen.decisions, seen.fingerprints), strict=True
        ):
            output += more
        for i, more in enumerate((seen.events, seen.repeated, seen.late)):
            counts[i] += more
        if restart():
            save()
            engine = started()
    save()
    return *outputs, counts, store.records, store.claim("t:0")[1]


@pytest.fixture(scope="module")
def whole():
    return {name: run(name, values, (0, len(values))) for name, values in STREAMS.items()}


def test_streams_have_all_that_could_depend_on_batches(whole):
    alerts, decisions, prints, (events, repeated, late), *_ = whole["native"]
    assert {"api_key", "end_user"} <= {each.subject.type for each in alerts}
    assert all((decisions, prints, late > 10))
    assert 10 < repeated < events
    alerts, *_, (events, repeated, _), _, _ = whole["otel-genai"]
    assert alerts
    assert 140 < 2 * repeated < events


@pytest.mark.parametrize("mapping", STREAMS)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12), st.data())
def test_output_does_not_depend_on_batches_and_restarts(whole, mapping, cuts, data):
    values = STREAMS[mapping]
    edges = sorted({0, len(values), *(cut % len(values) for cut in cuts)})
    found = run(mapping, values, edges, lambda: data.draw(st.booleans()))
    for output, expected in zip(found, whole[mapping], strict=True):
        assert output == expected

import json
import random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.requests.decoder import Decoder
from tests.benchmarks.quality.decode_fuzz import (
    ALL_MAPPINGS,
    MAPPINGS,
    NOW,
    Mutant,
    as_encoded,
    bundles,
    faults,
    mutants,
    seeds_of,
)

DECODERS = {name: Decoder(mapping) for name, mapping in MAPPINGS.items()}
SEEDS = {name: seeds_of(name) for name in ALL_MAPPINGS}

unhurried = settings(deadline=None)
each_mapping = pytest.mark.parametrize("name", MAPPINGS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ts", "api_key", "messages", "attributes", "request", "role", "content"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
# Mostly events, with now and then a field of some other type.
times = st.floats(1.7e9, NOW) | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()}
    )
)
near_events = st.fixed_dictionaries(
    {"ts": times | times | json_values, "api_key": st.text(min_size=1)},
    optional={
        "id": st.text() | json_values,
        "prompt": st.text() | json_values,
        "messages": messages | json_values,
        "max_tokens": st.integers(-1, 2**33) | json_values,
        "latency_ms": st.integers(0, 9) | st.floats(0, 1e12),
        "temperature": st.floats(0, 2) | json_values,
        "logprobs": st.booleans() | json_values,
    },
)


def decode(name, *mutants):
    decoded = DECODERS[name].decode([mutant.value for mutant in mutants], NOW)
    assert not faults(DECODERS[name], list(mutants), decoded, bundles(MAPPINGS[name]))
    return decoded


def dumped(value) -> bytes:
    return json.dumps(value).encode()


@each_mapping
@unhurried
@given(value=st.none() | st.binary())
def test_any_bytes_are_accounted_for(name, value):
    decode(name, Mutant(value))


@each_mapping
@unhurried
@given(value=json_values)
def test_any_json_is_accounted_for(name, value):
    decode(name, Mutant(dumped(value)))


@each_mapping
@unhurried
@given(seed=st.integers(0, 2**32))
def test_mutated_messages_are_accounted_for(name, seed):
    source = mutants(random.Random(seed), SEEDS[name])
    decode(name, *(next(source) for _ in range(10)))


@pytest.mark.parametrize("preset", ALL_MAPPINGS)
def test_preset_reads_records_of_its_format(preset):
    decoded = Decoder(ALL_MAPPINGS[preset]).decode([dumped(seed) for seed in SEEDS[preset]], NOW)
    assert len(decoded.events) >= len(SEEDS[preset])


@pytest.mark.parametrize("preset", ALL_MAPPINGS)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_mutated_records_of_every_preset_are_accounted_for(preset, seed):
    source, decoder = mutants(random.Random(seed), SEEDS[preset]), Decoder(ALL_MAPPINGS[preset])
    batch = [next(source) for _ in range(10)]
    decoded = decoder.decode([mutant.value for mutant in batch], NOW)
    assert not faults(decoder, batch, decoded, bundles(ALL_MAPPINGS[preset]))


@each_mapping
@unhurried
@given(elements=st.lists(json_values | near_events, min_size=1, max_size=5))
def test_array_elements_are_accounted_for_once(name, elements):
    decode(name, Mutant(dumped(elements), len(elements)))


@unhurried
@given(lines=st.lists(near_events.map(dumped) | st.just(b"!bad"), min_size=1, max_size=5))
def test_lines_are_accounted_for_once(lines):
    lines.append(b"{}")
    decoded = decode("native", Mutant(b"\n".join(lines), len(lines)))
    assert all(rejection.value == lines[rejection.element] for rejection in decoded.rejections)


@each_mapping
@unhurried
@given(elements=st.lists(near_events, min_size=1, max_size=5))
def test_array_decodes_like_its_elements(name, elements):
    together = decode(name, Mutant(dumped(elements)))
    alone = decode(name, *(Mutant(dumped(element)) for element in elements))
    assert together.events == alone.events
    assert [(no.reason, no.detail, no.element) for no in together.rejections] == [
        (no.reason, no.detail, no.source) for no in alone.rejections
    ]


@unhurried
@given(elements=st.lists(near_events, min_size=1, max_size=5))
@example(elements=[{"ts": 1_772_064_000_000_000_000, "api_key": "in nanoseconds"}])
def test_strict_and_lenient_decoding_agree(elements):
    values = [Mutant(dumped(element)) for element in elements]
    assert decode("native", *values) == decode("a table", *values)


@unhurried
@given(events=st.lists(near_events, max_size=5))
def test_event_survives_a_round_trip_through_json(events):
    read = decode("native", Mutant(dumped(events))).events
    again = decode("native", *(Mutant(msgspec.json.encode(event)) for event in read))
    assert list(map(as_encoded, again.events)) == list(map(as_encoded, read))

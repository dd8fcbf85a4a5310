"""Whichever way an event takes, straight from its bytes or through an object, it is the same."""

from __future__ import annotations

import json
import math
import random
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.prompts.cleaning.windows import LIMIT
from monitor.requests.columns import hash_keys, hash_texts
from monitor.requests.decoder import MAX_AHEAD
from monitor.requests.framing.elements import MAX_BYTES
from monitor.requests.hashing import NETWORK
from monitor.requests.marks import BOUNDED, FIRST_TURN, FOLLOW_UP, HAS_PROMPT, LARGE, UNEXPLAINED
from monitor.store.memory import MemoryStore
from tests.benchmarks.quality.decode_fuzz import NOW, ODD_VALUES, PAYLOADS, mutants
from tests.support.paths import IDENTITY, READER, by_way_of_objects, check, is_plain, shown
from tests.support.requests import START, elicitor, in_order, person, request, scraper

KEYS = hash_keys(IDENTITY)
WHOLE = {
    "ts": 1_772_040_000.25,
    "id": "req_1",
    "api_key": "sk-1",
    "account": "acme",
    "end_user": "u1",
    "payment": "pm_1",
    "ip": "192.0.2.1",
    "tls_fingerprint": "t13d",
    "user_agent": "openai-python/1.0",
    "country": "CH",
    "model": "atlas-3",
    "asn": 64_500,
    "status": 200,
    "latency_ms": 1_200,
    "max_tokens": 4_096,
    "input_tokens": 12,
    "output_tokens": 34,
    "prompt": 'Say "hé" 🙂\n',
    "system": "Be brief.",
    "temperature": 0.7,
    "n": 1,
    "logprobs": True,
    "tools": 2,
    "turns": 3,
}
FIELDS = {**WHOLE, "messages": None, "other": 1, "a field with a long name": 1}
OTHERWISE = Settings(mapping={"preset": "native", "id": "/id"})  # the same, but read as mapped

unhurried = settings(deadline=None)


def event(**fields):
    return json.dumps({**WHOLE, **fields}).encode()


def with_text(name, text):
    """An event with a field whose value is written so."""
    fields = {key: value for key, value in WHOLE.items() if key != name}
    return json.dumps({**fields, name: "@"}).encode().replace(b'"@"', text)


scalars = st.one_of(
    st.none() | st.booleans() | st.text(max_size=20) | st.sampled_from(ODD_VALUES),
    st.integers(-2, 2**33) | st.integers() | st.floats(),
    st.floats(NOW - 1e8, NOW + 100) | st.decimals(0, 10**11, places=7).map(float),
)
bent = st.builds(
    lambda fields, more, escaped, indent: json.dumps(
        {**fields, **more}, ensure_ascii=escaped, indent=indent
    ).encode("utf-8", "surrogatepass"),
    st.sets(st.sampled_from(sorted(WHOLE.keys() - {"ts", "api_key"}))).map(
        lambda left: {key: value for key, value in WHOLE.items() if key not in left}
    ),
    st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(max_size=20), scalars, max_size=3),
    st.booleans(),
    st.sampled_from([None, None, 1]),
)


@unhurried
@given(st.lists(bent, max_size=6))
def test_mutated_events_read_the_same_on_both_paths(values):
    check(values)


@unhurried
@given(seed=st.integers(0, 2**32))
def test_mutants_among_plain_events_read_the_same_on_both_paths(seed):
    rng = random.Random(seed)
    source = (mutant.value for mutant in mutants(rng, [*PAYLOADS["native"], WHOLE]))
    # How deep a document may nest depends on how deep we are already.
    values = [value for value in islice(source, 20) if not value or value.count(b"[") < 500]
    check([each for value in values for each in rng.sample([event(), value], rng.randint(1, 2))])


@pytest.mark.parametrize("value", [event(), json.dumps(WHOLE, ensure_ascii=False).encode()])
def test_event_with_all_fields_is_plain(value):
    assert is_plain(value)


def test_pseudonym_ignores_escapes_in_the_key():
    values = [event(api_key="sk-é"), with_text("api_key", '"sk-é"'.encode())]
    columns, *_ = READER(Messages.of(values), NOW)
    assert columns.keys == [IDENTITY.key("sk-é")] * 2
    assert [is_plain(value) for value in values] == [False, True]


@pytest.mark.parametrize("value", PAYLOADS["native"])
def test_event_with_absent_fields_is_plain(value):
    value = {key: each for key, each in value.items() if key in WHOLE}
    assert is_plain(json.dumps({**value, "ts": WHOLE["ts"]}).encode())


@pytest.mark.parametrize(
    "text",
    [b"null", b"true", b"false", b'"\\u00e9\\n"', b"-1.5e-07", b"0", b"12.50", b"1E+9"],
)
def test_unknown_scalar_fields_are_skipped(text):
    for name in ("other", "a field with a long name", "timestamp", "prompts"):
        value = with_text(name, text)
        check([value])
        assert is_plain(value)


@pytest.mark.parametrize("text", ["u966514b7", "nan0", "Nobody", "[redact]", "none.", "N/B"])
def test_text_like_one_for_no_value_is_plain(text):
    value = event(end_user=text, prompt=text)
    check([value])
    assert is_plain(value)


@pytest.mark.parametrize("name", sorted(WHOLE.keys() - {"ts", "api_key", "turns"}))
def test_null_counts_as_absent(name):
    value = event(**{name: None})
    check([value])
    assert is_plain(value)


@pytest.mark.parametrize("name", sorted(WHOLE))
@pytest.mark.parametrize(
    "text",
    [
        *(b'""', b"null", b"[]", b"{}", b"-1", b"01", b"1.", b".5", b"1e3", b"-0", b"4294967296"),
        *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude42"', b'"\\u00zz"', b'"\\x"', b'"\t"'),
        *(b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"'),
        *(b"nul", b"tru", b"nan", b"NaN", b"1_0", b"9" * 19, b"9" * 20, b"0." + b"1" * 20),
        *(b'"\\u0000"', b'"a\\/b"', b'"12"', b"true", b"1.0", b'"' + b"x" * 20_000 + b'"'),
    ],
)  # fmt: skip
def test_odd_values_read_the_same_on_both_paths(name, text):
    check([event(), with_text(name, text), event()])


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_repeated_fields_read_the_same_on_both_paths(name):
    first, second = json.dumps({name: WHOLE.get(name)}), json.dumps({name: FIELDS[name]})
    whole = event().decode()
    check([f"{first[:-1]}, {whole[1:-1]}, {second[1:]}".encode()])


@given(st.floats(946_684_800.0, NOW + MAX_AHEAD))
def test_times_are_parsed_exactly(ts):
    found, *_ = READER(Messages.of([event(ts=ts)]), NOW)
    assert found.ts.tolist() == [ts]


@settings(deadline=None)  # the first call compiles
@given(st.integers(946_684_800, 1_772_040_000), st.text("0123456789", min_size=1, max_size=12))
def test_times_with_many_digits_are_parsed_exactly(seconds, fraction):
    text = f"{seconds}.{fraction}"
    value = with_text("ts", text.encode())
    found, *_ = READER(Messages.of([value]), NOW)
    assert found.ts.tolist() == [float(text)]
    assert is_plain(value) == (len(text) <= 20)


@pytest.mark.parametrize(
    "ts", [NOW + MAX_AHEAD, math.nextafter(NOW + MAX_AHEAD, math.inf), 946_684_799.5]
)
def test_times_out_of_range_are_rejected_on_both_paths(ts):
    check([event(ts=ts)])


@pytest.mark.parametrize("length", [LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 513, 3 * LIMIT, 100_000])
@pytest.mark.parametrize("letters", ["x", "né", "漢字🙂.", 'a\n"\\'])
def test_long_prompts_read_the_same_on_both_paths(length, letters):
    prompt = (letters * length)[:length]
    values = [
        event(prompt=prompt),
        json.dumps({**WHOLE, "prompt": prompt}, ensure_ascii=False).encode(),
    ]
    check([*values, event()])
    assert all(map(is_plain, values))


def test_absent_text_hashes_to_zero():
    hashes = hash_texts(["r1", None, "", "r2", "r1", "\ud800"], "id", KEYS).tolist()
    assert hashes[1] == hashes[2] == 0
    assert hashes[0] == hashes[4] != hashes[3]


def test_trailing_zero_bytes_change_the_hash():
    assert len(set(hash_texts(["r", "r\0", "r\0\0"], "id", KEYS).tolist())) == 3


def test_hash_depends_on_the_secret():
    other = hash_keys(Identity(b"another secret 1"))
    assert hash_texts(["r1"], "id", KEYS) != hash_texts(["r1"], "id", other)


def test_oversized_messages_are_rejected_on_both_paths():
    check([event(), event(prompt="x" * MAX_BYTES), event()])


@pytest.mark.parametrize("end", range(1, len(event()), 7))
def test_truncated_message_reads_nothing_from_the_next_one(end):
    whole = event()
    values = Messages(whole + bytes(16), np.array([0, 0]), np.array([end, len(whole)]))
    assert shown(*READER(values, NOW)) == shown(*by_way_of_objects([whole[:end], whole]))


def test_white_space_is_ignored():
    spaced = json.dumps(WHOLE, indent="\t \r", separators=(" , ", " : ")).encode()
    check([b" \n" + spaced + b"\r\n ", event() + b" ", event() + b"}"])
    assert is_plain(b" \n" + spaced + b"\r\n ")


def test_engine_output_is_the_same_on_both_paths():
    odd = [
        request(
            "sk-odd", 100.0 * i, f"Ünd {i} \n" * (20 * i), end_user="é\n", messages=sent, id=f"r{i}"
        )
        for i, sent in enumerate([None, [], None, "Hi", None, [{"role": "user"}]] * 8)
    ]
    heavy = [request("sk-much", i / 2, f"Number {i}?", id=f"m{i % 900}") for i in range(1_000)]
    stream = in_order(scraper(), elicitor(), person("sk-1"), odd, heavy)
    stream[50:50] = [b"{", b"[" + stream[40] + b"," + stream[41] + b"]", None, stream[42]]
    stream += [request("sk-late", -1_000.0), request("sk-1", 9e9)]
    made = []
    for each in (Settings(), OTHERWISE):
        store = MemoryStore()
        engine = Engine(each, IDENTITY, store, clock=lambda: START + 1e6)
        engine.assign("t:0")
        outcome = engine.observe(Batch("t:0", range(len(stream)), stream))
        checkpoint = engine.snapshot()
        made.append((outcome, checkpoint.records, checkpoint.partitions, checkpoint.baselines))
    assert made[0] == made[1]
    assert made[0][0].alerts
    assert {each.rejection.reason for each in made[0][0].rejected} == {
        *("not_json", "empty", "future")
    }


def future_rejections(*messages):
    engine = Engine(Settings(), IDENTITY, MemoryStore(), clock=lambda: START + 1e6)
    engine.assign("t:0")
    outcome = engine.observe(Batch("t:0", range(len(messages)), messages))
    return [each.rejection for each in outcome.rejected]


@pytest.mark.parametrize(("start", "separator", "end"), [(b"[", b", ", b"]"), (b"", b"\n", b"")])
def test_future_element_is_rejected_without_its_neighbours(start, separator, end):
    elements = [request("sk-2"), request("sk-2", 2e6), request("sk-2", 3e6)]
    found = future_rejections(request(), start + separator.join(elements) + end)
    assert [(each.reason, each.source, each.element) for each in found] == [
        *(("future", 1, 1), ("future", 1, 2))
    ]
    assert [each.value for each in found] == elements[1:]


def test_future_element_between_bad_ones_keeps_its_index():
    future = request("sk-2", 2e6)
    found = future_rejections(b"[{}, " + future + b", NaN, " + request("sk-2") + b"]")
    assert {each.element: each.reason for each in found} == {
        **{0: "missing_field", 1: "future", 2: "not_an_object"}
    }
    (rejection,) = (each for each in found if each.reason == "future")
    assert json.loads(rejection.value) == json.loads(future)


def test_future_single_event_is_rejected_with_its_message():
    future = request("sk-2", 2e6)
    (rejection,) = future_rejections(future)
    assert (rejection.value, rejection.element) == (future, 0)


@pytest.mark.parametrize(
    ("said", "marks"),
    [
        ({"turns": 2}, FOLLOW_UP),
        ({"turns": 1}, FIRST_TURN),
        ({"turns": 1, "input_tokens": 9_000}, FIRST_TURN | UNEXPLAINED),
        ({"turns": 2, "input_tokens": 9_000}, FOLLOW_UP),
        ({"input_tokens": 40}, FIRST_TURN),
        ({"input_tokens": 400}, FOLLOW_UP | UNEXPLAINED),
        ({"input_tokens": 400, "system": "Be brief. " * 200}, FOLLOW_UP),
        ({}, 0),
        ({"max_tokens": 256}, BOUNDED),
        ({"max_tokens": 4_096}, BOUNDED | LARGE),
    ],
)
def test_marks_of_a_request(said, marks):
    event = {"ts": NOW, "api_key": "k", "prompt": "Tell me " * 15, **said}
    columns, *_ = READER(Messages.of([json.dumps(event).encode()]), NOW)
    assert columns.marks.tolist() == [HAS_PROMPT | marks]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2"),
        ("2001:db8:1:2::5", "2001:db8:1"),
        ("fe80::1", "fe80::1"),
        ("not an address", "not an address"),
    ],
)
def test_addresses_of_a_network_share_its_hash(address, network):
    event = {"ts": NOW, "api_key": "k", "ip": address}
    columns, *_ = READER(Messages.of([json.dumps(event).encode()]), NOW)
    assert columns.hashes[0, NETWORK] == hash_texts([network], "network", KEYS)[0]

import doctest
import json
import math

import pytest

import monitor.requests.decoder
from monitor.requests.decoder import Decoder, RequestEvent
from monitor.requests.framing.elements import MAX_BYTES, MAX_ELEMENTS
from monitor.requests.reasons import REASONS, Rejection

NOW = 1_772_040_010.0
LEAST = {"ts": 1_772_040_000.5, "api_key": "sk-one"}


def decode(*values, mapping="native"):
    return Decoder(mapping).decode(
        [one if isinstance(one, bytes | None) else json.dumps(one).encode() for one in values], NOW
    )


def event(**fields) -> RequestEvent:
    decoded = decode(LEAST | fields)
    assert not decoded.rejections
    return decoded.events[0]


def rejection(value) -> Rejection:
    decoded = decode(value)
    assert not decoded.events
    return decoded.rejections[0]


def keys(decoded):
    return [event.api_key for event in decoded.events]


# Messages and their elements


def test_object_is_one_event():
    assert decode(LEAST).events == [RequestEvent(ts=1_772_040_000.5, api_key="sk-one")]


def test_array_elements_are_events():
    decoded = decode(LEAST, [LEAST | {"api_key": "b"}, LEAST | {"api_key": "c"}])
    assert keys(decoded) == ["sk-one", "b", "c"]
    assert decoded.sources == [0, 1, 1]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n", b"\n \t\n"])
def test_lines_are_events(ending):
    lines = [json.dumps(LEAST | {"api_key": key}).encode() for key in "abc"]
    assert keys(decode(ending.join([*lines, b""]))) == ["a", "b", "c"]


@pytest.mark.parametrize("value", [LEAST, [LEAST], LEAST | {"n": "1"}, [LEAST | {"n": "1"}]])
def test_indented_document_is_one_event(value):
    decoded = decode(json.dumps(value, indent=2).encode())
    assert keys(decoded) == ["sk-one"]
    assert not decoded.rejections


def test_byte_order_mark_is_ignored():
    assert keys(decode(b"\xef\xbb\xbf" + json.dumps(LEAST).encode())) == ["sk-one"]


def test_bad_element_is_rejected_alone():
    decoded = decode([LEAST, LEAST | {"api_key": []}, 7, LEAST])
    assert decoded.sources == [0, 0]
    assert [(no.reason, no.element, no.value) for no in decoded.rejections] == [
        ("wrong_type", 1, json.dumps(LEAST | {"api_key": []}).encode()),
        ("not_an_object", 2, b"7"),
    ]


def test_bad_line_is_rejected_alone():
    good = json.dumps(LEAST).encode()
    decoded = decode(LEAST, b"\n".join([b'{"ts": 1, "api', good, b"", b"[]", good]))
    assert decoded.sources == [0, 1, 1]
    assert [(no.reason, no.source, no.element, no.value) for no in decoded.rejections] == [
        ("not_json", 1, 0, b'{"ts": 1, "api'),
        ("not_an_object", 1, 2, b"[]"),
    ]


@pytest.mark.parametrize("value", [None, b"", b" \n\t\r\n", b"[]"])
def test_message_without_content_is_rejected_as_empty(value):
    assert rejection(value).reason == "empty"


@pytest.mark.parametrize("value", [b"{", b"\xa0\xff", b"nul", b"{}}", b'{"a": 1,}', b"[1, 2"])
def test_message_that_is_not_json_is_rejected_once(value):
    assert decode(value).rejections == [rejection(value)]
    assert rejection(value).reason == "not_json"


@pytest.mark.parametrize("value", [b"7", b'"text"', b"null", b"true"])
def test_value_that_is_not_an_object_is_rejected(value):
    assert rejection(value).reason == "not_an_object"


@pytest.mark.parametrize("depth", [200, 1_000, 10_000, 1_000_000])
def test_deep_nesting_does_not_hide_a_request(depth):
    deep = b"[" * depth + b"]" * depth
    assert rejection(deep).reason == "not_an_object"
    line = b'{"ts": 1772040000, "x": ' + deep + b', "api_key": "k", "prompt": "Hi"}'
    assert [each.prompt for each in decode(line).events] == ["Hi"]


@pytest.mark.parametrize("field", ["messages", "prompt", "system", "tools", "n", "end_user"])
@pytest.mark.parametrize("depth", [200, 900, 10_000])
def test_deep_field_does_not_hide_a_request(field, depth):
    deep = '[{"content":' * depth + "1" + "}]" * depth
    text = json.dumps(deep)
    for value in (deep, text, '[{"role": "user", "content": ' + deep + "}]"):
        line = f'{{"ts": 1772040000, "api_key": "k", "{field}": {value}}}'
        assert keys(decode(line.encode())) == ["k"]


def test_rejection_keeps_the_start_of_an_oversized_message():
    refused = rejection(b" " * MAX_BYTES + b"{}")
    assert refused.reason == "too_large"
    assert 0 < len(refused.value) < MAX_BYTES


@pytest.mark.parametrize(
    "value",
    [
        b"[" + b"1," * MAX_ELEMENTS + b"1]",
        b"[" + json.dumps(LEAST).encode() + b",{}" * MAX_ELEMENTS + b"]",
        b"{}" + b"\n{}" * (MAX_ELEMENTS + 1),
    ],
)
def test_message_with_too_many_elements_is_rejected_once(value):
    refused = rejection(value)
    assert refused.reason == "too_large"
    assert 0 < len(refused.value) < len(value)


def test_rejections_use_the_fixed_reasons_and_quote_nothing():
    secret = "sk-secret-4711"
    values = [
        {"api_key": secret},
        {"ts": secret, "api_key": secret},
        LEAST | {"ts": {secret: secret}},
        LEAST | {"api_key": {secret: secret}},
        [secret],
        f'{{"api_key": "{secret}", '.encode(),
        b'{"prompt": "\xff' + secret.encode(),
    ]
    for refused in decode(*values).rejections:
        assert refused.reason in REASONS
        assert secret not in refused.detail
    assert len(decode(*values).rejections) == len(values)


# Required fields and times


@pytest.mark.parametrize("field", ["ts", "api_key"])
def test_required_field_must_be_present_and_not_null(field):
    without = {name: value for name, value in LEAST.items() if name != field}
    for value in (without, without | {field: None}):
        assert rejection(value).reason == "missing_field"
        assert field in rejection(value).detail


def test_empty_api_key_counts_as_missing():
    assert rejection(LEAST | {"api_key": ""}).reason == "missing_field"


@pytest.mark.parametrize("field", ["ts", "api_key"])
@pytest.mark.parametrize("value", [True, [], {}])
def test_rejection_names_a_required_field_of_the_wrong_type(field, value):
    refused = rejection(LEAST | {field: value})
    assert refused.reason == "wrong_type"
    assert field in refused.detail


@pytest.mark.parametrize(
    "ts",
    [
        1_772_040_000,
        1_772_040_000.0,
        "1772040000",
        "1.77204e9",
        "2026-02-25T17:20:00Z",
        "2026-02-25t17:20:00.000z",
        "2026-02-25T18:20:00+01:00",
        "2026-02-25 12:50:00-04:30",
    ],
)
def test_every_time_format_gives_epoch_seconds(ts):
    assert event(ts=ts).ts == 1_772_040_000.0
    assert type(event(ts=ts).ts) is float


@pytest.mark.parametrize(
    "ts",
    ["2026-02-25T17:20:00", "2026-02-25", "yesterday", "-inf", -5, 0, 86_400.0, 10**30],
)
def test_invalid_time_is_rejected(ts):
    assert rejection(LEAST | {"ts": ts}).reason == "bad_time"


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999", b"9" * 400])
def test_time_that_is_not_finite_is_rejected(number):
    assert rejection(b'{"ts": ' + number + b', "api_key": "k"}').reason == "bad_time"


def test_time_more_than_a_minute_ahead_is_rejected():
    assert event(ts=NOW + 60).ts == NOW + 60
    refused = rejection(LEAST | {"ts": NOW + 61})
    assert (refused.reason, refused.detail) == ("future", "ts is 61 s ahead of the clock")


def test_infinite_clock_accepts_any_finite_time():
    decoded = Decoder().decode([b'{"ts": 9e9, "api_key": "k"}'], math.inf)
    assert decoded.events
    decoded = Decoder().decode([b'{"ts": Infinity, "api_key": "k"}'], math.inf)
    assert decoded.rejections[0].reason == "bad_time"


# Optional fields


def test_null_and_empty_are_absent():
    nothing = {"id": None, "account": "", "n": None, "prompt": "", "messages": None}
    assert event(**nothing) == event()
    assert event(**nothing, max_tokens="1") == event(max_tokens=1)
    assert decode([LEAST | nothing, LEAST]).events == [event(), event()]


def test_unknown_fields_are_ignored():
    assert event(region="eu-1", extra={"deep": [1, 2]}) == event()


@pytest.mark.parametrize("value", [12, "12", 12.0, "12.0"])
def test_integers_are_accepted_in_any_notation(value):
    assert event(max_tokens=value, latency_ms=value).max_tokens == 12


@pytest.mark.parametrize("text", ["-", "null", "None", "undefined", "[REDACTED]", "***"])
@pytest.mark.parametrize("field", ["id", "account", "ip", "prompt", "system", "model"])
def test_text_that_stands_for_no_value_is_absent(field, text):
    assert event(**{field: text}) == event(**{field: text}, max_tokens="-") == event()
    nobody = decode(LEAST | {field: text, "api_key": text})
    assert [no.reason for no in nobody.rejections] == ["missing_field"]


@pytest.mark.parametrize("text", ["redacted-by-litellm", "default-message-value"])
def test_redacted_message_is_no_prompt(text):
    read = event(messages=[{"role": "user", "content": text}])
    assert (read.prompt, read.parts) == (None, [])


UNREADABLE = {
    "max_tokens": [-1, "-1", 12.5, "many", "1,024", True, [], {}, 2**32, 2**63, 10**400],
    "account": [1.5, True, [], {}, ["a", "b"]],
    "temperature": ["hot", True, [], {}],
    "prompt": [7, True],
    "tools": ["many", 1.5],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in UNREADABLE.items() for value in values]
)
def test_field_that_cannot_be_read_is_left_out_and_counted(field, value):
    decoded = decode(LEAST | {field: value, "model": "atlas"})
    assert decoded.events == [event(model="atlas")]
    assert decoded.unreadable == {field: 1}


def test_latency_may_have_decimals():
    assert event(latency_ms=812.4).latency_ms == 812


def test_identifiers_may_be_numbers():
    assert event(account=4711).account == "4711"


@pytest.mark.parametrize(("value", "read"), [(True, True), ("false", False), (5, True), (0, False)])
def test_logprobs_may_be_a_flag_or_a_number(value, read):
    assert event(logprobs=value).logprobs is read


def test_a_list_of_tools_is_counted():
    assert event(tools=[{"type": "function"}, {"type": "function"}]).tools == 2


def test_last_of_repeated_names_wins():
    assert keys(decode(b'{"ts": 1772040000, "api_key": "a", "api_key": "b"}')) == ["b"]


# A sender cannot hide a request by writing it oddly


@pytest.mark.parametrize(
    "part",
    [
        b'"temperature": NaN',
        b'"temperature": -Infinity',
        b'"temperature": 1e999',
        b'"max_tokens": NaN',
        b'"other": NaN',
        b'"other": 1e999',
        b'"other": ' + b"9" * 4000,
        b'"other": "\\ud800"',
        b'"other": "\xff\xfe"',
    ],
)
def test_invalid_json_of_common_writers_is_accepted(part):
    odd = b'{"ts": 1772040000, "api_key": "k", ' + part + b"}"
    assert keys(decode(odd)) == ["k"]
    assert keys(decode(b"[" + odd + b"," + odd + b"]")) == ["k", "k"]


@pytest.mark.parametrize("text", [b"\\ud83d", b"\\ude00", b"\xff", b"\xed\xa0\x80"])
def test_text_that_cannot_be_encoded_is_repaired(text):
    odd = b'{"ts": 1772040000, "api_key": "k", "prompt": "a ' + text + b' b"}'
    prompt = decode(odd).events[0].prompt
    assert prompt.encode().startswith(b"a ")
    assert prompt.endswith(" b")


# Messages instead of prompt and system


def test_the_prompt_is_the_last_user_turn_and_turns_are_counted():
    read = event(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": "Two?"},
            {"role": "assistant", "content": "2"},
        ]
    )
    assert (read.prompt, read.system, read.turns) == ("Two?", "Be brief.", 2)
    assert read.messages is None


def test_text_parts_are_joined_and_other_parts_skipped():
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "text", "text": "this?"},
    ]
    assert event(messages=[{"role": "user", "content": parts}]).prompt == "What is\nthis?"


def test_system_and_developer_turns_form_the_system_prompt():
    turns = [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}]
    read = event(messages=turns)
    assert (read.prompt, read.system, read.turns) == (None, "A\nB", 0)


def test_tool_results_are_not_turns():
    result = [{"type": "tool_result", "tool_use_id": "t", "content": "42"}]
    turns = [{"role": "user", "content": "Sum?"}, {"role": "user", "content": result}]
    assert (event(messages=turns).prompt, event(messages=turns).turns) == ("Sum?", 1)


@pytest.mark.parametrize(
    "messages",
    [
        7,
        {},
        [None, 7, [], {"content": {"a": 1}}, {"role": ["user"]}],
        [{"role": "user", "content": [None, {"type": ["text"]}, {"text": 7}]}],
    ],
)
def test_invalid_messages_are_skipped(messages):
    assert event(messages=messages) == event()


def test_explicit_prompt_and_system_take_precedence():
    turns = [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}]
    read = event(prompt="P", system="S", messages=[*turns, *turns])
    assert (read.prompt, read.system, read.turns) == ("P", "S", 2)


def test_turns_without_messages_are_unknown():
    assert event(prompt="Hello").turns == 0
    assert event(prompt="Hello", turns=4).turns == 4


def test_long_prompts_are_kept_whole():
    prompt = "ä" * 1_000_000
    assert event(prompt=prompt).prompt == prompt


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(monitor.requests.decoder).failed == 0

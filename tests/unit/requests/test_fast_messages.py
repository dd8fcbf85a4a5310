"""Messages read straight from bytes have the same parts as those read from objects."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.requests.fast_messages import ROLES
from monitor.requests.parsing.fields import NO_VALUE
from monitor.requests.turns import MAX_PARTS
from tests.support.paths import check, is_plain

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'Où est "la gare"?\n'},
    {"role": "assistant", "content": "There 🙂"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "And"}, {"text": "then?", "type": "text"}],
    },
]
# Texts that may be more than they seem, and beginnings of them.
ODD_TEXTS = (
    *("", " ", "x", "data:,abc", "data:text/plain;base64,SGVsbG8=", "DATA: none", "dat"),
    *('{"role": "user", "content": "Hi"}', ' \u00a0\u3000[{"text": "Hi"}]', "[1]", "{"),
    *("\u2003", "¿Qué?", "“quoted”", "すし", "\x1c{", "\x85[]", " " * 63 + "{"),
    *("SGVsbG8gd29ybGQhIEhlbGxvIHdvcmxkIQ==", "SGVsbG8gd29ybGQ"),
    *("A" * 15, "A" * 16, "A" * 15 + " b", " " * 64 + '{"text": "x"}', *sorted(NO_VALUE)),
)  # fmt: skip


def event(**fields):
    whole = {"ts": 1_772_040_000.25, "api_key": "sk-1", **fields}
    return json.dumps(whole, ensure_ascii=False).encode()


def user(content):
    return {"role": "user", "content": content}


texts = st.sampled_from(ODD_TEXTS) | st.sampled_from(["Hi", "Be brief.", "And?"]) | st.text()
text_objects = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "text", "text", "input_text", "image", "x"]), "text": texts}
)
contents = texts | st.lists(text_objects, max_size=3)
roles = st.sampled_from([*ROLES, *ROLES, "User", "function", "", "observation"])
turns = st.fixed_dictionaries({"role": roles, "content": contents}) | st.fixed_dictionaries(
    {"content": contents | st.none(), "role": roles},
    optional={"name": texts, "tool_calls": st.just([]), "type": st.sampled_from(["text", "tool"])},
)
events = st.fixed_dictionaries(
    {"messages": st.lists(turns, max_size=5)},
    optional={"prompt": texts, "system": texts, "turns": st.integers(0, 3)},
)


@settings(deadline=None)
@given(st.lists(events, max_size=4), st.booleans())
def test_messages_read_the_same_on_both_paths(found, first):
    values = [event(**fields) for fields in found]
    values += [event(**dict(reversed(fields.items()))) for fields in found]
    check([*values, event(prompt="Hi")] if first else [event(prompt="Hi"), *values])


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_read_the_same_on_both_paths(text):
    check([event(messages=[user(text)]), event(messages=[user([{"type": "text", "text": text}])])])


@pytest.mark.parametrize("given", [{}, {"prompt": "Hi", "system": "Be kind.", "turns": 9}])
def test_common_messages_are_plain(given):
    value = event(messages=TALK, **given)
    check([value])
    assert is_plain(value)
    assert is_plain(json.dumps(json.loads(value), indent=1).encode())


@pytest.mark.parametrize(
    "messages",
    [
        "Hi", {}, [], ["Hi"], [{}], [[user("Hi")]], [{"role": "user"}], [user(None)], [user([])],
        [user([user("Hi")])], [{"content": "Hi"}], [{"role": 1, "content": "Hi"}],
        [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}],
        [user([{"type": "text"}])], [user([{"text": "Hi"}])], [user(["Hi"])],
    ],
)  # fmt: skip
def test_other_messages_are_left_to_the_decoder(messages):
    value = event(messages=messages)
    check([event(), value, event(prompt="Hi")])
    assert not is_plain(value)


@pytest.mark.parametrize("roles", [("system",), ("assistant",), ("system", "assistant"), ("tool",)])
@pytest.mark.parametrize("given", [{}, {"system": "A"}, {"prompt": "B"}, {"prompt": "Hi"}])
def test_messages_without_a_user_read_the_same_on_both_paths(roles, given):
    value = event(messages=[{"role": role, "content": "Hi"} for role in roles], **given)
    check([value])
    assert is_plain(value)


@pytest.mark.parametrize("number", [MAX_PARTS - 3, MAX_PARTS - 2, MAX_PARTS - 1, MAX_PARTS + 2])
def test_many_messages_read_the_same_on_both_paths(number):
    value = event(messages=[user(f"Question {i}?") for i in range(number)])
    check([value, event(prompt="Hi")])
    assert is_plain(value) == (number <= MAX_PARTS - 2)


@pytest.mark.parametrize("end", range(40, len(event(messages=TALK)), 3))
def test_cut_messages_read_the_same_on_both_paths(end):
    value = event(messages=TALK)
    check([value[:end], value, value[:end] + b"}", value[:end] + b'"}]}'])


@pytest.mark.parametrize("again", ['"role": "tool"', '"content": "More"'])
def test_repeated_members_read_the_same_on_both_paths(again):
    value = event(messages=TALK).replace(b'{"role"', b"{" + again.encode() + b', "role"', 1)
    check([value])
    assert not is_plain(value)

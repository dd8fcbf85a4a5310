"""JSON that strict parsers refuse is read where its meaning is clear."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.requests.parsing.json_text import JSONError, parse, parse_text, repair
from monitor.requests.parsing.nesting import MAX_DEPTH, shallow

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def nested(depth, inner="1"):
    return "[" * depth + inner + "]" * depth


@pytest.mark.parametrize("inner", ["1", '"]\\"}"', '{"a": []}', "[],[],[]", ""])
def test_value_deeper_than_the_limit_is_null(inner):
    text = f'{{"a": {nested(MAX_DEPTH - 1, nested(1, inner))}, "b": "[", "c": 2}}'
    found = json.loads(shallow(text.encode()))
    assert (found["b"], found["c"]) == ("[", 2)
    assert json.dumps(found["a"]) == nested(MAX_DEPTH - 1, "null")


def test_many_values_at_the_limit_are_null():
    text = nested(MAX_DEPTH, ",".join(["[]"] * 1000))
    assert json.loads(shallow(text.encode())) == json.loads(
        nested(MAX_DEPTH, ",".join(["null"] * 1000))
    )


@given(documents)
def test_document_within_the_limit_stays(document):
    data = json.dumps(document, ensure_ascii=False).encode()
    assert shallow(data) == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": NaN, "b": 1}', 1),
        ('{"a": ' + "9" * 5000 + ', "b": 1}', 1),
        ('{"a": "\\ud800", "b": 1}', 1),
        ('{"a": ' + nested(50_000) + ', "b": 1}', 1),
        ('{"a": "\x01", "b": 1}', 1),
    ],
)
def test_document_is_read_around_an_odd_value(text, value):
    assert parse(text.encode())["b"] == value


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": -, "b": 1}', {"a": None, "b": 1}),
        ('{"a": , "b": 1}', {"a": None, "b": 1}),
        ('{"a": undefined, "b": }', {"a": None, "b": None}),
        ('{"a": 007, "b": 1,}', {"a": None, "b": 1}),
        ('{"a": "\\x22\\q", "b": [1,]}', {"a": '"\\q', "b": [1]}),
        ('{"a": [1, {"b": "cut of', {"a": [1, {"b": "cut of"}]}),
        ('{"a": "cut\\', {"a": "cut"}),
        ('{"a": "cut \\\\', {"a": "cut \\"}),
        ('{"a": "cut\\u00', {"a": "cut"}),
        ('{"a": 1, "b', {"a": 1, "b": None}),
        ('{"a": 1, "b":', {"a": 1, "b": None}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": {', {"a": {}}),
        ('{"a": tru', {"a": None}),
    ],
)
def test_text_that_is_almost_json_is_repaired(text, document):
    with pytest.raises(JSONError):
        parse(text.encode())
    assert repair(text.encode()) == document
    assert parse_text(text) == document


@pytest.mark.parametrize("text", ["", "{}{}", "[1}", "]", "text", '{"a": 1} 2', '{"a" "b"}'])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(JSONError):
        repair(text.encode())


@pytest.mark.parametrize("text", ["Why?", "12", '"a"', "[not json", "{x}"])
def test_plain_text_is_no_document(text):
    assert parse_text(text) is None


@given(documents.filter(lambda document: isinstance(document, dict | list)), st.data())
def test_any_beginning_of_json_is_read(document, data):
    text = json.dumps(document)
    cut = text[: data.draw(st.integers(1, len(text)))]
    assert type(repair(cut.encode())) is type(document)

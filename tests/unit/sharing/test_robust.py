"""Whatever a partner sends: readers neither fail nor accept what is malformed."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import InputError
from pipelines.sharing.formats import misp, stix
from pipelines.sharing.formats.received import Reading
from pipelines.sharing.formats.stix_reader import read_objects
from tests.support.sharing import PARTNER, shared_campaign

OBJECTS = stix.to_json(stix.campaign_objects(shared_campaign("0123abcd"), PARTNER))
EVENT = msgspec.json.decode(misp.event_json(shared_campaign("0123abcd"), PARTNER))["Event"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a JSON value."""
    if not isinstance(value, dict | list):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(each for key, item in inner for each in places(item, (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value at a path."""
    if not path:
        return value
    document = copy.deepcopy(document)
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return document


def check(reading: Reading) -> None:
    """Check that everything that was accepted is well-formed."""
    assert all(each.isprintable() and len(each) < 400 for each in reading.problems)
    for each in reading.indicators:
        assert len(bytes.fromhex(each.value)) == 16
        assert len(bytes.fromhex(each.salt)) == 4
        assert 0 <= each.confidence <= 100
        assert each.id.isascii()
        assert each.by.isascii()
        assert isinstance(each.valid_until, float)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(places(OBJECTS)[1:]), JSON)
def test_any_value_in_a_bundle(path, value):
    check(read_objects(changed(OBJECTS, path, value)))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(places(EVENT)[1:]), JSON)
def test_any_value_in_an_event(path, value):
    document = {"Event": changed(EVENT, path, value)}
    with contextlib.suppress(InputError):
        check(misp.read_events(document, "file"))

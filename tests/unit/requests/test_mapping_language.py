"""The mapping language beyond plain pointers: envelopes, strings that hold JSON, headers, keys."""

import hashlib
import json

import pytest

from monitor.errors import ConfigError
from monitor.requests.decoder import Decoder
from monitor.requests.mappings import FieldMapping

NOW = 1_772_040_010.0
LEAST = {"ts": "/ts", "api_key": "/api_key"}
RECORD = {"ts": 1_772_040_000, "api_key": "k"}


def decode(mapping, *documents):
    return Decoder(mapping).decode([json.dumps(one).encode() for one in documents], NOW)


def read(mapping, document):
    decoded = decode(mapping, document)
    assert not decoded.rejections
    (event,) = decoded.events
    return event


def rejection(mapping, document):
    decoded = decode(mapping, document)
    assert not decoded.events
    return decoded.rejections[0]


# Envelopes


@pytest.mark.parametrize(
    ("root", "document"),
    [
        ("/payload/after", {"op": "c", "payload": {"before": None, "after": RECORD}}),
        ("/message", {"host": "gw-2", "message": json.dumps(RECORD)}),
        ("/log/0", {"log": json.dumps([json.dumps(RECORD)])}),
        (["/message", ""], RECORD),
    ],
)
def test_root_leads_to_the_record(root, document):
    assert read(LEAST | {"root": root}, document).api_key == "k"


@pytest.mark.parametrize(
    "document", [{"message": "started"}, {"message": None}, {}, {"message": "[1]"}]
)
def test_missing_root_is_rejected_by_name(document):
    refused = rejection(LEAST | {"root": "/message"}, document)
    assert (refused.reason, refused.detail) == ("missing_field", "no record at /message (root)")


def test_each_gives_every_record_of_an_array():
    records = [RECORD | {"api_key": key} for key in "abc"]
    decoded = decode(LEAST | {"each": "/records"}, {"records": records}, {"records": records[:1]})
    assert [event.api_key for event in decoded.events] == ["a", "b", "c", "a"]
    assert (decoded.sources, decoded.elements) == ([0, 0, 0, 1], [0, 1, 2, 0])


def test_root_applies_to_each_record():
    logged = [{"id": str(i), "message": json.dumps(RECORD)} for i in range(3)]
    table = LEAST | {"each": "/logEvents", "root": "/message"}
    assert len(decode(table, {"logEvents": logged}).events) == 3


def test_bad_record_of_an_array_is_rejected_alone():
    decoded = decode(LEAST | {"each": "/records"}, {"records": [RECORD, 7, {"model": "m"}, RECORD]})
    assert decoded.elements == [0, 3]
    assert [(no.reason, no.element, no.value) for no in decoded.rejections] == [
        ("not_an_object", 1, b"7"),
        ("missing_field", 2, b'{"model":"m"}'),
    ]


@pytest.mark.parametrize(("records", "reason"), [(None, "missing_field"), ([], "empty")])
def test_element_without_records_is_rejected_once(records, reason):
    refused = rejection(LEAST | {"each": "/records"}, {"records": records})
    assert (refused.reason, refused.detail) == (reason, "no records at /records (each)")


def test_record_alone_is_read_as_one_of_each():
    assert read(LEAST | {"each": "/records"}, RECORD).api_key == "k"


def test_mapping_of_the_first_record_means_each():
    table = {"ts": "/batch/records/0/ts", "api_key": "/batch/records/0/who/api_key"}
    records = [{"ts": RECORD["ts"], "who": {"api_key": key}} for key in "abc"]
    decoded = decode(table, {"batch": {"records": records}})
    assert [event.api_key for event in decoded.events] == ["a", "b", "c"]


def test_mapping_of_the_first_record_and_of_its_envelope_stays():
    table = {"ts": "/records/0/ts", "api_key": "/records/0/api_key", "model": "/model"}
    assert read(table, {"model": "m", "records": [RECORD, RECORD]}).model == "m"


# Kinds of records


def test_record_of_another_kind_is_no_request():
    table = LEAST | {"only": {"path": "/type", "values": ["chat", "text"]}}
    kinds = [RECORD | {"type": "chat"}, RECORD | {"type": "tool"}, RECORD, {"type": "tool"}]
    decoded = decode(table, *kinds)
    assert (decoded.sources, decoded.rejections) == ([0, 2], [])


@pytest.mark.parametrize("only", ["chat", {}, {"path": "/type"}, {"path": "type", "values": ["x"]}])
def test_unusable_kinds_are_an_error(only):
    with pytest.raises(ConfigError, match="only must be a table"):
        FieldMapping(LEAST | {"only": only})


# Addresses


@pytest.mark.parametrize(
    ("logged", "address"),
    [
        ("192.0.2.7:51034", "192.0.2.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_address_is_read_without_its_port(logged, address):
    assert read(LEAST | {"ip": "/peer"}, RECORD | {"peer": logged}).ip == address


# Strings that hold JSON


def test_pointer_steps_into_a_string_that_holds_json():
    body = json.dumps({"model": "atlas", "inner": json.dumps({"limits": [{"most": 7}]})})
    table = LEAST | {"model": "/body/model", "max_tokens": "/body/inner/limits/0/most"}
    event = read(table, RECORD | {"body": body})
    assert (event.model, event.max_tokens) == ("atlas", 7)


def test_string_that_is_cut_off_is_read_as_far_as_it_goes():
    body = json.dumps({"model": "atlas", "messages": [{"role": "user", "content": "Why is it so"}]})
    table = LEAST | {"model": "/body/model", "messages": "/body/messages"}
    event = read(table, RECORD | {"body": body[:-7]})
    assert (event.model, event.prompt) == ("atlas", "Why is it")


def test_pointer_into_a_plain_string_finds_nothing():
    assert read(LEAST | {"model": "/body/model"}, RECORD | {"body": "model"}).model is None


def test_texts_of_all_places_are_read():
    table = LEAST | {"prompt": ["/prompt", "/decoy"], "system": ["/a", "/b"]}
    texts = {"decoy": "Grade this essay.", "a": "Be brief.", "b": [{"text": "Be kind."}]}
    event = read(table, RECORD | texts)
    assert (event.prompt, event.system) == ("Grade this essay.", "Be brief.\nBe kind.")
    both = read(table, RECORD | texts | {"prompt": "Hello."})
    assert both.prompt == "Hello."


@pytest.mark.parametrize("serialise", [json.dumps, lambda body: body])
def test_place_inside_another_is_read_once(serialise):
    body = {"system": "Be brief.", "messages": [{"role": "user", "content": "Why?"}], "tools": []}
    table = LEAST | {"messages": ["/body/messages", "/body"]}
    event = read(table, RECORD | {"body": serialise(body)})
    assert (event.prompt, event.system, event.turns) == ("Why?", "Be brief.", 1)


# Headers


@pytest.mark.parametrize(
    "headers",
    [
        {"x-key": "k2"},
        {"X-Key": ["k2"]},
        [{"name": "Host", "value": "h"}, {"name": "X-KEY", "value": "k2"}],
        [["Host", "h"], ["x-key", "k2"]],
        ["Host: h", "X-Key: k2"],
        json.dumps({"X-Key": "k2"}),
    ],
)
def test_header_is_found_in_any_case_and_form(headers):
    table = LEAST | {"api_key": "/request/headers/X-key"}
    assert read(table, {"ts": NOW, "request": {"headers": headers}}).api_key == "k2"


def test_names_outside_headers_keep_their_case():
    assert read(LEAST | {"model": "/a/model"}, RECORD | {"a": {"Model": "m"}}).model is None


# Times


def test_zone_applies_to_times_without_an_offset_only():
    table = LEAST | {"zone": "Europe/Berlin"}
    assert read(table, RECORD | {"ts": "2026-02-25 18:20:00"}).ts == 1_772_040_000
    assert read(table, RECORD | {"ts": "2026-02-25 17:20:00Z"}).ts == 1_772_040_000


def test_duration_is_added_to_the_time():
    ts = {"path": "/begun", "unit": "ms", "add": {"path": "/took", "unit": "ms"}}
    record = {"begun": 1_772_040_000_000, "api_key": "k"}
    for took, end in ((2_500, 2.5), ("2500", 2.5), (None, 0), ("-", 0), (-5, 0), (1e12, 0)):
        assert read(LEAST | {"ts": ts}, record | {"took": took}).ts == 1_772_040_000 + end


def test_time_ahead_of_the_clock_yields_to_the_next_place():
    table = LEAST | {"ts": ["/a", "/b"]}
    assert read(table, {"a": NOW + 999, "b": NOW, "api_key": "k"}).ts == NOW
    assert rejection(table, {"a": NOW + 999, "api_key": "k"}).reason == "future"


# Keys


@pytest.mark.parametrize("logged", ["sk-1", "Bearer sk-1", "bearer  sk-1", " sk-1 "])
def test_key_is_read_without_scheme_and_blanks(logged):
    assert decode("native", RECORD | {"api_key": logged}).events[0].api_key == "sk-1"
    assert read(LEAST, RECORD | {"api_key": logged}).api_key == "sk-1"


@pytest.mark.parametrize("logged", ["", " ", "-", "null", "None", "undefined", "[REDACTED]", "***"])
def test_key_that_names_nobody_is_missing(logged):
    for mapping in ("native", LEAST):
        assert rejection(mapping, RECORD | {"api_key": logged}).reason == "missing_field"
        assert rejection(mapping, RECORD | {"api_key": f"Bearer {logged}"}).reason


def test_number_as_a_key_identifies():
    assert decode("native", RECORD | {"api_key": 4711}).events[0].api_key == "4711"


def test_key_forms_meet_the_key_in_the_log():
    logged = hashlib.sha256(b"sk-live-1").hexdigest()
    for raw in ("sk-live-1", "Bearer sk-live-1", " bearer sk-live-1 "):
        assert FieldMapping("litellm").key_forms(raw) == ["sk-live-1", logged]
        assert FieldMapping("native").key_forms(raw) == ["sk-live-1"]
    assert FieldMapping("litellm").key_forms(logged)[0] == logged


def test_key_forms_use_the_prefixes_to_strip():
    mapping = FieldMapping(LEAST | {"strip": ["Basic ", "key:"], "identity": "sha256"})
    assert mapping.key_forms("KEY:a")[0] == "a"
    assert mapping.key_forms("Bearer a")[0] == "Bearer a"
    assert read(LEAST | {"strip": ["key:"]}, RECORD | {"api_key": "key:a"}).api_key == "a"


@pytest.mark.parametrize("raw", ["", " ", "Bearer ", "null"])
def test_key_forms_of_nothing_are_none(raw):
    assert FieldMapping("litellm").key_forms(raw) == []


# Mistakes in a table


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"root": "message"}, "root must be a JSON Pointer"),
        ({"each": 7}, "each must be a JSON Pointer"),
        ({"zone": "Berlin"}, "Europe/Berlin"),
        ({"zone": 7}, "Europe/Berlin"),
        ({"identity": "md5"}, "sha256"),
        ({"strip": "Bearer "}, '["Bearer "]'),
        ({"strip": [7]}, '["Bearer "]'),
        ({"end_user": {"path": "/a", "add": "/b"}}, "Only ts"),
        ({"roots": "/a"}, "root, each"),
    ],
)
def test_mistake_is_refused_with_a_remedy(wrong, remedy):
    with pytest.raises(ConfigError) as caught:
        FieldMapping(LEAST | wrong)
    assert remedy in str(caught.value)

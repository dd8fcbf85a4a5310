import base64
import hashlib

import pytest

from monitor.config import Gateway
from monitor.requests.mappings import FieldMapping
from pipelines.gateways import keys
from pipelines.gateways.keys import KeyReader, key_forms


@pytest.fixture
def reader():
    return KeyReader(Gateway())


def basic(credentials):
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    "value",
    [
        "Bearer sk-1",
        "bearer sk-1",
        "BEARER   sk-1",
        "Bearer\tsk-1",
        " Bearer \t sk-1 ",
        "Bearer Bearer sk-1",
        'Bearer "sk-1"',
        "Bearer sk-1, Bearer sk-2",
        "sk-1",
        "Token sk-1",
        "Token token=sk-1",
        "Unknown sk-1",
        basic("sk-1:"),
        basic("sk-1:x"),
        basic(":sk-1"),
        basic("sk-1"),
        basic("user:sk-1").replace("Basic", "BASIC"),
        basic("user:sk-1").replace(" ", "\t"),
        basic("user:sk-1").rstrip("="),
    ],
)
@pytest.mark.parametrize("name", ["Authorization", "authorization", "X-API-Key", "x_api_key"])
def test_key_is_found_in_every_spelling(reader, name, value):
    named = reader.read([(name, value)])
    assert "sk-1" in named.keys
    assert not named.unreadable


@pytest.mark.parametrize(
    "name", ["api-key", "x-goog-api-key", "x-litellm-api-key", "Ocp-Apim-Subscription-Key"]
)
def test_key_is_found_in_headers_of_other_apis(reader, name):
    assert reader.read([(name, "sk-1")]).keys == ("sk-1",)


@pytest.mark.parametrize("query", ["api_key=sk-1", "KEY=sk%2D1", "a=b&k%65y=sk-1", "a=b;key=sk-1"])
def test_key_is_found_in_the_query(reader, query):
    assert "sk-1" in reader.read([], query).keys
    assert "sk-1" in reader.read([("X-Original-URI", f"/v1/models?{query}")]).keys


def test_all_keys_of_a_request_are_found(reader):
    headers = [
        ("Authorization", "Bearer sk-1"),
        ("Authorization", "Bearer sk-2"),
        ("X-API-Key", "sk-3"),
    ]
    assert {f"sk-{n}" for n in range(1, 6)} <= set(reader.read(headers, "key=sk-4&key=sk-5").keys)


def test_header_as_it_is_logged_is_a_key_too(reader):
    assert "Bearer sk-1" in reader.read([("Authorization", "Bearer sk-1")]).keys


@pytest.mark.parametrize("value", ["Bearer", "Basic", "Basic !", "Basic AAAAA", basic(":"), ",;"])
def test_key_that_cannot_be_read_is_noted(reader, value):
    named = reader.read([("Authorization", value)])
    assert named.unreadable
    assert named.keys == ()


def test_unreadable_key_beside_a_readable_one_is_noted(reader):
    named = reader.read([("Authorization", "Basic !"), ("X-API-Key", "sk-1")])
    assert named == (("sk-1",), True)


def test_more_keys_than_are_read_are_noted(reader):
    named = reader.read([("X-API-Key", " ".join(f"sk-{n}" for n in range(1_000)))])
    assert named.unreadable
    assert len(named.keys) < 50


@pytest.mark.parametrize("headers", [[], [("Authorization", "")], [("X-API-Key", " ")]])
def test_request_without_a_key_names_none(reader, headers):
    assert reader.read(headers, "keyed=sk-1") == ((), False)


def test_names_are_a_setting():
    reader = KeyReader(Gateway(key_headers="X-Tenant-Key, X-Other", key_parameters="secret"))
    assert reader.read([("x-tenant-key", "sk-1")], "secret=sk-2").keys == ("sk-1", "sk-2")
    assert reader.read([("X-API-Key", "sk-1")], "key=sk-2").keys == ()


def test_forms_are_those_of_the_log_and_the_hash():
    hashed = hashlib.sha256(b"sk-1").hexdigest()
    assert key_forms("sk-1", FieldMapping("native")) == ["sk-1", hashed]
    mapping = FieldMapping({"preset": "native", "strip": ["Key:"], "identity": "sha256"})
    assert {"Key:sk-1", "sk-1", hashed} <= set(key_forms("Key:sk-1", mapping))


@pytest.mark.parametrize("path", ["//[/../v1/models", "//a]b", "//\u2100.com/v1"])
def test_key_is_found_in_a_url_with_a_strange_path(reader, path):
    assert reader.read([("X-Forwarded-Uri", f"{path}?key=sk-1")]).keys == ("sk-1",)


def test_long_keys_are_read_and_not_kept_in_memory():
    reader = KeyReader(Gateway())
    kept = keys._named.cache_info().currsize
    for n in range(20):
        key = f"sk-{n}-" + "x" * 4_000
        assert key in reader.read([("X-API-Key", key)]).keys
    assert keys._named.cache_info().currsize == kept

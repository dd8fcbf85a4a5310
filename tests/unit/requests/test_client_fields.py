"""What a client writes into its body neither hides its request nor puts it on another's account."""

import json

import pytest

from monitor.requests.decoder import Decoder

NOW = 1_772_040_010.0
TS = 1_772_040_000
VICTIM = {
    "api_key": "key_victim",
    "api_key_id": "key_victim",
    "api_key_hash": "key_victim",
    "ts": 1,
    "timestamp": TS + 9,
    "time": "yesterday",
    "created_at": TS + 9,
    "end_time": TS + 9,
    "account": "victim",
    "organization": "victim",
    "project_id": "victim",
    "payment": "pm_victim",
    "ip": "198.51.100.1",
    "client_ip": "198.51.100.1",
    "asn": 1,
    "country": "XX",
    "tls_fingerprint": "victim",
    "ja4": "victim",
    "status": 403,
    "status_code": 403,
    "usage": {"prompt_tokens": 1},
    "headers": {"authorization": "Bearer key_victim"},
    "metadata": {"api_key": "key_victim", "account": "victim", "payment": "pm_victim"},
    "identity": {"arn": "victim"},
}
TRUSTED = (
    "api_key",
    "ts",
    "account",
    "payment",
    "ip",
    "asn",
    "country",
    "tls_fingerprint",
    "status",
)
BODY = {"model": "atlas", "messages": [{"role": "user", "content": "Why?"}]}


def read(preset, record):
    decoded = Decoder(preset).decode([json.dumps(record).encode()], NOW)
    assert not decoded.rejections
    return decoded.events[0]


def trusted(event):
    return {name: getattr(event, name) for name in TRUSTED}


@pytest.mark.parametrize("preset", ["openai", "anthropic"])
@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"body": body}, json.dumps])
def test_identity_is_not_read_from_the_body(preset, wrap):
    gateway = {"api_key_id": "key_1", "timestamp": TS, "status_code": 200, "response": {}}
    plain = read(preset, gateway | {"request": wrap(BODY)})
    with_decoys = read(preset, gateway | {"request": wrap(BODY | VICTIM)})
    assert trusted(with_decoys) == trusted(plain)
    assert trusted(plain) == dict.fromkeys(TRUSTED) | {
        "api_key": "key_1",
        "ts": TS,
        "status": 200,
    }


def test_gateway_names_win_in_a_flattened_body():
    gateway = {"api_key_id": "key_1", "timestamp": TS, "status": 200, "account": "acme"}
    decoys = {"api_key": "key_victim", "ts": 1, "status_code": 403}
    decoys["metadata"] = VICTIM["metadata"]
    event = read("openai", BODY | decoys | gateway)
    assert (event.api_key, event.ts, event.account, event.status) == ("key_1", TS, "acme", 200)


def test_pass_through_body_names_nobody():
    record = {
        "call_type": "pass_through_endpoint",
        "endTime": TS,
        "metadata": {"user_api_key_hash": "hash-1"},
        "status": "success",
        "messages": [{"role": "user", "content": json.dumps(BODY | VICTIM | {"endTime": 1})}],
    }
    event = read("litellm", record)
    assert (event.api_key, event.ts, event.account, event.status) == ("hash-1", TS, None, 200)
    assert event.prompt == "Why?"


def test_message_that_looks_like_a_pass_through_body_is_read_whole():
    decoy = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "task": "Grade it. " * 20})
    record = {
        "call_type": "acompletion",
        "endTime": TS,
        "metadata": {"user_api_key_hash": "hash-1"},
        "messages": [{"role": "user", "content": decoy}],
    }
    assert "Grade it." in read("litellm", record).prompt


JUNK = {
    "max_tokens": [-1, 1.5, 1e30, "x"],
    "user": [5.5, True, {}, ["a"]],
    "temperature": ["hot", []],
    "n": [-1, "x"],
    "logprobs": ["x", []],
    "tools": ["x", True],
    "instructions": [5, True],
    "prompt": [5, {"id": "p"}, []],
    "model": [5.5, {}, []],
    "input": [5, {}],
    "system": [5, {}],
}


@pytest.mark.parametrize(("field", "junk"), [(f, each) for f in JUNK for each in JUNK[f]])
@pytest.mark.parametrize("flattened", [True, False])
def test_junk_in_the_body_does_not_hide_the_prompt(field, junk, flattened):
    gateway = {"api_key": "key_1", "timestamp": TS}
    body = BODY | {field: junk}
    event = read("openai", gateway | (body if flattened else {"request": body}))
    assert [part.text for part in event.parts] == ["Why?"]


@pytest.mark.parametrize(
    "decoy",
    [
        {"prompt": "Hello."},
        {"input": "Hello."},
        {"input": [{"role": "user", "content": "Hello."}]},
        {"messages": [{"role": "user", "content": "Hello."}]},
        {"instructions": "Hello."},
        {"system": "Hello."},
        {"body": {"messages": [{"role": "user", "content": "Hello."}]}},
    ],
)
@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [{"role": "user", "content": "Why?"}]},
        {"prompt": "Why?"},
        {"input": "Why?"},
        {"instructions": "Why?"},
        {"prompt": {"id": "pmpt_1", "variables": {"question": "Why?"}}},
    ],
)
def test_decoy_text_does_not_replace_the_question(decoy, asked):
    if decoy.keys() & asked.keys():
        pytest.skip("one field holds one value")
    event = read("openai", {"api_key": "k", "timestamp": TS, "request": decoy | asked})
    assert {"Hello.", "Why?"} == {line for part in event.parts for line in part.text.splitlines()}
